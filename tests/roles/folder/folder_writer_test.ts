import { deepEqual, equal, rejects } from "node:assert/strict";
import { systemHost } from "../../../src/base/host.ts";
import { PeerId } from "../../../src/protocol/crypto/peer_id.ts";
import { sha256 } from "../../../src/protocol/crypto/primitives.ts";
import { PiecePlan } from "../../../src/protocol/folder/piece_plan.ts";
import { nameOfList } from "../../../src/protocol/folder/pieces.ts";
import { FolderDisk } from "../../../src/roles/folder/folder_disk.ts";
import { FolderState } from "../../../src/roles/folder/folder_state.ts";
import { FolderWriter } from "../../../src/roles/folder/folder_writer.ts";
import { LocalContents } from "../../../src/roles/folder/local_contents.ts";

const bytes = new TextEncoder().encode("what the other device has");
const list = sha256(bytes);
const hash = nameOfList(list);
const content = { hash, size: bytes.length, executable: false, list };
const maker = `1220${"ab".repeat(32)}`;

/** A disk that refuses to keep files of some names, as such file systems do. */
class RefusingDisk extends FolderDisk {
  constructor(root: string, readonly code: string) {
    super(root);
  }

  override place(
    ...[path, ...rest]: Parameters<FolderDisk["place"]>
  ): ReturnType<FolderDisk["place"]> {
    const error = Object.assign(new Error("The system refuses"), { code: this.code });
    return path.includes("odd") ? Promise.reject(error) : super.place(path, ...rest);
  }
}

interface Scene {
  readonly writer: FolderWriter;
  readonly state: FolderState;
  readonly root: string;
  readonly skipped: string[];
  readonly stale: string[];
}

async function withWriter(code: string, story: (scene: Scene) => Promise<void>): Promise<void> {
  const folder = await Deno.makeTempDir({ prefix: "cairn-folder-writer-" });
  const root = `${folder}/files`;
  await Deno.mkdir(root);
  const state = await FolderState.open(`${folder}/index.kv`, {
    self: PeerId.ofPublicKey(new Uint8Array(32).fill(1)),
    label: "laptop",
    mark: "mark",
    host: systemHost,
  });
  const [skipped, stale]: [string[], string[]] = [[], []];
  const onStale = (path: string) => void stale.push(path);
  const disk = new RefusingDisk(root, code);
  const writer = new FolderWriter({
    disk,
    state,
    plan: new PiecePlan(),
    contents: new LocalContents(disk, state, onStale),
    onWritten: () => {},
    onSkipped: (path) => void skipped.push(path),
    onStale,
  });
  try {
    await story({ writer, state, root, skipped, stale });
  } finally {
    await state.close();
    await Deno.remove(folder, { recursive: true });
  }
}

/** Another device has the file at `path`. */
async function announce({ state, writer }: Scene, path: string): Promise<void> {
  const version = new Map([[maker, Date.now()]]);
  await state.merge([{ path, content, modified: 1, device: "phone", version }]);
  await writer.settle([path]);
}

Deno.test("A file that the system refuses is left out, and others are not", async () => {
  await withWriter("ENAMETOOLONG", async (scene) => {
    const { writer, state, root, skipped } = scene;
    await announce(scene, "odd.txt");
    equal(state.missing, 1);
    await writer.takePiece({ hash, index: 0, bytes });
    deepEqual(skipped, ["odd.txt"]);
    equal(state.missing, 0);
    await announce(scene, "plain.txt");
    await writer.takePiece({ hash, index: 0, bytes });
    deepEqual(await Deno.readFile(`${root}/plain.txt`), bytes);
    deepEqual([...state.pending], ["odd.txt"]);
  });
});

Deno.test("A folder that goes while a file streams in is looked at again", async () => {
  await withWriter("ENAMETOOLONG", async (scene) => {
    const { writer, root, stale, skipped } = scene;
    await announce(scene, "below/plain.txt");
    await Deno.remove(root);
    await writer.takePiece({ hash, index: 0, bytes });
    deepEqual(stale, ["below/plain.txt"]);
    deepEqual(skipped, []);
  });
});

Deno.test("A full disk is not taken for one file's trouble", async () => {
  await withWriter("ENOSPC", async (scene) => {
    await announce(scene, "odd.txt");
    await rejects(scene.writer.takePiece({ hash, index: 0, bytes }), { code: "ENOSPC" });
  });
});
