/** Where the passphrase of a backup comes from: a file, a variable, or whoever sits there. */

import { CairnError } from "../base/errors.ts";
import { OPTIONS } from "./options.ts";
import type { Settings } from "./settings.ts";
import { writeToStandardError } from "./standard_output.ts";

const ENTER = ["\r", "\n"];
const END_OF_INPUT = "\x04";
const INTERRUPT = "\x03";
const ERASE = ["\x7f", "\b"];

/**
 * The passphrase of a backup. At a terminal it is asked for, `twice` when a slip of the hand would
 * make a backup that nobody can open.
 *
 * @throws {CairnError} `invalid-option`.
 */
export async function readPassphrase(
  settings: Settings,
  { twice, isInputTaken }: { readonly twice: boolean; readonly isInputTaken: boolean },
): Promise<string> {
  const file = settings.value(OPTIONS.backupPassphraseFile);
  if (file !== undefined) return readFile(file);
  const given = settings.value(OPTIONS.backupPassphrase);
  if (given !== undefined) return given;
  if (isInputTaken || !Deno.stdin.isTerminal()) {
    throw new CairnError(
      "invalid-option",
      "Give the passphrase of the backup by --passphrase-file or CAIRN_BACKUP_PASSPHRASE",
    );
  }
  const terminal = new HiddenInput();
  const passphrase = await terminal.ask("Passphrase: ");
  if (twice && await terminal.ask("Once more: ") !== passphrase) {
    throw new CairnError("invalid-option", "The two are not the same: run the command again");
  }
  return passphrase;
}

function readFile(path: string): string {
  try {
    return Deno.readTextFileSync(path).replace(/\r?\n$/, "");
  } catch (cause) {
    throw new CairnError(
      "invalid-option",
      `--passphrase-file: cannot read "${path}"; expected a file that holds the passphrase`,
      { cause },
    );
  }
}

/** Reads lines from the terminal without showing them. */
class HiddenInput {
  readonly #decoder = new TextDecoder();
  /** What was typed or pasted behind the line that was asked for. */
  #ahead: string[] = [];

  async ask(question: string): Promise<string> {
    writeToStandardError(question);
    let typed = "";
    Deno.stdin.setRaw(true);
    try {
      while (true) {
        const character = this.#ahead.shift();
        if (character === undefined) this.#ahead = await this.#read();
        else if (ENTER.includes(character)) return typed;
        else if (character === INTERRUPT || character === END_OF_INPUT) {
          throw new CairnError("closed", "Interrupted before there was a passphrase");
        } else if (ERASE.includes(character)) typed = [...typed].slice(0, -1).join("");
        else typed += character;
      }
    } finally {
      Deno.stdin.setRaw(false);
      writeToStandardError("\n");
    }
  }

  async #read(): Promise<string[]> {
    const buffer = new Uint8Array(1024);
    const length = await Deno.stdin.read(buffer);
    if (length === null) return [END_OF_INPUT];
    return [...this.#decoder.decode(buffer.subarray(0, length), { stream: true })];
  }
}
