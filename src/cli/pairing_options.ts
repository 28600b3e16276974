/** The rows of the table of options about pairing, on the side that asks and on the one that invites. */

import * as value from "./option_values.ts";
import type { OptionRow } from "./settings.ts";

export const PAIRING_OPTIONS = {
  pairPeer: {
    flag: "--peer",
    env: "CAIRN_PAIR_PEER",
    sentence: "Peer ID of the other side, with --psk; alone, when it has approved this peer",
    kind: value.peerId,
    essential: true,
    commands: ["peer pair"],
  },
  pairPin: {
    flag: "--pin",
    env: "CAIRN_PAIR_PIN",
    sentence: "PIN that the other side shows",
    kind: { placeholder: "<pin>", expected: "a PIN as in 98AF-XZ2P", parse: value.text.parse },
    secret: true,
    essential: true,
    commands: ["peer pair"],
  },
  pairLink: {
    flag: "--link",
    env: "CAIRN_PAIR_LINK",
    sentence: "Pairing link that the other side shows",
    kind: { placeholder: "<uri>", expected: "a pairing link", parse: value.text.parse },
    secret: true,
    essential: true,
    commands: ["peer pair"],
  },
  pairQr: {
    flag: "--qr",
    env: "CAIRN_PAIR_QR",
    sentence: "File with what a scanner read from the other side's QR code; - is standard input",
    kind: value.path,
    commands: ["peer pair"],
  },
  pairAsk: {
    flag: "--ask",
    env: "CAIRN_PAIR_ASK",
    sentence: "Peer ID of the other side; wait until its operator approves, who sees the same code",
    kind: value.peerId,
    essential: true,
    commands: ["peer pair"],
  },
  pairLeaveOpen: {
    flag: "--leave-open",
    sentence: "End at once and leave the PIN or link open, instead of waiting for the other side",
    kind: value.flagOnly,
    commands: ["server pair"],
  },
  makePin: {
    flag: "--pin",
    sentence: "Make a PIN, for one pairing within 5 minutes",
    kind: value.flagOnly,
    essential: true,
    commands: ["server pair"],
  },
  makeLink: {
    flag: "--link",
    sentence: "Make a pairing link",
    kind: value.flagOnly,
    essential: true,
    commands: ["server pair"],
  },
  makeQr: {
    flag: "--qr",
    sentence: "Make a pairing link and show it as a QR code",
    kind: value.flagOnly,
    essential: true,
    commands: ["server pair"],
  },
} as const satisfies Record<string, OptionRow<unknown>>;
