/** Every documented setting of `cairn server`: accepted, with the documented default, and in effect. */

import { deepEqual, equal, match, ok } from "node:assert/strict";
import type { z } from "@hono/zod-openapi";
import { OPTIONS } from "../../src/cli/options.ts";
import type { OptionRow } from "../../src/cli/settings.ts";
import { parsePairingLink } from "../../src/protocol/pairing/invitation.ts";
import {
  HealthDetails,
  PairingLink,
  Peers,
  RelayStats,
} from "../../src/roles/server/api/shapes.ts";
import { freePort } from "../support/free_port.ts";
import { type BadInputScene, badInputTest, LOOPBACK, serverArgs } from "./bad_input_scene.ts";

/** The table of the page: a variable and its default. */
const DOCUMENTED = `
CAIRN_DATA_DIR | /data
CAIRN_MGMT_ENABLED | true
CAIRN_MGMT_TOKEN | --
CAIRN_PSK | --
CAIRN_FORWARD_ENABLED | true
CAIRN_FORWARD_MAX_PER_PEER | 10000
CAIRN_FORWARD_MAX_AGE | 7d
CAIRN_FORWARD_MAX_TOTAL | 1GB
CAIRN_SIGNAL_SERVERS | --
CAIRN_TURN_SERVERS | --
`;
/** Settings that the page does not name, with what they are without being set. */
const FURTHER = `
CAIRN_MGMT_BIND | 127.0.0.1
CAIRN_MGMT_PORT | 9090
CAIRN_MGMT_HOSTS | --
CAIRN_APPROVED_PEERS | --
CAIRN_SIGNAL_AUTH_TOKEN | --
CAIRN_TURN_USERNAME | --
CAIRN_TURN_PASSWORD | --
CAIRN_TURN_SECRET | --
CAIRN_RELAY_CAPACITY | 100
CAIRN_SERVER_TLS_CERT | --
CAIRN_SERVER_TLS_KEY | --
CAIRN_KV_URL | --
`;
const PAGE = new URL("../../../shared/documentation/server-node.txt", import.meta.url);
const TOKEN = "your-secret-token";
const PSK = "my-shared-key";

Deno.test({
  name: "The documented settings of these tests are those of the page",
  ignore: await Deno.stat(PAGE).then(() => false, () => true),
  async fn() {
    deepEqual(rowsOf(await Deno.readTextFile(PAGE)), rowsOf(DOCUMENTED));
  },
});

Deno.test("Every documented setting is a variable and a flag of cairn server, with its default", () => {
  const rows: readonly OptionRow<unknown>[] = Object.values(OPTIONS);
  for (const [variable, fallback] of rowsOf(DOCUMENTED + FURTHER)) {
    const row = rows.find(({ env, commands }) => env === variable && commands.includes("server"));
    ok(row, variable);
    match(row.flag, /^--[a-z-]+$/);
    equal(row.default ?? "--", fallback, variable);
  }
});

badInputTest({
  name: "Without settings a server is as the documentation says",
  async story(scene) {
    const server = await RunningServer.start(scene, {});
    const health = await server.ask("/health", HealthDetails);
    equal(health.forward_enabled, true);
    equal(health.storage_limit_bytes, 2 ** 30);
    equal(health.forward_max_age_secs, 7 * 86_400);
    equal((await server.ask("/relay/stats", RelayStats)).relay.capacity, 100);
    const { uri } = await server.ask("/pairing/link", PairingLink, "POST");
    deepEqual(hintsOf(uri).filter((type) => type !== "ws"), []);
    equal((await server.pair("no key is set here")).code, 1);
  },
});

badInputTest({
  name: "Every documented setting takes effect",
  async story(scene) {
    using signal = new SignalWitness();
    const server = await RunningServer.start(scene, {
      CAIRN_PSK: PSK,
      CAIRN_FORWARD_MAX_PER_PEER: "5",
      CAIRN_FORWARD_MAX_AGE: "12h",
      CAIRN_FORWARD_MAX_TOTAL: "512MB",
      CAIRN_SIGNAL_SERVERS: signal.url,
      CAIRN_SIGNAL_AUTH_TOKEN: "token-of-the-signaling-server",
      CAIRN_TURN_SERVERS: "turn:relay:3478",
      CAIRN_TURN_SECRET: "shared with the relay",
      CAIRN_RELAY_CAPACITY: "7",
      CAIRN_MGMT_HOSTS: "cairn.example.com",
    });
    equal(await signal.authorization, "Bearer token-of-the-signaling-server");
    equal((await server.pair(PSK)).code, 0);
    const [peer] = await server.ask("/peers", Peers);
    equal(peer?.mechanism, "psk");
    equal(peer?.quotas?.messages, 5);
    const health = await server.ask("/health", HealthDetails);
    deepEqual([health.storage_limit_bytes, health.forward_max_age_secs], [2 ** 29, 43_200]);
    equal((await server.ask("/relay/stats", RelayStats)).relay.capacity, 7);
    const { uri } = await server.ask("/pairing/link", PairingLink, "POST");
    deepEqual(hintsOf(uri).filter((type) => type !== "ws").toSorted(), ["signal", "turn"]);
    ok(await Deno.stat(`${server.folder}/cairn.kv`));
    const refused = await server.request("/peers", "another token");
    equal((await refused.json()).code, "unauthorized");
  },
});

