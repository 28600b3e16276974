import { CairnError } from "../base/errors.ts";
import type { PeerId } from "../protocol/crypto/peer_id.ts";
import { peerId } from "./option_values.ts";

/** Reads the argument that names a peer. @throws {CairnError} `invalid-option`. */
export function parsePeerArgument(text: string): PeerId {
  const parsed = peerId.parse(text);
  if (parsed !== undefined) return parsed;
  throw new CairnError(
    "invalid-option",
    `PEER: "${text}" is not right; expected ${peerId.expected}`,
  );
}
