import assert from "node:assert/strict";
import { fromUtf8 } from "../../src/base/bytes.ts";
import { Node, type ReceivedMessage } from "../../src/mod.ts";
import { startServer } from "../../src/roles/server/run_server.ts";
import { startSignal } from "../../src/roles/signal/run_signal.ts";
import { cairnCommand, type Outcome, runCairn } from "./run_cairn.ts";

const PSK = "0123456789abcdef";

Deno.test("cairn peer pairs, sends to a peer that is away, and listen prints it once", async () => {
  await withServer(async ({ peer, serverId }) => {
    const [alice, bob] = [peer("alice"), peer("bob")];
    const aliceId = (await alice("id")).stdout.trim();
    const bobId = (await bob("id")).stdout.trim();
    for (const [join, id] of [[alice, aliceId], [bob, bobId]] as const) {
      const paired = await join("pair", "--psk", PSK, "--peer", serverId);
      assert.deepEqual([paired.code, paired.stdout], [0, `${serverId}\n`]);
      assert.ok(paired.stderr.startsWith(`Paired, as ${id}: `), paired.stderr);
    }
    const listed = await bob("list", "--json");
    const [{ peer_id: listedId, mechanism }] = JSON.parse(listed.stdout);
    assert.deepEqual([listedId, mechanism], [serverId, "psk"]);

    const sent = await alice("send", bobId, "héllo", "--channel", "chat");
    assert.deepEqual([sent.code, sent.stderr], [0, ""]);
    const heard = await bob("listen", "--json", "--count", "1", "--timeout", "2m");
    assert.deepEqual([heard.code, heard.stderr], [0, ""]);
    const { sent_at: sentAt, ...message } = JSON.parse(heard.stdout);
    const id = sent.stdout.trim();
    assert.deepEqual(message, { from: aliceId, id, channel: "chat", text: "héllo" });
    assert.equal(typeof sentAt, "number");

    const again = await bob("listen", "--count", "1", "--timeout", "1");
    assert.deepEqual([again.code, again.stdout], [1, ""]);
    assert.match(again.stderr, /^error: Ended with 0 of 1 messages/);

    assert.equal((await bob("unpair", serverId)).code, 0);
    assert.equal((await bob("list")).stdout, "");
  });
});

Deno.test("cairn peer listen leaves what programs say to the program that reads it", async () => {
  await withServer(async ({ folder, peer, serverId }) => {
    const [alice, bob] = [peer("alice"), peer("bob")];
    const bobId = (await bob("id")).stdout.trim();
    for (const join of [alice, bob]) await join("pair", "--psk", PSK, "--peer", serverId);
    await alice("send", bobId, "for the sync of a folder", "--channel", "cairn/folder");
    await alice("send", bobId, "for bob");
    for (const text of ["for bob", "for bob, too"]) {
      const heard = await bob("listen", "--json", "--count", "1", "--timeout", "2m");
      assert.deepEqual([heard.code, JSON.parse(heard.stdout).text], [0, text]);
      await alice("send", bobId, "for bob, too");
    }
    const node = await Node.create({ storagePath: `${folder}/bob` });
    try {
      const left = await new Promise<ReceivedMessage>((resolve) => node.on("message", resolve));
      assert.deepEqual(
        [left.channel, fromUtf8(left.data)],
        ["cairn/folder", "for the sync of a folder"],
      );
    } finally {
      await node.close();
    }
  });
});

Deno.test("cairn peer send works while cairn peer listen has the data folder", async () => {
  await withServer(async ({ peer, command, serverId }) => {
    const [alice, bob] = [peer("alice"), peer("bob")];
    const aliceId = (await alice("id")).stdout.trim();
    const bobId = (await bob("id")).stdout.trim();
    for (const join of [alice, bob]) await join("pair", "--psk", PSK, "--peer", serverId);
    const listening = command("bob", "listen", "--json", "--count", "1").spawn();
    await listening.stdin.close();
    const lines = listening.stdout.pipeThrough(new TextDecoderStream()).getReader();

    const viaListener = await bob("send", aliceId, "from bob");
    assert.deepEqual([viaListener.code, viaListener.stderr], [0, ""]);
    const listed = await bob("list", "--json");
    assert.equal(JSON.parse(listed.stdout).length, 1);

    await alice("send", bobId, "from alice");
    let text = "";
    for (let part = await lines.read(); !part.done; part = await lines.read()) text += part.value;
    assert.equal(JSON.parse(text).text, "from alice");
    assert.equal((await listening.status).code, 0);
    await listening.stderr.cancel();
    const heard = await alice("listen", "--json", "--count", "1", "--timeout", "2m");
    assert.equal(JSON.parse(heard.stdout).text, "from bob");
  });
});

