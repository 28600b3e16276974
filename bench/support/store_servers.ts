/** The stores that are compared, each a process of its own with a folder of its own. */

import { fileURLToPath } from "node:url";
import { systemHost } from "../../src/base/host.ts";
import { Identity } from "../../src/protocol/crypto/identity.ts";
import type { PeerId } from "../../src/protocol/crypto/peer_id.ts";
import { openDataFolder } from "../../src/roles/data_folder.ts";
import { GroupCommit } from "../../src/roles/group_commit.ts";
import { loadIdentity } from "../../src/roles/identity_store.ts";
import { PeerBook } from "../../src/roles/peer_book.ts";
import { freePort } from "../../tests/support/free_port.ts";
import { serveSockets } from "./epoll_sockets.ts";
import { type StartedProcess, startProcess } from "./started_process.ts";
import { cairnClient, natsClient, redisClient, type StoreClient } from "./store_clients.ts";

const START_WITHIN_MS = 60_000;
const QUIET_MS = 300;

/** A store that can be compared. */
export interface StoreKind {
  readonly name: string;
  /** What is true of a message when its acknowledgement comes. */
  readonly durability: string;
  start(folder: string, clients: number): Promise<RunningStore>;
}

/** A store that runs. */
export interface RunningStore {
  readonly pid: number;
  /** Connections that are up. */
  readonly clients: readonly StoreClient[];
  stop(): Promise<void>;
}

const FSYNCED = "on disk: fsync before each acknowledgement";

export const STORES: readonly StoreKind[] = [
  {
    name: "cairn",
    durability: FSYNCED,
    async start(folder, count) {
      const identities = Array.from(
        { length: count },
        () => Identity.fromSeed(systemHost.random(32)),
      );
      const server = await pairAll(`${folder}/data`, identities.map(({ peerId }) => peerId));
      const port = freePort();
      const running = await startCairn(`${folder}/data`, port);
      return await withClients(
        running,
        identities.map((identity) => cairnClient(port, server, identity)),
      );
    },
  },
  {
    name: "Redis Streams",
    durability: `${FSYNCED} (appendfsync always)`,
    async start(folder, count) {
      const port = freePort();
      const running = await start("redis-server", [
        ...["--port", String(port), "--bind", "127.0.0.1", "--dir", folder],
        ...["--appendonly", "yes", "--appendfsync", "always", "--save", ""],
      ], port);
      return await withClients(running, many(count, () => redisClient(port)));
    },
  },
  {
    name: "NATS JetStream",
    durability: "in the page cache: version 2.9 cannot sync each message (sync_interval is 2.10's)",
    async start(folder, count) {
      const port = freePort();
      const running = await start("nats-server", [
        ...["-a", "127.0.0.1", "-p", String(port), "--jetstream", "--store_dir", folder],
        ...["--log", `${folder}/log`],
      ], port);
      return await withClients(running, many(count, () => natsClient(port)));
    },
  },
];

/** Starts `cairn server` on a data folder; resolves when it accepts links. */
export function startCairn(folder: string, port: number): Promise<StartedProcess> {
  const main = fileURLToPath(new URL("../../main.ts", import.meta.url));
  return start(
    Deno.execPath(),
    [
      ...["run", "-A", main, "server", "--data-dir", folder],
      ...["--listen-addr", `127.0.0.1:${port}`],
    ],
    port,
    {
      RUST_LOG: "warn",
      CAIRN_MGMT_ENABLED: "false",
      CAIRN_FORWARD_MAX_PER_PEER: "10000000",
      CAIRN_FORWARD_MAX_TOTAL: "8GB",
    },
  );
}

/** Makes a server's folder in which these peers are paired. */
export async function pairAll(path: string, peers: readonly PeerId[]): Promise<PeerId> {
  const folder = await openDataFolder({ path, kind: "server" });
  const commit = new GroupCommit(folder.kv);
  const { identity } = await loadIdentity(folder.kv, systemHost);
  const book = await PeerBook.open(folder.kv, commit);
  for (const peerId of peers) {
    const secret = systemHost.random(32);
    await book.pair({ peerId, mechanism: "psk", pairedAt: systemHost.now(), secret });
  }
  await commit.close();
  await folder.close();
  return identity.peerId;
}

function start(
  program: string,
  args: readonly string[],
  port: number,
  env: Record<string, string> = {},
): Promise<StartedProcess> {
  return startProcess({
    command: [program, ...args],
    env,
    stderr: "inherit",
    port,
    startWithin: START_WITHIN_MS,
    explain: (hasEnded) => {
      return Promise.resolve(`${program} does not start${hasEnded ? ": it has ended" : ""}`);
    },
  });
}

async function withClients(
  process: StartedProcess,
  clients: readonly StoreClient[],
): Promise<RunningStore> {
  let isReady = false;
  const ready = Promise.all(clients.map((client) => client.ready)).then(() => isReady = true);
  try {
    await Promise.all([ready, serveSockets(() => isReady, START_WITHIN_MS)]);
    // What servers say of their own accord must not be taken for acknowledgements.
    await serveSockets(() => false, QUIET_MS);
  } catch (error) {
    await process.stop();
    throw error;
  }
  return {
    pid: process.pid,
    clients,
    async stop() {
      for (const client of clients) client.close();
      await process.stop();
    },
  };
}

function many<T>(count: number, make: () => T): T[] {
  return Array.from({ length: count }, make);
}
