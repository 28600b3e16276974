/** Data folders that were used, small disks to put them on, and ways to look into and damage them. */

import { freePort } from "../support/free_port.ts";
import { createServer, Node } from "../../src/mod.ts";
import { utf8 } from "../../src/base/bytes.ts";
import type { DataFolderKind } from "../../src/roles/data_folder.ts";
import { DatabaseSync, type SQLOutputValue } from "node:sqlite";
import {
  type BadInputScene,
  type Ended,
  LOOPBACK,
  SECRETS,
  serverArgs,
} from "./bad_input_scene.ts";

/**
 * A folder of this kind in which all there can be is: pairings, and messages of one peer that wait
 * for another, with their sender and on the server.
 */
export async function usedFolder(scene: BadInputScene, kind: DataFolderKind): Promise<string> {
  const folder = `${scene.folder}/used`;
  const server = createServer({
    storagePath: `${folder}/server`,
    listenAddr: `${LOOPBACK}:0`,
    management: { enabled: false },
    psk: SECRETS.psk,
  });
  await using stack = new AsyncDisposableStack();
  stack.defer(() => server.close());
  await server.start();
  const serverUrl = `ws://${LOOPBACK}:${server.addresses.links.port}/link`;
  const join = async (name: string) => {
    const node = await Node.create({ storagePath: `${folder}/${name}`, serverUrl });
    stack.defer(() => node.close());
    await node.start();
    await node.pairWithPsk(SECRETS.psk, server.peerId);
    return node;
  };
  const [sender, reader] = [await join("peer"), await join("reader")];
  await reader.close();
  for (const text of ["one", "two", "three".padEnd(70_000, ".")]) {
    await (await sender.send(reader.peerId, "", utf8(text))).accepted;
  }
  return `${folder}/${kind}`;
}

/** Runs what opens such a folder: `cairn server`, which must refuse it, or `cairn peer id`. */
export function startOn(
  scene: BadInputScene,
  kind: DataFolderKind,
  folder: string,
): Promise<Ended> {
  return kind === "peer"
    ? scene.run(["peer", "id", "--data-dir", folder])
    : scene.run(serverArgs(folder, freePort()), { CAIRN_PSK: SECRETS.psk });
}

/**
 * Every file of a folder that holds anything, byte for byte. SQLite's index of a write-ahead log is
 * made whenever somebody looks at a store.
 */
export async function contents(folder: string): Promise<Record<string, string>> {
  const files: Record<string, string> = {};
  for await (const { name, isFile } of Deno.readDir(folder)) {
    if (!isFile || name === "cairn.kv-shm") continue;
    const bytes = await Deno.readFile(`${folder}/${name}`);
    if (bytes.length > 0) files[name] = bytes.toBase64();
  }
  return files;
}

/** Runs SQL on a store that no process has open; returns the rows it yields. */
export function editStore(
  folder: string,
  sql: string,
  ...values: (Uint8Array | string)[]
): Record<string, SQLOutputValue>[] {
  const database = new DatabaseSync(`${folder}/cairn.kv`);
  try {
    return database.prepare(sql).all(...values);
  } finally {
    database.close();
  }
}

/** The beginning of the keys of these records, as Deno KV writes it, in hexadecimal. */
function keyPrefix(parts: readonly string[]): string {
  return parts.map((part) => `02${utf8(part).toHex()}00`).join("").toUpperCase();
}

/** The values of all records below a key. */
export function valuesBelow(folder: string, ...key: readonly string[]): Uint8Array[] {
  return editStore(
    folder,
    "SELECT v FROM kv WHERE hex(k) LIKE ? ORDER BY k",
    `${keyPrefix(key)}%`,
  ).map(({ v }) => {
    if (!(v instanceof Uint8Array)) throw new TypeError("A value is not bytes");
    return v;
  });
}

/** Replaces the first record below a key that has this value. */
export function replaceValue(folder: string, value: Uint8Array, by: Uint8Array): void {
  editStore(folder, "UPDATE kv SET v = ? WHERE v = ?", by, value);
}

/** Whether this user may mount a disk in memory. */
export const canMount = Deno.build.os === "linux" && await tryToMount();

async function tryToMount(): Promise<boolean> {
  const path = await Deno.makeTempDir({ prefix: "cairn-mount-" });
  try {
    if (!await run("mount", "-t", "tmpfs", "-o", "size=64k", "none", path)) return false;
    return await run("umount", path);
  } finally {
    await Deno.remove(path);
  }
}

/** A disk of its own, in memory, that can be filled up. */
export class SmallDisk implements AsyncDisposable {
  private constructor(readonly path: string) {}

  static async mount(path: string, size: string): Promise<SmallDisk> {
    await Deno.mkdir(path);
    if (!await run("mount", "-t", "tmpfs", "-o", `size=${size}`, "none", path)) {
      throw new Error(`Cannot mount a disk at ${path}`);
    }
    return new SmallDisk(path);
  }

  /** Leaves so many bytes to others, or what there is if that is less. */
  async fillUp(leave = 0): Promise<void> {
    using file = await Deno.open(`${this.path}/filler`, { create: true, append: true });
    const block = new Uint8Array(65_536);
    try {
      for (;;) await file.write(block);
    } catch (error) {
      if (!(error instanceof Error && "code" in error && error.code === "ENOSPC")) throw error;
    }
    const { size } = await file.stat();
    await file.truncate(Math.max(0, size - leave));
  }

  /** Gives everything back that {@linkcode SmallDisk.fillUp} took. */
  async makeRoom(): Promise<void> {
    await Deno.remove(`${this.path}/filler`);
  }

  async remount(options: string): Promise<void> {
    if (!await run("mount", "-o", `remount,${options}`, this.path)) {
      throw new Error(`Cannot mount ${this.path} again`);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    // Lazily, since after a failed assertion files may still be open.
    await run("umount", "--lazy", this.path);
  }
}

async function run(command: string, ...args: string[]): Promise<boolean> {
  try {
    const options: Deno.CommandOptions = { args, stdout: "null", stderr: "null" };
    return (await new Deno.Command(command, options).output()).success;
  } catch {
    return false;
  }
}
