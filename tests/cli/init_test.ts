import { deepEqual, equal, match, ok } from "node:assert/strict";
import { parseEnvFile } from "../../src/cli/env_file.ts";
import { ROLES } from "../../src/cli/option_values.ts";
import { runCairn } from "./run_cairn.ts";

Deno.test("cairn init writes settings for each role that config check finds nothing wrong with", async () => {
  await using folder = await Folder.make();
  for (const role of ROLES) {
    const file = `${folder.path}/${role}.env`;
    const made = await folder.run("init", file, "--yes", "--role", role);
    deepEqual([made.code, made.stderr], [0, ""], role);
    equal((await Deno.stat(file)).mode! & 0o777, 0o600);
    const checked = await folder.run("config", "check", role, "--env-file", file);
    equal(checked.code, 0, checked.stdout);
    match(checked.stdout, /^Nothing is wrong with these settings\.$/m);
    const help = await folder.run(role, "--env-file", file, "--help");
    equal(help.code, 0);
  }
  deepEqual(await folder.names(), ["relay.env", "server.env", "signal.env", "up.env"]);
});

Deno.test("cairn init sets what the address needs, and secrets of its own each time", async () => {
  await using folder = await Folder.make();
  const made: Map<string, string>[] = [];
  for (const [name, address] of [["a", "home.example.com"], ["b", "198.51.100.7"], ["c", "::5"]]) {
    const file = `${folder.path}/${name}.env`;
    const data = `${folder.path}/${name}`;
    await folder.run("init", file, "--yes", "--address", address ?? "", "--data-dir", data);
    made.push(parseEnvFile(await Deno.readTextFile(file), file));
  }
  const [named, numbered, six] = made;
  equal(named?.get("CAIRN_DATA_DIR"), `${folder.path}/a`);
  equal(named?.get("CAIRN_SERVER_PUBLIC_URL"), "ws://home.example.com:9091");
  equal(named?.get("CAIRN_RELAY_URI"), "turn:home.example.com:3478");
  equal(named?.has("CAIRN_RELAY_EXTERNAL_IP"), false);
  equal(numbered?.get("CAIRN_RELAY_EXTERNAL_IP"), "198.51.100.7");
  equal(six?.get("CAIRN_RELAY_URI"), "turn:[::5]:3478");
  const secrets = made.flatMap((values) => [
    values.get("CAIRN_MGMT_TOKEN"),
    values.get("CAIRN_RELAY_REST_SECRET"),
  ]);
  equal(new Set(secrets).size, 6);
  ok(secrets.every((secret) => secret !== undefined && secret.length >= 40));
});

Deno.test("cairn init overwrites nothing, and asks nobody where there is no terminal", async () => {
  await using folder = await Folder.make();
  const file = `${folder.path}/cairn.env`;
  const unasked = await folder.run("init", file);
  equal(unasked.code, 2);
  match(unasked.stderr, /There is no terminal to ask at: say --yes/);
  await Deno.writeTextFile(file, "CAIRN_PSK=precious-0123\n");
  const again = await folder.run("init", file, "--yes");
  equal(again.code, 1);
  match(again.stderr, /is already there and is left as it is/);
  equal(await Deno.readTextFile(file), "CAIRN_PSK=precious-0123\n");
});

Deno.test({
  name: "At a terminal cairn init asks three questions, again where an answer is not right",
  ignore: !hasScript(),
  async fn() {
    await using folder = await Folder.make();
    const file = `${folder.path}/cairn.env`;
    const main = new URL("../../main.ts", import.meta.url).pathname;
    const cairn = `${Deno.execPath()} run -A --unstable-kv --unstable-net ${main} init ${file}`;
    const child = new Deno.Command("script", {
      args: ["-qec", cairn, "/dev/null"],
      env: { NO_COLOR: "1" },
      stdin: "piped",
      stdout: "piped",
      stderr: "null",
      signal: AbortSignal.timeout(300_000),
    }).spawn();
    const answers = child.stdin.getWriter();
    await answers.write(
      new TextEncoder().encode(`sever\nserver\nhome.example.com\n${folder.path}/data\n`),
    );
    const { code, stdout } = await child.output().finally(() => answers.close().catch(() => {}));
    const said = new TextDecoder().decode(stdout);
    equal(code, 0, said);
    match(said, /"sever" is not right; expected up, server, signal or relay/);
    const values = parseEnvFile(await Deno.readTextFile(file), file);
    equal(values.get("CAIRN_DATA_DIR"), `${folder.path}/data`);
    equal(values.get("CAIRN_SERVER_PUBLIC_URL"), "ws://home.example.com:9091");
    equal(values.has("CAIRN_RELAY_REST_SECRET"), false, "a server is no relay");
  },
});

function hasScript(): boolean {
  try {
    return new Deno.Command("script", { args: ["--version"], stdin: "null" }).outputSync().success;
  } catch {
    return false;
  }
}

class Folder implements AsyncDisposable {
  private constructor(readonly path: string) {}

  static async make(): Promise<Folder> {
    return new Folder(await Deno.makeTempDir({ prefix: "cairn-init-" }));
  }

  async run(...args: readonly string[]) {
    return await runCairn(args, { env: { XDG_DATA_HOME: `${this.path}/user` } });
  }

  async names(): Promise<string[]> {
    return (await Array.fromAsync(Deno.readDir(this.path), ({ name }) => name)).toSorted();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Deno.remove(this.path, { recursive: true });
  }
}
