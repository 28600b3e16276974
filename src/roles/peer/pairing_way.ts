import { utf8 } from "../../base/bytes.ts";
import { CairnError } from "../../base/errors.ts";
import { PeerId } from "../../protocol/crypto/peer_id.ts";
import {
  decodeInvitation,
  formatPairingLink,
  type Invitation,
  parsePairingLink,
} from "../../protocol/pairing/invitation.ts";
import { parsePin } from "../../protocol/pairing/pin.ts";
import { judgePsk, MIN_PSK_LENGTH } from "../../protocol/pairing/psk.ts";
import type { PairingAim } from "./pairing_aim.ts";

/** How to pair, as a person says it: all of it is text. */
export type PairingWay =
  | { readonly by: "psk"; readonly psk: string; readonly peer: string }
  | { readonly by: "pin"; readonly pin: string }
  | { readonly by: "link"; readonly link: string }
  | { readonly by: "approved" | "ask"; readonly peer: string };

/**
 * What that means.
 *
 * @throws {CairnError} `invalid-option` when a PIN, link or key cannot be one.
 * @throws {TypeError} when a text is not a Peer ID.
 */
export function aimOf(way: PairingWay, onSas: (sas: string) => void): PairingAim {
  switch (way.by) {
    case "psk":
      if (judgePsk(way.psk) === "refused") {
        throw new CairnError(
          "invalid-option",
          `The pre-shared key is too short: at least ${MIN_PSK_LENGTH} bytes, better 16 or more`,
        );
      }
      return { mechanism: "psk", acceptor: PeerId.from(way.peer), credential: utf8(way.psk) };
    case "pin": {
      const pin = parsePin(way.pin);
      if (pin) return { mechanism: "pin", pin };
      throw new CairnError(
        "invalid-option",
        "Not a PIN: it has eight letters and digits, as in 98AF-XZ2P",
      );
    }
    case "link":
      return { mechanism: "link", invitation: readLink(way.link) };
    case "approved":
      return { mechanism: "approved", acceptor: PeerId.from(way.peer) };
    case "ask":
      return { mechanism: "ask", acceptor: PeerId.from(way.peer), onSas };
  }
}

/**
 * The link in what a QR scanner read: the bytes of the code, or a link as text.
 *
 * @throws {CairnError} `invalid-option` when it is neither.
 */
export function linkOfQrCode(scanned: Uint8Array): string {
  // Scanners end what they print with a line break of their own.
  for (const bytes of [scanned, scanned.subarray(0, -1)]) {
    try {
      return formatPairingLink(decodeInvitation(bytes));
    } catch {
      // It may be the other form.
    }
  }
  return formatPairingLink(readLink(new TextDecoder().decode(scanned)));
}

function readLink(text: string): Invitation {
  try {
    return parsePairingLink(text);
  } catch (cause) {
    throw new CairnError(
      "invalid-option",
      "Not a whole pairing link; it begins with cairn://pair? and a shell wants it in quotes",
      { cause },
    );
  }
}
