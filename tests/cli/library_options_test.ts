/** What the environment sets, a program sets by `createServer({…})`, and the other way round. */

import { deepEqual, equal, fail, notDeepEqual } from "node:assert/strict";
import { OPTIONS, optionsOf } from "../../src/cli/options.ts";
import { serverOptions } from "../../src/cli/server.ts";
import { type OptionRow, Settings } from "../../src/cli/settings.ts";
import type { ServerOptions } from "../../src/mod.ts";

/** What belongs to a process and not to a server in it. */
const OF_THE_PROCESS: readonly OptionRow<unknown>[] = [
  OPTIONS.log,
  OPTIONS.logFormat,
  OPTIONS.envFile,
];

/** Values of every kind that an option of a server has; each row takes its first two. */
const SAMPLES = [
  ...["true", "false", "17", "18", "17h", "18h", "17MB", "18MB"],
  ...["127.0.0.1:17", "127.0.0.1:18", "127.0.0.1", "127.0.0.2", "one.example", "two.example"],
  ...["QmYwAPJzv5CZsnA625s3Xf2nemtYgPpHdWEz79ojWnPbdG"],
  ...["QmZ7bpYmqMrSHuh4kvE1sUtVMyJfZ2bB7zWnEZPvMXqYbR"],
  ...["wss://one.example", "wss://two.example", "turn:one.example", "turn:two.example"],
  ...["https://one.example", "https://two.example", "/srv/one", "/srv/two"],
  ...["one key of this server", "another key of this server", "a-token", "another-token"],
];

type Env = Readonly<Record<string, string>>;

const ROWS = optionsOf("server").filter((row) => !OF_THE_PROCESS.includes(row));
/** Stands in place of a name and a password. */
const TURN_SECRET = OPTIONS.turnSecret.env;
/** Every option has a value, but for what another one excludes. */
const ALL = envOf(0);

for (const row of ROWS) {
  Deno.test(`createServer() can be told what ${row.env} tells cairn server`, () => {
    const [first, second] = [0, 1].map((index) => {
      const own = { [nameOf(row)]: sampleOf(row, index) };
      return serverOptions(settings(
        nameOf(row) === TURN_SECRET ? { ...minimal(), ...own } : {
          ...ALL,
          ...own,
        },
      ));
    });
    notDeepEqual(first, second);
  });
}

/** True for what the environment sets; TypeScript holds this against the interface. */
const SERVER: Record<keyof ServerOptions, boolean> = {
  storagePath: true,
  listenAddr: true,
  publicUrl: true,
  management: true,
  psk: true,
  approvedPeers: true,
  forward: true,
  roster: true,
  relayCapacity: true,
  relayPeerRate: true,
  signalServers: true,
  signalAuthToken: true,
  mdns: true,
  turnServers: true,
  turnCredentials: true,
  kvUrl: true,
  tls: true,
  // Another name for `forward.maxAgeMs`, as the documentation has it.
  maxMessageRetentionSecs: false,
  signalHints: true,
  // A socket that systemd has opened.
  listenFd: false,
  backups: true,
  storePassphrase: true,
  // For tests.
  host: false,
};
const MANAGEMENT: Record<keyof NonNullable<ServerOptions["management"]>, boolean> = {
  enabled: true,
  bind: true,
  port: true,
  token: true,
  hosts: true,
  metricsPerPeer: true,
  // A socket that systemd has opened.
  fd: false,
};
const FORWARD: Record<keyof NonNullable<ServerOptions["forward"]>, true> = {
  enabled: true,
  maxPerPeer: true,
  maxAgeMs: true,
  maxTotalBytes: true,
};

Deno.test("The environment can tell cairn server what createServer() can be told", () => {
  const options = serverOptions(settings(ALL));
  const setOf = (table: Record<string, boolean>) =>
    Object.keys(table).filter((name) => table[name]).toSorted();
  deepEqual(Object.keys(options).toSorted(), setOf(SERVER));
  deepEqual(Object.keys(options.management ?? {}).toSorted(), setOf(MANAGEMENT));
  deepEqual(Object.keys(options.forward ?? {}).toSorted(), Object.keys(FORWARD).toSorted());
});

function envOf(index: number): Env {
  const rows = ROWS.filter((row) => nameOf(row) !== TURN_SECRET);
  return Object.fromEntries(rows.map((row) => [nameOf(row), sampleOf(row, index)]));
}

function minimal(): Env {
  return { [OPTIONS.serverDataDir.env]: "/srv/one" };
}

function nameOf(row: OptionRow<unknown>): string {
  return row.env ?? fail(`${row.flag} has no variable`);
}

function sampleOf(row: OptionRow<unknown>, index: number): string {
  const fitting = SAMPLES.filter((text) => row.kind.parse(text) !== undefined);
  equal(fitting.length >= 2, true, `two samples of a value for ${row.flag}`);
  return fitting[index] ?? fail();
}

function settings(env: Env): Settings {
  return new Settings("server", new Map(), {
    env: (name) => env[name],
    names: () => Object.keys(env),
    readTextFile: (path) => fail(`nothing reads ${path}`),
  });
}
