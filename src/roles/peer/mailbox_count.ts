import { getLogger } from "@logtape/logtape";
import { equalBytes } from "../../base/bytes.ts";
import { ProtocolError } from "../../base/errors.ts";
import type { PeerId } from "../../protocol/crypto/peer_id.ts";
import type { Outbox } from "./outbox.ts";

const log = getLogger(["cairn", "peer"]);

/** More messages than any rolled-back state can have sent. */
export const MAX_LOST = 2 ** 32;

/** What agreeing with one mailbox on its counts stands on. */
export interface MailboxCountParts {
  readonly server: PeerId;
  readonly storeId: Uint8Array;
  readonly outbox: Outbox;
  /** Asks how many messages for `recipient` the mailbox has accepted from here. */
  readonly ask: (recipient: PeerId) => Promise<number>;
  /** Called when the mailbox knows of more messages than this peer: its state was rolled back. */
  readonly rolledBack: () => Promise<void>;
}

/** Agrees with one mailbox, once a link and recipient, on how many messages it has accepted. */
export class MailboxCount {
  readonly #agreed = new Set<string>();

  constructor(private readonly parts: MailboxCountParts) {}

  /** Asks unless it was asked on this link already. */
  async agree(recipient: PeerId): Promise<void> {
    if (!this.#agreed.has(recipient.toString())) await this.#ask(recipient);
  }

  /** The next message is to be asked about again. */
  forget(recipient: PeerId): void {
    this.#agreed.delete(recipient.toString());
  }

  /** Starts the numbering again right behind what the mailbox has accepted. */
  async renumber(recipient: PeerId): Promise<void> {
    const { outbox, server, storeId } = this.parts;
    const highest = await this.#ask(recipient);
    await outbox.routes.set(server, recipient, { storeId, highest });
    outbox.wires.unnumber(recipient);
  }

  /**
   * Takes the mailbox's count from there: a larger number than ours means that this folder was
   * rolled back, a smaller one than what was acknowledged that the mailbox was.
   */
  async #ask(recipient: PeerId): Promise<number> {
    const { outbox, server, storeId, ask, rolledBack } = this.parts;
    const lastSequence = await ask(recipient);
    const route = outbox.routes.get(server, recipient);
    const highest = route?.highest ?? 0;
    if (lastSequence > highest + MAX_LOST) {
      throw new ProtocolError("malformed", "The server reports a count that cannot be");
    }
    if (lastSequence > highest) {
      log.warn(
        "The server has accepted more messages than this data folder knows of: it was restored " +
          "from an older copy. New sessions and new keys are used from here on.",
      );
      await rolledBack();
      // Only now: a crash in between must find the difference again.
      await outbox.routes.set(server, recipient, { storeId, highest: lastSequence });
    } else if (!route || !equalBytes(route.storeId, storeId)) {
      await outbox.routes.set(server, recipient, { storeId, highest: lastSequence });
    } else {
      outbox.wires.unaccept(server, recipient, lastSequence);
    }
    this.#agreed.add(recipient.toString());
    return lastSequence;
  }
}
