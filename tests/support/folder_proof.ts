/** A large folder over the hub, while server and network fail. */

import { dirname, join } from "node:path";
import { FolderProcesses, type SyncLine } from "./folder_processes.ts";
import { filesOf } from "./folder_scene.ts";
import { within } from "./deadline.ts";

const MEGABYTE = 1_000_000;
const SMALL_FILES = 200;
const CUT_MS = 5_000;

/** What a run of the proof found. */
export interface FolderProof {
  readonly files: number;
  readonly bytes: number;
  /** From the start of both devices until each said that it is in step with the other. */
  readonly seconds: number;
  /** Most bytes in memory, by process. */
  readonly peaks: ReadonlyMap<string, number>;
  readonly disturbances: readonly string[];
}

/**
 * Brings a folder of `megabytes` from a laptop to a phone. With `disturb`, the server is killed twice
 * and the network is cut twice on the way.
 *
 * @throws {Error} when the folders are not the same in the end, or that takes too long.
 */
export async function proveFolder(
  { megabytes, disturb, waitMs, within: dir }: {
    megabytes: number;
    disturb: boolean;
    waitMs: number;
    within?: string;
  },
): Promise<FolderProof> {
  const deadline = AbortSignal.timeout(waitMs);
  await using scene = await FolderProcesses.open(["laptop", "phone"], deadline, dir);
  const files = await fill(scene.folder("laptop"), megabytes);
  const start = performance.now();
  const [laptop, phone] = [scene.sync("laptop"), scene.sync("phone")];
  const disturbances: string[] = [];
  const steps = disturb ? disturbancesOf(scene) : [];
  const isDone = (lines: readonly string[]) => {
    const { event, names }: SyncLine = JSON.parse(lines.at(-1) ?? "{}");
    return event === "up-to-date" && names?.length === 1;
  };
  let shown = 0;
  let isOver = false;
  for await (const line of phone.output) {
    const { event, bytes = 0, path }: SyncLine = JSON.parse(line);
    shown++;
    if (path === undefined && event === "fetching") scene.measure();
    const share = event === "fetching" && bytes > 0 ? 1 - bytes / (megabytes * MEGABYTE) : 0;
    const [next] = steps;
    if (next && share >= next.at) {
      steps.shift();
      disturbances.push(`${next.what} at ${Math.round(100 * share)} %`);
      await next.run();
    }
    if (shown === phone.output.all.length && isDone([line]) && await isHere(scene, files)) {
      isOver = true;
      break;
    }
  }
  if (!isOver) throw new Error(`The phone has ended:\n${phone.log.all.slice(-20).join("\n")}`);
  const seconds = (performance.now() - start) / 1_000;
  const waiting = (async () => {
    for await (const line of laptop.output) if (isDone([line])) return;
  })();
  await within(deadline, waiting, () => "the laptop to be in step");
  const peaks = new Map(scene.measure());
  for (const device of [laptop, phone]) await device.end();
  const [at, there] = [await filesOf(scene.folder("laptop")), await filesOf(scene.folder("phone"))];
  if (JSON.stringify(at) !== JSON.stringify(there)) throw new Error("The folders differ");
  if (Object.keys(there).length !== files) throw new Error("The folders lack files");
  return { files, bytes: megabytes * MEGABYTE, seconds, peaks, disturbances };
}

interface Disturbance {
  readonly at: number;
  readonly what: string;
  readonly run: () => Promise<void>;
}

function disturbancesOf(scene: FolderProcesses): Disturbance[] {
  const kill = async () => {
    await scene.killServer();
    await scene.startServer();
  };
  const cut = async () => {
    scene.proxy.cut();
    await new Promise((resolve) => setTimeout(resolve, CUT_MS));
    scene.proxy.mend();
  };
  return [
    { at: 0.15, what: "server killed", run: kill },
    { at: 0.35, what: "network cut", run: cut },
    { at: 0.55, what: "server killed", run: kill },
    { at: 0.75, what: "network cut", run: cut },
  ];
}

/** One file of six tenths, ten of a third together, and many small ones. @returns how many. */
async function fill(folder: string, megabytes: number): Promise<number> {
  const total = megabytes * MEGABYTE;
  const large = Math.floor(total * 0.6);
  const middle = Math.floor(total / 30);
  const small = Math.floor((total - large - 10 * middle) / SMALL_FILES);
  const last = total - large - 10 * middle - small * (SMALL_FILES - 1);
  const sizes: [path: string, bytes: number][] = [["films/large.bin", large]];
  for (let i = 0; i < 10; i++) sizes.push([`photos/${i}.raw`, middle]);
  for (let i = 0; i < SMALL_FILES; i++) {
    sizes.push([`notes/${i % 10}/${i}.txt`, i + 1 === SMALL_FILES ? last : small]);
  }
  for (const [path, bytes] of sizes) {
    await Deno.mkdir(dirname(join(folder, path)), { recursive: true });
    await using file = await randomFile(join(folder, path));
    await file.fill(bytes);
  }
  return sizes.length;
}

async function randomFile(path: string) {
  const file = await Deno.open(path, { write: true, createNew: true });
  return {
    async fill(bytes: number): Promise<void> {
      const chunk = new Uint8Array(65_536);
      for (let left = bytes; left > 0;) {
        crypto.getRandomValues(chunk);
        left -= await file.write(chunk.subarray(0, Math.min(left, chunk.length)));
      }
    },
    [Symbol.asyncDispose](): Promise<void> {
      file.close();
      return Promise.resolve();
    },
  };
}

async function isHere(scene: FolderProcesses, files: number): Promise<boolean> {
  return Object.keys(await filesOf(scene.folder("phone"))).length === files;
}
