/** Failures of the roles inside `cairn up`, in words that fit its command line. */

import { CairnError } from "../base/errors.ts";
import { OPTIONS } from "./options.ts";
import { flagOf, type OptionRow } from "./settings.ts";

/**
 * What `start` returns. A role that fails names options as its own command has them; here they have
 * the names that `cairn up` gives them.
 */
export async function namedForUp<Result>(start: () => Promise<Result>): Promise<Result> {
  try {
    return await start();
  } catch (error) {
    if (!(error instanceof CairnError)) throw error;
    throw new CairnError(error.code, renamed(error.message), { cause: error });
  }
}

function renamed(message: string): string {
  return message.replace(/(--[a-z-]+) \((CAIRN_\w+)\)/g, (whole, flag: string, env: string) => {
    const rows: readonly OptionRow<unknown>[] = Object.values(OPTIONS);
    const row = rows.find((row) =>
      row.flag === flag && row.env === env && row.commands.includes("up")
    );
    return row ? `${flagOf(row, "up")} (${env})` : whole;
  });
}
