import assert from "node:assert/strict";
import { OPTIONS, optionsOf } from "../../src/cli/options.ts";
import { type CommandName, type OptionRow, Settings } from "../../src/cli/settings.ts";
import { CairnError } from "../../src/base/errors.ts";

const PASS = "correct-horse-battery";

function settings(
  command: CommandName,
  given: {
    flags?: Record<string, string>;
    env?: Record<string, string>;
    files?: Record<string, string>;
  } = {},
): Settings {
  const files = new Map(Object.entries(given.files ?? {}));
  return new Settings(command, new Map(Object.entries(given.flags ?? {})), {
    env: (name) => given.env?.[name],
    names: () => Object.keys(given.env ?? {}),
    readTextFile(path) {
      const text = files.get(path);
      if (text === undefined) throw new Deno.errors.NotFound(path);
      return text;
    },
  });
}

function refusal(read: () => unknown): string {
  try {
    read();
  } catch (error) {
    if (error instanceof CairnError && error.code === "invalid-option") return error.message;
    throw error;
  }
  throw new assert.AssertionError({ message: "nothing was refused" });
}

Deno.test("Settings takes the flag over the variable over the default", () => {
  const row = OPTIONS.signalListenAddr;
  const env = { CAIRN_SIGNAL_LISTEN_ADDR: "127.0.0.1:2" };
  const flags = { "--listen-addr": "127.0.0.1:1" };
  assert.equal(settings("signal", { flags, env }).value(row), "127.0.0.1:1");
  assert.equal(settings("signal", { env }).value(row), "127.0.0.1:2");
  assert.equal(settings("signal").value(row), "0.0.0.0:443");
});

Deno.test("Settings takes an empty variable as unset", () => {
  assert.equal(settings("server", { env: { CAIRN_MGMT_PORT: "" } }).value(OPTIONS.mgmtPort), 9090);
  assert.equal(settings("server", { env: { CAIRN_PSK: "" } }).value(OPTIONS.psk), undefined);
});

Deno.test("Settings has the documented defaults of the server", () => {
  const read = settings("server");
  assert.equal(read.value(OPTIONS.serverDataDir), "/data");
  assert.equal(read.value(OPTIONS.mgmtEnabled), true);
  assert.equal(read.value(OPTIONS.forwardEnabled), true);
  assert.equal(read.value(OPTIONS.forwardMaxPerPeer), 10_000);
  assert.equal(read.value(OPTIONS.forwardMaxAge), 7 * 86_400_000);
  assert.equal(read.value(OPTIONS.forwardMaxTotal), 2 ** 30);
  assert.equal(read.value(OPTIONS.serverListenAddr), "0.0.0.0:9091");
  assert.equal(read.value(OPTIONS.signalServers), undefined);
});

Deno.test("Settings gives cairn up its own flags and ports for the same variables", () => {
  const read = settings("up", { flags: { "--server-listen-addr": "127.0.0.1:7" } });
  assert.equal(read.value(OPTIONS.signalListenAddr), "0.0.0.0:8443");
  assert.equal(read.value(OPTIONS.serverListenAddr), "127.0.0.1:7");
});

Deno.test("Settings reads a secret from the file that its _FILE variable names", () => {
  const env = { CAIRN_PSK_FILE: "/run/secrets/psk" };
  const read = (text: string) => settings("server", { env, files: { "/run/secrets/psk": text } });
  assert.equal(read(`${PASS}\n`).value(OPTIONS.psk), PASS);
  assert.equal(read(`${PASS}\r\n`).value(OPTIONS.psk), PASS);
  assert.match(refusal(() => read(`${PASS}\nmore`).value(OPTIONS.psk)), /^CAIRN_PSK_FILE: /);
  assert.match(refusal(() => read("").value(OPTIONS.psk)), /^CAIRN_PSK_FILE: /);
  const flags = { "--psk": "given by the flag" };
  assert.equal(settings("server", { env, flags }).value(OPTIONS.psk), "given by the flag");
});

Deno.test("Settings refuses a secret file that cannot be read, and one beside its variable", () => {
  const unreadable = settings("server", { env: { CAIRN_PSK_FILE: "/nowhere" } });
  assert.match(refusal(() => unreadable.value(OPTIONS.psk)), /CAIRN_PSK_FILE: .*"\/nowhere"/);
  const both = settings("server", {
    env: { CAIRN_PSK: PASS, CAIRN_PSK_FILE: "/psk" },
    files: { "/psk": PASS },
  });
  assert.match(refusal(() => both.value(OPTIONS.psk)), /CAIRN_PSK and CAIRN_PSK_FILE/);
  const notSecret = settings("server", {
    env: { CAIRN_MGMT_PORT_FILE: "/port" },
    files: { "/port": "1" },
  });
  assert.equal(notSecret.value(OPTIONS.mgmtPort), 9090);
});

Deno.test("Settings names the option or the variable, the value and what was expected", () => {
  const byFlag = settings("server", { flags: { "--forward-max-age": "soon" } });
  assert.equal(
    refusal(() => byFlag.value(OPTIONS.forwardMaxAge)),
    '--forward-max-age: "soon" is not right; expected a duration above zero, as in 7d, 12h, 30m, ' +
      "10s, 1d12h or a number of seconds",
  );
  const byVariable = settings("server", { env: { CAIRN_FORWARD_MAX_TOTAL: "much" } });
  assert.match(
    refusal(() => byVariable.value(OPTIONS.forwardMaxTotal)),
    /^CAIRN_FORWARD_MAX_TOTAL: "much" is not right; expected a size/,
  );
});

Deno.test("Settings never shows a secret that is not right", () => {
  const secrets: readonly (readonly [CommandName, OptionRow<unknown>, string])[] = [
    ["server", OPTIONS.psk, "hunter2"],
    ["server", OPTIONS.mgmtToken, "hunter2 with spaces"],
    ["signal", OPTIONS.signalAuthTokens, "hunter2 with spaces"],
    ["peer send", OPTIONS.signalToken, "hunter2 with spaces"],
    ["server", OPTIONS.kvUrl, "https://user:hunter2@kv.example.com"],
    ["server", OPTIONS.kvUrl, "https://kv.example.com/?token=hunter2"],
    ["server pair", OPTIONS.mgmtUrl, "https://:hunter2@cairn.example.com"],
    ["server", OPTIONS.signalServers, "wss://one.example,http://user:hunter2@two.example"],
  ];
  for (const [command, row, secret] of secrets) {
    for (const given of [{ flags: { [row.flag]: secret } }, { env: { [row.env ?? ""]: secret } }]) {
      assert.doesNotMatch(refusal(() => settings(command, given).value(row)), /hunter2/);
    }
  }
});

Deno.test("Settings refuses to read an option that its command does not have", () => {
  assert.throws(() => settings("signal").value(OPTIONS.psk), TypeError);
});

Deno.test("OPTIONS: every default is a right value, every flag and variable stands for one thing", () => {
  const commands = new Set(
    Object.values(OPTIONS).flatMap((row): readonly CommandName[] => row.commands),
  );
  for (const command of commands) {
    const rows = optionsOf(command);
    for (const row of rows) settings(command).value(row);
    const flags = rows.map((row) => row.per?.[command]?.flag ?? row.flag);
    const variables = rows.flatMap((row) => row.env ?? []);
    assert.equal(new Set(flags).size, flags.length, `flags of ${command}`);
    assert.equal(new Set(variables).size, variables.length, `variables of ${command}`);
  }
});
