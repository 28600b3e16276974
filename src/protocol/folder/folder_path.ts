import { utf8 } from "../../base/bytes.ts";

/** Longest path, in bytes of UTF-8: what every file system of today takes. */
export const MAX_PATH_BYTES = 1_000;
/** Longest name of one file or folder, in bytes of UTF-8. */
export const MAX_NAME_BYTES = 240;
/** Deepest nesting of folders. */
export const MAX_PATH_DEPTH = 64;
/** Names that begin so are the program's own and never travel. */
export const OWN_PREFIX = ".cairn-";
/** What a device ignores: a file of that device, which does not travel. */
export const IGNORE_FILE = ".cairnignore";

const MAX_EXTENSION_BYTES = 16;
const MAX_DEVICE_BYTES = 32;
/** Names that Windows keeps for devices, with any extension. */
const WINDOWS_DEVICES = /^(con|prn|aux|nul|com[0-9]|lpt[0-9])(\.|$)/i;
const WINDOWS_FORBIDDEN = /[<>:"|?*]|[. ]$/;

/**
 * Why `path` names no file that could be synced; `undefined` when it does: names joined by `/`,
 * relative to the folder, which lead nowhere else on any system.
 */
export function pathFault(path: string): string | undefined {
  if (!path.isWellFormed()) return "its name is not valid text";
  if (path.length > MAX_PATH_BYTES || utf8(path).length > MAX_PATH_BYTES) {
    return "its path is too long";
  }
  const names = path.split("/");
  if (names.length > MAX_PATH_DEPTH) return "it lies too deep";
  if (caseKey(path) === IGNORE_FILE) return "it is this device's own";
  return names.map(nameFault).find((fault) => fault !== undefined);
}

function nameFault(name: string): string | undefined {
  if (name === "" || name === "." || name === "..") return "its path leads out of the folder";
  // deno-lint-ignore no-control-regex -- these are what is refused.
  if (/[\x00-\x1f\x7f\\]/.test(name)) return "its name has a control character or a backslash";
  // Case is folded: on some disks the other spelling is the same file.
  if (name.toLowerCase().startsWith(OWN_PREFIX)) return "its name is reserved";
  return utf8(name).length > MAX_NAME_BYTES ? "its name is too long" : undefined;
}

/** Why Windows could not keep a file under `path`; `undefined` when it could. */
export function windowsFault(path: string): string | undefined {
  const unusable = path.split("/").some((name) =>
    WINDOWS_DEVICES.test(name) || WINDOWS_FORBIDDEN.test(name)
  );
  return unusable ? "Windows cannot keep a file of this name" : undefined;
}

/** The folders that `path` lies in, the outermost first. */
export function foldersOf(path: string): string[] {
  const names = path.split("/").slice(0, -1);
  return names.map((_, index) => names.slice(0, index + 1).join("/"));
}

/** What two paths share exactly when a disk that folds case takes them for one. */
export function caseKey(path: string): string {
  return path.normalize("NFC").toLowerCase();
}

/** `text` as the name of a device inside a file name: at most 32 bytes, nothing that misleads. */
export function deviceLabel(text: string): string {
  // deno-lint-ignore no-control-regex -- these are what is taken out.
  const plain = text.toWellFormed().replace(/[\x00-\x1f\x7f\\/<>:"|?*()]/g, "").trim();
  const label = firstBytes(plain, MAX_DEVICE_BYTES).trim();
  return label === "" ? "device" : label;
}

/**
 * Where the loser of a conflict goes: `name (conflict DEVICE 2026-11-21 14.03).ext`, with the
 * device that wrote it and its time of modification (Unix milliseconds), in UTC.
 */
export function conflictPath(path: string, device: string, modified: number): string {
  const slash = path.lastIndexOf("/") + 1;
  const name = path.slice(slash);
  const dot = name.lastIndexOf(".");
  const isExtension = dot > 0 && utf8(name.slice(dot)).length <= MAX_EXTENSION_BYTES;
  const stem = isExtension ? name.slice(0, dot) : name;
  const time = new Date(modified).toISOString();
  const when = `${time.slice(0, -14)} ${time.slice(-13, -8).replace(":", ".")}`;
  const tail = ` (conflict ${device} ${when})${isExtension ? name.slice(dot) : ""}`;
  const room = Math.min(
    MAX_NAME_BYTES - utf8(tail).length,
    MAX_PATH_BYTES - utf8(path.slice(0, slash) + tail).length,
  );
  // Where the folder's own path leaves no room, it goes to the top.
  if (room < 0 && slash > 0) return conflictPath(name, device, modified);
  return path.slice(0, slash) + firstBytes(stem, Math.max(0, room)) + tail;
}

/** The longest beginning of `text` that has at most `max` bytes of UTF-8, by whole characters. */
function firstBytes(text: string, max: number): string {
  let taken = "";
  let length = 0;
  for (const character of text) {
    length += utf8(character).length;
    if (length > max) break;
    taken += character;
  }
  return taken;
}
