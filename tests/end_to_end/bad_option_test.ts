import { deepEqual, equal, match, ok, throws } from "node:assert/strict";
import { CairnError } from "../../src/base/errors.ts";
import { OPTIONS, optionsOf } from "../../src/cli/options.ts";
import { type CommandName, flagOf, type OptionRow, Settings } from "../../src/cli/settings.ts";
import { badInputTest, type Ended, sentenceOf } from "./bad_input_scene.ts";

/** Shown nowhere when it is the value of a secret. */
const CANARY = "canary";
const PEER = "QmYwAPJzv5CZsnA625s3Xf2nemtYgPpHdWEz79ojWnPbdG";

const COMMANDS = new Set(
  Object.values(OPTIONS).flatMap((row): readonly CommandName[] => row.commands),
);

interface WrongValue {
  readonly row: OptionRow<unknown>;
  readonly command: CommandName;
  readonly wrong: string;
  readonly expected: RegExp;
}

/** One option of each kind of value. */
const KINDS: readonly WrongValue[] = [
  wrong(OPTIONS.signalListenAddr, "signal", "0.0.0.0", /^an address and a port/),
  wrong(OPTIONS.signalAuthTokens, "signal", `${CANARY} token`, /^a token of visible ASCII/),
  wrong(OPTIONS.psk, "server", CANARY, /^a key of at least 12 bytes on one line/),
  wrong(OPTIONS.approvedPeers, "server", `${PEER},Qm`, /^Peer IDs \(46 characters/),
  wrong(OPTIONS.signalServers, "server", "https://signal", /^ws:\/\/ or wss:\/\/ addresses/),
  wrong(OPTIONS.turnServers, "server", "relay:3478", /^turn: or turns: addresses/),
  wrong(OPTIONS.serverPublicUrl, "server", "cairn.example.com", /^a ws:\/\/ or wss:\/\/ address/),
  wrong(OPTIONS.mgmtEnabled, "server", "on", /^true, false, 1, 0, yes or no$/),
  wrong(OPTIONS.mgmtToken, "server", `${CANARY} token`, /^a token of visible ASCII/),
  wrong(OPTIONS.mgmtBind, "server", "127.0.0.1:9090", /^a host name or an IP address without a/),
  wrong(OPTIONS.mgmtPort, "server", "65536", /^a port from 0 to 65535$/),
  wrong(OPTIONS.mgmtHosts, "server", "https://a", /^host names separated by commas/),
  wrong(OPTIONS.mgmtUrl, "server id", "localhost:9090", /^an http:\/\/ or https:\/\/ address/),
  wrong(OPTIONS.forwardMaxPerPeer, "server", "0", /^a whole number of 1 or more$/),
  wrong(OPTIONS.forwardMaxAge, "server", "7w", /^a duration above zero, as in 7d/),
  wrong(OPTIONS.forwardMaxTotal, "server", "1.5GB", /^a size of 1 byte or more, as in 1GB/),
  wrong(OPTIONS.pairPeer, "peer pair", "Qm", /^a whole Peer ID, 46 characters/),
  wrong(OPTIONS.log, "peer id", "loud", /^levels \(off, error, warn, info, debug, trace\)/),
  wrong(OPTIONS.logFormat, "peer id", "xml", /^pretty or json$/),
];

for (const given of ["flag", "variable"] as const) {
  badInputTest({
    name: `A wrong value in a ${given} ends cairn with status 2 and says what was expected`,
    async story(scene) {
      const folder = `${scene.folder}/data`;
      for (const { row, command, wrong, expected } of KINDS) {
        const source = given === "flag" ? flagOf(row, command) : row.env ?? "";
        const flags = given === "flag" ? [source, wrong] : [];
        const ended = await scene.run([...command.split(" "), ...flags], {
          CAIRN_DATA_DIR: folder,
          CAIRN_PEER_DIR: folder,
          ...(given === "variable" && { [source]: wrong }),
        });
        assertRefused(ended, { row, source, wrong, expected });
      }
      ok(!await exists(folder), "nothing was made");
    },
  });
}

badInputTest({
  name: "A switch takes no value as a flag, and a wrong one in its variable is refused",
  async story(scene) {
    const asVariable = await scene.run(["peer", "list"], { CAIRN_PEER_JSON: "maybe" });
    equal(
      sentenceOf(asVariable, 2),
      'CAIRN_PEER_JSON: "maybe" is not right; expected true, false, 1, 0, yes or no',
    );
    const asFlag = await scene.run(["peer", "list", "--json", "maybe"]);
    match(sentenceOf(asFlag, 2), /^too many arguments/);
  },
});

badInputTest({
  name: "A path that is empty is refused as a flag",
  async story(scene) {
    const ended = await scene.run(["signal", "--tls-cert", ""]);
    equal(sentenceOf(ended, 2), '--tls-cert: "" is not right; expected a path');
  },
});

badInputTest({
  name: "A secret is taken from one place, and its file must be there and hold a right one",
  async story(scene) {
    const file = `${scene.folder}/token`;
    await Deno.writeTextFile(file, `${CANARY} token\n`);
    const variable = "CAIRN_MGMT_TOKEN";
    const cases: [env: Record<string, string>, said: RegExp][] = [
      [
        { [`${variable}_FILE`]: `${scene.folder}/nowhere` },
        /^CAIRN_MGMT_TOKEN_FILE: cannot read ".*\/nowhere"; expected a file that holds the secret$/,
      ],
      [
        { [`${variable}_FILE`]: scene.folder },
        /^CAIRN_MGMT_TOKEN_FILE: cannot read ".*"; expected a file that holds the secret$/,
      ],
      [
        { [`${variable}_FILE`]: file },
        /^CAIRN_MGMT_TOKEN_FILE: its value is not right; expected a token of visible ASCII/,
      ],
      [
        { [variable]: CANARY, [`${variable}_FILE`]: file },
        /^CAIRN_MGMT_TOKEN and CAIRN_MGMT_TOKEN_FILE are both set; keep one$/,
      ],
    ];
    for (const [env, said] of cases) {
      const ended = await scene.run(["server", "--data-dir", `${scene.folder}/server`], env);
      match(sentenceOf(ended, 2), said);
      ok(!ended.stderr.includes(CANARY), ended.stderr);
    }
  },
});

badInputTest({
  name: "A command or a flag that cairn does not know is refused with status 2 and a way on",
  async story(scene) {
    const cases: [args: string, said: RegExp][] = [
      ["listen", /^unknown command 'listen'/],
      ["peer sned", /^unknown command 'sned'/],
      ["server start", /^unknown command 'start' \(cairn server has: id, pair\b/],
      ["signal --port 1", /^unknown option '--port'/],
      ["up --listen-addr 127.0.0.1:0", /^unknown option '--listen-addr'/],
      ["peer listen --count", /^option '--count <number>' argument missing/],
      ["peer id more", /^too many arguments/],
      ["signal --constructor 1", /^unknown option '--constructor'/],
    ];
    for (const [args, said] of cases) match(sentenceOf(await scene.run(args.split(" ")), 2), said);
  },
});

Deno.test("Settings refuses a wrong value of every option that can have one, by flag and variable", () => {
  const wrong = `${CANARY} \0 :`;
  let refused = 0;
  for (const command of COMMANDS) {
    for (const row of optionsOf(command)) {
      if (row.kind.parse(wrong) !== undefined) continue; // Any text is right, as for a channel.
      const flag = flagOf(row, command);
      for (const source of row.env === undefined ? [flag] : [flag, row.env]) {
        const settings = new Settings(command, new Map(source === flag ? [[flag, wrong]] : []), {
          env: (name) => name === source ? wrong : undefined,
          names: () => [],
          readTextFile: () => "",
        });
        throws(() => settings.value(row), (error) => {
          ok(error instanceof CairnError && error.code === "invalid-option");
          ok(error.message.startsWith(`${source}: `), error.message);
          ok(error.message.endsWith(`; expected ${row.kind.expected}`), error.message);
          equal(error.message.includes(CANARY), row.secret === undefined, error.message);
          return true;
        });
        refused++;
      }
    }
  }
  ok(refused > 150, `only ${refused} were refused`);
});

function assertRefused(
  ended: Ended,
  { row, source, wrong, expected }: Pick<WrongValue, "row" | "wrong" | "expected"> & {
    readonly source: string;
  },
): void {
  const said = sentenceOf(ended, 2);
  const shown = row.secret ? "its value is not right" : `"${wrong}" is not right`;
  const start = `${source}: ${shown}; expected `;
  deepEqual(said.slice(0, start.length), start);
  match(said.slice(start.length), expected);
  if (row.secret) ok(!ended.stderr.includes(CANARY), ended.stderr);
}

function wrong(
  row: OptionRow<unknown>,
  command: CommandName,
  wrong: string,
  expected: RegExp,
): WrongValue {
  return { row, command, wrong, expected };
}

async function exists(path: string): Promise<boolean> {
  return await Deno.stat(path).then(() => true, () => false);
}