Deno.test("cairn peer send takes a file and standard input, and says when it is too much", async () => {
  await withServer(async ({ folder, peer, command, serverId }) => {
    const [alice, bob] = [peer("alice"), peer("bob")];
    const bobId = (await bob("id")).stdout.trim();
    for (const join of [alice, bob]) await join("pair", "--psk", PSK, "--peer", serverId);
    const bytes = Uint8Array.of(0xff, 0, 10, 0xfe);
    await Deno.writeFile(`${folder}/body`, bytes);
    assert.equal((await alice("send", bobId, "--file", `${folder}/body`)).code, 0);

    const sending = command("alice", "send", bobId, "-").spawn();
    const stdin = sending.stdin.getWriter();
    await stdin.write(bytes);
    await stdin.close();
    assert.equal((await sending.output()).code, 0);
    const heard = await bob("listen", "--json", "--count", "2", "--timeout", "2m");
    const lines = heard.stdout.trim().split("\n").map((line) => JSON.parse(line).data_base64);
    assert.deepEqual(lines, [bytes.toBase64(), bytes.toBase64()]);

    await Deno.writeFile(`${folder}/body`, new Uint8Array(2_000_000));
    const tooLarge = await alice("send", bobId, "--file", `${folder}/body`);
    assert.deepEqual([tooLarge.code, tooLarge.stdout], [1, ""]);
    assert.match(tooLarge.stderr, /holds more than the \d+ bytes that one message may have/);
  });
});

Deno.test("cairn peer that is not paired says what to do", async () => {
  await withServer(async ({ peer, serverId }) => {
    const alice = peer("alice");
    for (const args of [["send", serverId, "text"], ["listen", "--timeout", "2m"]]) {
      const { code, stdout, stderr } = await alice(...args);
      assert.deepEqual([code, stdout], [1, ""]);
      assert.match(stderr, /^error: This peer is not paired with any server yet; pair it first/);
    }
  });
});

Deno.test("cairn peer send that nobody accepts says that the message stays and what to check", async () => {
  await withServer(async ({ peer, stopServer, serverId }) => {
    const alice = peer("alice");
    await alice("pair", "--psk", PSK, "--peer", serverId);
    await stopServer();
    const { code, stdout, stderr } = await alice("send", serverId, "text", "--timeout", "1s");
    assert.equal(code, 1);
    assert.match(stdout, /^[0-9a-f-]{36}\n$/);
    assert.match(
      stderr,
      /No server accepted the message within 1 s.*stays in the outbox.*--signal/,
    );
  });
});

interface Scene {
  readonly folder: string;
  readonly serverId: string;
  /** Runs `cairn peer` with a data folder of that name. */
  readonly peer: (name: string) => (...args: string[]) => Promise<Outcome>;
  readonly command: (name: string, ...args: string[]) => Deno.Command;
  readonly stopServer: () => Promise<void>;
}

async function withServer(story: (scene: Scene) => Promise<void>): Promise<void> {
  const folder = await Deno.makeTempDir({ prefix: "cairn-peer-test-" });
  const signal = await startSignal({ listenAddr: "127.0.0.1:0", authTokens: ["token"] });
  const url = `ws://127.0.0.1:${signal.address.port}`;
  const server = await startServer({
    storagePath: `${folder}/server`,
    listenAddr: "127.0.0.1:0",
    management: { enabled: false },
    psk: PSK,
    signalServers: [url],
    signalAuthToken: "token",
  });
  const env = { CAIRN_SIGNAL_SERVERS: url, CAIRN_SIGNAL_AUTH_TOKEN: "token" };
  const argsOf = (name: string, args: string[]) => {
    const [verb = "", ...rest] = args;
    return ["peer", verb, "--data-dir", `${folder}/${name}`, ...rest];
  };
  try {
    await story({
      folder,
      serverId: server.peerId.toString(),
      peer: (name) => (...args) => runCairn(argsOf(name, args), { env }),
      command: (name, ...args) => cairnCommand(argsOf(name, args), { env }, { stdin: "piped" }),
      stopServer: () => server.close(),
    });
  } finally {
    await server.close();
    await signal.close();
    await Deno.remove(folder, { recursive: true });
  }
}