badInputTest({
  name: "CAIRN_FORWARD_ENABLED=false keeps no messages, and the management API says so",
  async story(scene) {
    const server = await RunningServer.start(scene, { CAIRN_FORWARD_ENABLED: "false" });
    const health = await server.ask("/health", HealthDetails);
    deepEqual([health.forward_enabled, health.storage_limit_bytes], [false, 0]);
  },
});

badInputTest({
  name: "Where /data cannot be made, the data folder is the user's, and the log says which",
  async story(scene) {
    const home = `${scene.folder}/home`;
    await Deno.mkdir(home);
    // To the program it is the same whether the system or Deno denies it.
    const child = new Deno.Command(Deno.execPath(), {
      args: [
        ..."run --quiet -A --deny-write=/data --unstable-kv --unstable-net main.ts".split(" "),
        ...["server", "--listen-addr", `${LOOPBACK}:0`, "--mgmt-port", String(freePort())],
      ],
      cwd: new URL("../..", import.meta.url),
      env: { HOME: home, XDG_DATA_HOME: "", CAIRN_DATA_DIR: "", DENO_DIR: await denoDir() },
      stdout: "null",
      stderr: "piped",
    }).spawn();
    let log = "";
    for await (const text of child.stderr.pipeThrough(new TextDecoderStream())) {
      log += text;
      if (/accepts links/.test(log)) break;
    }
    child.kill("SIGTERM");
    await child.status;
    match(
      log,
      /\/data cannot be made here; the data folder is [^"]*\/\.local\/share\/cairn\/server/,
    );
    ok(await Deno.stat(`${home}/.local/share/cairn/server/cairn.kv`));
  },
});

function rowsOf(page: string): [variable: string, fallback: string][] {
  return [...page.matchAll(/^(CAIRN_[A-Z_]+) \| (\S+)/gm)].map(([, name = "", fallback = ""]) => [
    name,
    fallback,
  ]);
}

/** The kinds of hint in a link. */
function hintsOf(uri: string): string[] {
  return parsePairingLink(uri).hints.map(({ type }) => type);
}

async function denoDir(): Promise<string> {
  const { stdout } = await new Deno.Command(Deno.execPath(), { args: ["info", "--json"] }).output();
  return JSON.parse(new TextDecoder().decode(stdout)).denoDir;
}

/** A server with these variables, and what its operator sees of it. */
class RunningServer {
  private constructor(
    private readonly scene: BadInputScene,
    readonly folder: string,
    private readonly port: number,
    private readonly linkUrl: string,
    private readonly id: string,
  ) {}

  static async start(
    scene: BadInputScene,
    env: Readonly<Record<string, string>>,
  ): Promise<RunningServer> {
    const [folder, port] = [`${scene.folder}/server`, freePort()];
    const process = scene.start(serverArgs(folder, port), {
      env: { CAIRN_MGMT_TOKEN: TOKEN, ...env },
    });
    const { peer, port: linkPort } = await scene.logged(process, /accepts links/);
    const url = `ws://${LOOPBACK}:${linkPort}/link`;
    return new RunningServer(scene, folder, port, url, String(peer));
  }

  request(path: string, token = TOKEN, method = "GET"): Promise<Response> {
    return fetch(`http://${LOOPBACK}:${this.port}${path}`, {
      method,
      headers: { authorization: `Bearer ${token}` },
      signal: this.scene.deadline,
    });
  }

  async ask<Schema extends z.ZodType>(
    path: string,
    shape: Schema,
    method = "GET",
  ): Promise<z.infer<Schema>> {
    const response = await this.request(path, TOKEN, method);
    equal(response.status, 200);
    return shape.parse(await response.json());
  }

  /** `cairn peer pair` with this key. */
  pair(psk: string) {
    const args = ["peer", "pair", "--data-dir", `${this.scene.folder}/peer`];
    return this.scene.run([...args, "--server-url", this.linkUrl, "--peer", this.id], {
      CAIRN_PSK: psk,
    });
  }
}

/** Stands where a signaling server would, and hears with which token it is asked. */
class SignalWitness implements Disposable {
  readonly #heard = Promise.withResolvers<string | null>();
  readonly #server = Deno.serve(
    { hostname: LOOPBACK, port: 0, onListen() {} },
    (request) => {
      this.#heard.resolve(request.headers.get("authorization"));
      return new Response(null, { status: 503 });
    },
  );

  get url(): string {
    return `ws://${LOOPBACK}:${this.#server.addr.port}`;
  }

  get authorization(): Promise<string | null> {
    return this.#heard.promise;
  }

  [Symbol.dispose](): void {
    void this.#server.shutdown();
  }
}
