/** `cairn relay`: the TURN relay. */

import { CairnError } from "../base/errors.ts";

export function runRelay(): Promise<number> {
  return Promise.reject(
    new CairnError("refused", "The relay is not built yet; use any TURN server, such as coturn"),
  );
}
