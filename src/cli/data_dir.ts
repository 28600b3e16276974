/** Which folder a command keeps its data in. */

import { getLogger } from "@logtape/logtape";
import { CairnError } from "../base/errors.ts";
import { OPTIONS } from "./options.ts";
import { type Settings } from "./settings.ts";

const logger = getLogger(["cairn", "cli"]);

/** The folder that the server is to use. `/data`, the default, is made where that is possible. */
export function makeServerDataDir(settings: Settings): string {
  const wanted = settings.value(OPTIONS.serverDataDir);
  if (settings.isSet(OPTIONS.serverDataDir) || isOrBecomesFolder(wanted)) return wanted;
  const instead = inUserDataFolder("server", settings.howToSet(OPTIONS.serverDataDir));
  logger.info("{wanted} cannot be made here; the data folder is {instead}", { wanted, instead });
  return instead;
}

/** The folder that the server on this machine uses; nothing is made. */
export function findServerDataDir(settings: Settings): string {
  const wanted = settings.value(OPTIONS.serverDataDir);
  if (settings.isSet(OPTIONS.serverDataDir) || isFolder(wanted)) return wanted;
  return inUserDataFolder("server", settings.howToSet(OPTIONS.serverDataDir));
}

/** The data folder of this user's peer. */
export function peerDataDir(settings: Settings): string {
  return settings.value(OPTIONS.peerDataDir) ??
    inUserDataFolder("peer", settings.howToSet(OPTIONS.peerDataDir));
}

/** XDG Base Directory Specification: a relative path in the variable counts as unset. */
function inUserDataFolder(name: string, howToSet: string): string {
  const dataHome = Deno.env.get("XDG_DATA_HOME");
  if (dataHome?.startsWith("/")) return `${dataHome}/cairn/${name}`;
  const home = Deno.env.get("HOME") || Deno.env.get("USERPROFILE");
  if (home) return `${home}/.local/share/cairn/${name}`;
  throw new CairnError(
    "data-folder-unusable",
    `Neither XDG_DATA_HOME nor HOME is set; name a data folder with ${howToSet}`,
  );
}

function isOrBecomesFolder(path: string): boolean {
  try {
    Deno.mkdirSync(path, { recursive: true, mode: 0o700 });
    return true;
  } catch {
    return false;
  }
}

function isFolder(path: string): boolean {
  try {
    return Deno.statSync(path).isDirectory;
  } catch {
    return false;
  }
}
