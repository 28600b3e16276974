import { join } from "node:path";
import { toHex } from "../../base/bytes.ts";
import { CairnError } from "../../base/errors.ts";
import type { Host } from "../../base/host.ts";
import { IGNORE_FILE, OWN_PREFIX } from "../../protocol/folder/folder_path.ts";
import { IgnoreRules } from "../../protocol/folder/ignore_rules.ts";

const MARK_FILE = `${OWN_PREFIX}folder`;
const MAX_IGNORE_BYTES = 65_536;

/**
 * The mark of the folder at `root`, which is made when it is not there. It tells a folder that was
 * emptied from one whose disk is not mounted: files that are missing there were not deleted.
 *
 * @throws {CairnError} `data-folder-unusable`.
 */
export async function readMark(root: string, host: Host): Promise<string> {
  try {
    await Deno.mkdir(root, { recursive: true });
    const path = join(root, MARK_FILE);
    const mark = await Deno.readTextFile(path).catch((error) => {
      if (error instanceof Deno.errors.NotFound) return undefined;
      throw error;
    });
    if (mark !== undefined) return mark.trim();
    const made = toHex(host.random(16));
    await Deno.writeTextFile(path, `${made}\n`, { createNew: true });
    return made;
  } catch (cause) {
    throw new CairnError(
      "data-folder-unusable",
      `The folder ${root} cannot be synced: it cannot be made, read or written`,
      { cause },
    );
  }
}

/** Whether the folder is still there, with its mark. */
export async function hasMark(root: string, mark: string): Promise<boolean> {
  const there = await Deno.readTextFile(join(root, MARK_FILE)).catch(() => undefined);
  return there?.trim() === mark;
}

/** What this device leaves out of the folder. */
export async function readIgnoreRules(root: string): Promise<IgnoreRules> {
  try {
    const text = await Deno.readTextFile(join(root, IGNORE_FILE));
    return new IgnoreRules(text.slice(0, MAX_IGNORE_BYTES));
  } catch {
    return new IgnoreRules("");
  }
}
