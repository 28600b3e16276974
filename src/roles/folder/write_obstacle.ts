import { windowsFault } from "../../protocol/folder/folder_path.ts";
import { Obstacle } from "./folder_disk.ts";

/** What is wrong with every file of the folder: a full disk, one that may not be written, a broken one. */
const WRONG_WITH_ALL: readonly string[] = ["ENOSPC", "EDQUOT", "EROFS", "EIO"];

/**
 * What stands in the way of one file that was to be written; `undefined` when what was there has
 * gone meanwhile.
 *
 * @throws `error`, when it is not about that file alone.
 */
export function obstacleIn(error: unknown): string | undefined {
  if (error instanceof Obstacle) return error.message;
  if (error instanceof Deno.errors.NotFound) return undefined;
  if (error instanceof Deno.errors.PermissionDenied) return "this user may not write there";
  const code = error instanceof Error && "code" in error ? String(error.code) : "";
  // What has no such code comes from the index, or from a fault of the program.
  if (!/^E[A-Z0-9]+$/.test(code) || WRONG_WITH_ALL.includes(code)) throw error;
  return `the system refuses it here (${code})`;
}

/**
 * Why this system could not keep a file under `path`; `twin` is a file that is there, whose path
 * differs in case alone.
 */
export function nameObstacle(path: string, twin: string | undefined): string | undefined {
  const { os } = Deno.build;
  const foldsCase = os === "windows" || os === "darwin";
  if (foldsCase && twin !== undefined) return `only case tells its name from "${twin}"`;
  return os === "windows" ? windowsFault(path) : undefined;
}
