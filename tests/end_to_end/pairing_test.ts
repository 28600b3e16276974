/* Every way to pair, between separate processes that meet through a signaling server. */

import { deepEqual, equal, match, ok } from "node:assert/strict";
import { PairingRequests } from "../../src/roles/server/api/shapes.ts";
import { type Outcome, runCairn } from "../cli/run_cairn.ts";
import { freePort } from "../support/free_port.ts";
import { CairnProcess } from "../support/processes.ts";
import { readQrPng } from "../support/qr_reader.ts";

const PSK = "correct horse battery staple";
const TOKEN = "a-token-of-the-test";

Deno.test("Peers pair by PIN, link, QR code, key and approval, and are unpaired", async (t) => {
  await using home = await Home.open();
  const { serverId } = home;

  await t.step("each kind, all at once", async () => {
    const [byPin, byLink, byQr, byKey, byApproval, byAsking] = await Promise.all([
      pairByPin(home),
      pairByLink(home),
      pairByQr(home),
      home.peer("key", ["pair", "--psk", PSK, "--peer", serverId]),
      pairApproved(home),
      pairByAsking(home),
    ]);
    for (const { code, stdout, stderr } of [byPin, byLink, byQr, byKey, byApproval, byAsking]) {
      deepEqual([code, stdout.trim()], [0, serverId], stderr);
      match(stderr, /^Paired, as Qm\w+: tell it to those who are to write to you/m);
    }
    const peers = await home.server(["peers"]);
    const mechanisms = peers.stdout.trim().split("\n").map((line) => line.split(" by ")[1]);
    deepEqual(mechanisms.toSorted(), ["approved", "approved", "link", "link", "pin", "psk"]);
  });

  await t.step(
    "who was paired finds the server again where it was, or where the link said",
    async () => {
      // Neither a signaling server nor an address is given.
      const keyId = (await home.peer("key", ["id"])).stdout.trim();
      for (const name of ["link", "pin", "ask"]) {
        const sent = await home.peer(name, ["send", keyId, "hello"], []);
        equal(sent.code, 0, sent.stderr);
      }
    },
  );

  await t.step("wrong and used credentials are refused with the reason", async () => {
    const [used, wrongPin, wrongKey, notAPin, notALink, notApproved] = await Promise.all([
      home.peer("refused 1", ["pair", home.usedLink]),
      home.peer("refused 2", ["pair", "--pin", "0000-0000"]),
      home.peer("refused 3", ["pair", "--psk", "not the key of this server", "--peer", serverId]),
      home.peer("refused 4", ["pair", "--pin", "0000"]),
      home.peer("refused 5", ["pair", "https://example.com/"]),
      home.peer("refused 6", ["pair", "--peer", serverId]),
    ]);
    match(used.stderr, /error: The link was refused; it may be used, expired or withdrawn/);
    match(wrongPin.stderr, /error: Nobody answers to this PIN.*have another one made/);
    match(wrongKey.stderr, /error: The key was refused/);
    match(notAPin.stderr, /error: Not a PIN/);
    match(notALink.stderr, /error: Not a whole pairing link/);
    match(notApproved.stderr, /error: This peer is not on the other side's list/);
    const codes = [used, wrongPin, wrongKey, notAPin, notALink, notApproved].map(({ code }) =>
      code
    );
    deepEqual(codes, [1, 1, 1, 2, 2, 1]);
  });

  await t.step("unpaired from either side, the other side forgets too", async () => {
    const [pinId, keyId] = (await Promise.all([
      home.peer("pin", ["id"]),
      home.peer("key", ["id"]),
    ])).map(({ stdout }) => stdout.trim());
    const [fromServer, fromPeer] = await Promise.all([
      home.server(["unpair", pinId!]),
      home.peer("key", ["unpair", serverId]),
    ]);
    deepEqual([fromServer.code, fromPeer.code, fromPeer.stderr], [0, 0, ""], fromServer.stderr);
    const peers = (await home.server(["peers"])).stdout;
    ok(!peers.includes(pinId!) && !peers.includes(keyId!));

    // The one that was away hears of it when it comes back, and cannot come in by the key.
    const listening = home.peerProcess("pin", ["listen"]);
    match((await listening.log.first(1))[0] ?? "", /The server Qm\w+ has ended the pairing/);
    equal(await listening.end(), 0);
    equal((await home.peer("pin", ["list"])).stdout, "");
    const refused = await home.peer("pin", ["pair", "--psk", PSK, "--peer", serverId]);
    match(refused.stderr, /error: The operator of the other side has unpaired this peer/);
    equal((await home.peer("key", ["pair", "--psk", PSK, "--peer", serverId])).code, 0);
  });
});

async function pairByPin(home: Home): Promise<Outcome> {
  const making = home.serverProcess(["pair", "--pin"]);
  const [pin = ""] = await making.output.first(1);
  match(pin, /^[0-9A-Z]{4}-[0-9A-Z]{4}$/);
  // As people type it.
  const outcome = await home.peer("pin", ["pair", "--pin", pin.toLowerCase().replace("-", " ")]);
  equal(await making.exit(), 0);
  match(making.output.all[1] ?? "", /^Paired with Qm/);
  return outcome;
}

async function pairByLink(home: Home): Promise<Outcome> {
  const { stdout } = await home.server(["pair", "--link", "--leave-open"]);
  home.usedLink = stdout.trim();
  // The link says where to find the server.
  return await home.peer("link", ["pair", home.usedLink], []);
}

/** The image over REST, read by a foreign decoder. */
async function pairByQr(home: Home): Promise<Outcome> {
  const response = await fetch(`http://127.0.0.1:${home.managementPort}/pairing/qr`, {
    headers: { authorization: `Bearer ${TOKEN}`, accept: "image/png" },
  });
  deepEqual([response.status, response.headers.get("cache-control")], [200, "no-store"]);
  const scanned = `${home.folder}/scanned`;
  await Deno.writeFile(scanned, readQrPng(await response.bytes()));
  return await home.peer("qr", ["pair", "--qr", scanned], []);
}

async function pairApproved(home: Home): Promise<Outcome> {
  const { stdout } = await home.peer("approved", ["id"]);
  const approved = await home.server(["approve", stdout.trim()]);
  equal(approved.code, 0, approved.stderr);
  return await home.peer("approved", ["pair", "--peer", home.serverId]);
}

/** The operator compares the digits before it approves. */
async function pairByAsking(home: Home): Promise<Outcome> {
  const asking = home.peerProcess("ask", ["pair", "--ask", home.serverId]);
  const [line = ""] = await asking.log.first(1);
  const shown = /The code is (\d{3} \d{3})/.exec(line)?.[1] ?? line;
  // The digits are shown before the server hears of them.
  await home.serverLogged("asks to be paired");
  const requests = await home.server(["requests"]);
  const [peerId = "", listed] = requests.stdout.trim().split("  ");
  equal(listed, `code ${shown}`);
  const asJson: unknown = JSON.parse((await home.server(["requests", "--json"])).stdout);
  const [request] = PairingRequests.shape.requests.parse(asJson);
  deepEqual([request?.peer_id, request?.sas], [peerId, shown.replace(" ", "")]);
  equal((await home.server(["approve", peerId])).code, 0);
  const code = await asking.exit();
  return { code, stdout: asking.output.all.join("\n"), stderr: asking.log.all.join("\n") };
}

/** A signaling server, an always-on server and the folders of peers. */
class Home implements AsyncDisposable {
  usedLink = "";
  readonly #stack = new AsyncDisposableStack();
  readonly #deadline = AbortSignal.timeout(400_000);
  #server: CairnProcess | undefined;

  private constructor(
    readonly folder: string,
    readonly signalPort: number,
    readonly managementPort: number,
    public serverId: string,
  ) {}

  static async open(): Promise<Home> {
    const folder = await Deno.makeTempDir({ prefix: "cairn-pairing-" });
    const home = new Home(folder, freePort(), freePort(), "");
    home.#stack.defer(() => Deno.remove(folder, { recursive: true }));
    const signal = home.#process(["signal", "--listen-addr", `127.0.0.1:${home.signalPort}`]);
    await signal.log.first(1);
    home.#server = home.#process([
      "server",
      ...["--data-dir", `${folder}/server`, "--mgmt-port", String(home.managementPort)],
      ...["--listen-addr", `127.0.0.1:${freePort()}`, "--psk", PSK],
      ...["--signal", `ws://127.0.0.1:${home.signalPort}`],
    ], { CAIRN_MGMT_TOKEN: TOKEN });
    await home.serverLogged("accepts links");
    const { stdout, stderr } = await home.server(["id"]);
    match(stdout, /^Qm/, stderr);
    home.serverId = stdout.trim();
    return home;
  }

  /** Waits until the server has logged a line with these words. */
  async serverLogged(words: string): Promise<void> {
    for await (const line of this.#server?.log ?? []) if (line.includes(words)) return;
    throw new Error(`The server ended without saying that it ${words}`);
  }

  /** Runs a verb of `cairn server`. */
  server(args: readonly string[]): Promise<Outcome> {
    return runCairn(this.#serverArgs(args), { env: { CAIRN_MGMT_TOKEN: TOKEN } });
  }

  serverProcess(args: readonly string[]): CairnProcess {
    return this.#process(this.#serverArgs(args), { CAIRN_MGMT_TOKEN: TOKEN });
  }

  /** Runs a command of the peer with this name. */
  peer(name: string, args: readonly string[], ways = this.#ways): Promise<Outcome> {
    return runCairn(["peer", ...args, "--data-dir", `${this.folder}/${name}`, ...ways]);
  }

  peerProcess(name: string, args: readonly string[]): CairnProcess {
    const folder = `${this.folder}/${name}`;
    return this.#process(["peer", ...args, "--data-dir", folder, ...this.#ways]);
  }

  get #ways(): string[] {
    return ["--signal", `ws://127.0.0.1:${this.signalPort}`];
  }

  #serverArgs(args: readonly string[]): string[] {
    return ["server", ...args, "--mgmt-port", String(this.managementPort)];
  }

  #process(args: readonly string[], env: Record<string, string> = {}): CairnProcess {
    return this.#stack.use(new CairnProcess(args, { deadline: this.#deadline, env }));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stack.disposeAsync();
  }
}
