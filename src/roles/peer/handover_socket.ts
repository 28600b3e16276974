import { utf8 } from "../../base/bytes.ts";

/** Bytes of the longest path of a Unix socket that every system takes. */
const MAX_SOCKET_PATH = 100;
const SOCKET_NAME = "peer.sock";
const POINTER_NAME = "peer.sock.path";

/**
 * Where the owner of a data folder listens: a socket in it or, when that path is too long, one in a
 * temporary folder that a file in it names. Nothing is there afterwards; `cleanUp` removes it all.
 */
export async function makeSocketPath(
  storagePath: string,
): Promise<{ path: string; cleanUp: () => Promise<void> }> {
  const path = `${storagePath}/${SOCKET_NAME}`;
  if (isShort(path)) {
    await removeFile(path);
    return { path, cleanUp: () => removeFile(path) };
  }
  const folder = await Deno.makeTempDir({ prefix: "cairn-" });
  const short = `${folder}/${SOCKET_NAME}`;
  const pointer = `${storagePath}/${POINTER_NAME}`;
  await Deno.writeTextFile(pointer, short, { mode: 0o600 });
  const cleanUp = async () => {
    for (const file of [short, folder, pointer]) await removeFile(file);
  };
  return { path: short, cleanUp };
}

/** Where the owner of a data folder listens, if it does. @throws when there is no such place. */
export async function socketPath(storagePath: string): Promise<string> {
  const path = `${storagePath}/${SOCKET_NAME}`;
  if (isShort(path)) return path;
  return (await Deno.readTextFile(`${storagePath}/${POINTER_NAME}`)).trim();
}

function isShort(path: string): boolean {
  return utf8(path).length <= MAX_SOCKET_PATH;
}

async function removeFile(path: string): Promise<void> {
  try {
    await Deno.remove(path);
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
}
