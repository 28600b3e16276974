import type { PairingOffer } from "./answers.ts";

/** Wrong guesses after which a PIN or link ends. */
const MOST_FAILURES = 10;

/** What has become of a PIN or link. */
export function offerText(
  { kind, state, failures, peer_id: peerId }: Pick<
    PairingOffer,
    "kind" | "state" | "failures" | "peer_id"
  >,
  nameOf: (peerId: string) => string,
): string {
  const what = kind === "pin" ? "PIN" : "link";
  switch (state) {
    case "open":
      return failures === 0
        ? `Waiting for a peer to use the ${what}`
        : `Waiting; ${failures} of ${MOST_FAILURES} wrong guesses were made`;
    case "paired":
      return peerId === null ? "Paired" : `Paired with ${nameOf(peerId)}`;
    case "expired":
      return `The ${what} has expired before anybody used it`;
    case "burned":
      return `The ${what} has ended after ${MOST_FAILURES} wrong guesses; make another one`;
    case "withdrawn":
      return `The ${what} was withdrawn`;
  }
}
