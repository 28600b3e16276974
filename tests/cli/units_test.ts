/** Holds the units of systemd against the program. */

import { deepEqual, equal, match, ok } from "node:assert/strict";
import { fileURLToPath } from "node:url";
import { OPTIONS } from "../../src/cli/options.ts";
import { role, ROLES } from "../../src/cli/option_values.ts";
import { defaultOf, mayBeFile, type OptionRow } from "../../src/cli/settings.ts";

const FOLDER = fileURLToPath(new URL("../../packaging/systemd/", import.meta.url));
const hasAnalyze = new Deno.Command("sh", {
  args: ["-c", "command -v systemd-analyze"],
  stdout: "null",
}).outputSync().success;

/** Settings of a unit by `Section.Name`; one that stands twice has several values. */
async function readUnit(name: string): Promise<Map<string, string[]>> {
  const settings = new Map<string, string[]>();
  let section = "";
  for (const line of (await Deno.readTextFile(FOLDER + name)).split("\n")) {
    if (line === "" || line.startsWith("#")) continue;
    const [, header] = /^\[(\w+)\]$/.exec(line) ?? [];
    if (header !== undefined) section = header;
    else {
      const [, key, value = ""] = /^(\w+)=(.*)$/.exec(line) ?? [];
      ok(key !== undefined, `${name}: ${line}`);
      const full = `${section}.${key}`;
      settings.set(full, [...settings.get(full) ?? [], value]);
    }
  }
  return settings;
}

for (const each of ROLES) {
  Deno.test(`The unit of ${each} runs it, as a user of its own and hardened as far as Deno lives with`, async () => {
    const unit = await readUnit(`cairn-${each}.service`);
    const one = (key: string) => unit.get(`Service.${key}`)?.join();
    equal(one("ExecStart"), `/usr/local/bin/cairn ${each}`);
    equal(one("EnvironmentFile"), `-/etc/cairn/${each}.env`);
    equal(one("DynamicUser"), "yes");
    equal(one("MemoryDenyWriteExecute"), undefined, "Deno does not start with it");
    for (const key of ["NoNewPrivileges", "PrivateTmp", "ProtectHome", "LockPersonality"]) {
      equal(one(key), "yes", key);
    }
    equal(one("ProtectSystem"), "strict");
    ok(Number(one("TimeoutStopSec")) > 10, "longer than any role takes to end");
    const keeps = each === "server" || each === "up";
    equal(one("StateDirectory"), keeps ? "cairn" : undefined);
    const text = await Deno.readTextFile(`${FOLDER}cairn-${each}.service`);
    match(text, new RegExp(`cairn init /etc/cairn/${each}\\.env --role ${each}\\b`));
    const set = [...(one("Environment") ?? "").matchAll(/(CAIRN_\w+)=/g)].map(([, name]) => name);
    const rows: readonly OptionRow<unknown>[] = Object.values(OPTIONS);
    for (const name of set) {
      ok(rows.some((row) => row.env === name || (mayBeFile(row) && `${row.env}_FILE` === name)));
    }
  });
}

Deno.test("The sockets listen where their roles would, and have the names that they ask for", async () => {
  const sockets = [
    ["cairn-signal", "signal", defaultOf(OPTIONS.signalListenAddr, "signal"), "cairn-signal"],
    ["cairn-server", "links", defaultOf(OPTIONS.serverListenAddr, "server"), "cairn-server"],
    [
      "cairn-server-management",
      "management",
      `${OPTIONS.mgmtBind.default}:${OPTIONS.mgmtPort.default}`,
      "cairn-server",
    ],
  ] as const;
  for (const [name, descriptor, address, service] of sockets) {
    const unit = await readUnit(`${name}.socket`);
    deepEqual(unit.get("Socket.ListenStream"), [address]);
    deepEqual(unit.get("Socket.FileDescriptorName"), [descriptor]);
    deepEqual(unit.get("Socket.Service"), [`${service}.service`]);
    ok(role.parse(service.replace("cairn-", "")));
  }
});

Deno.test({
  name: "systemd finds no fault with the units, and the services little exposed",
  ignore: !hasAnalyze,
  async fn() {
    const folder = await Deno.makeTempDir({ prefix: "cairn-units-" });
    try {
      const names: string[] = [];
      for await (const { name } of Deno.readDir(FOLDER)) {
        const text = await Deno.readTextFile(FOLDER + name);
        names.push(`${folder}/${name}`);
        // The program need not be installed here.
        await Deno.writeTextFile(
          `${folder}/${name}`,
          text.replace("/usr/local/bin/cairn", "/bin/true"),
        );
      }
      const { stderr } = await analyze("verify", ...names);
      deepEqual(stderr.split("\n").filter((line) => line.includes("cairn-")), []);
      for (const name of names.filter((name) => name.endsWith(".service"))) {
        const { stdout } = await analyze("security", "--offline=true", name);
        const [, exposure] = /exposure level for .*: ([\d.]+)/.exec(stdout) ?? [];
        ok(Number(exposure) < 2, `${name}: ${exposure}`);
      }
    } finally {
      await Deno.remove(folder, { recursive: true });
    }
  },
});

async function analyze(...args: readonly string[]) {
  const { stdout, stderr } = await new Deno.Command("systemd-analyze", {
    args: ["--no-pager", ...args],
    env: { SYSTEMD_COLORS: "0", NO_COLOR: "1" },
    stdin: "null",
  }).output();
  const decoder = new TextDecoder();
  return { stdout: decoder.decode(stdout), stderr: decoder.decode(stderr) };
}
