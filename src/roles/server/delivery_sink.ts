import type { ForwardDeliver } from "../../protocol/forward_messages.ts";

/** The link of a recipient. */
export interface RecipientSink {
  deliver(message: ForwardDeliver): void;
  /** Nothing waits for this recipient. */
  drained(): void;
  /** While true nothing more is delivered; call {@linkcode Attachment.resume} when it ends. */
  readonly congested: boolean;
}

/** A recipient's link at its mailbox. A newer attachment of the same recipient takes its place. */
export interface Attachment {
  /**
   * Ends what the recipient has stored, could not open, or refuses, as far as it was sent on this
   * attachment; it also counts after a newer attachment took over. Resolves when that is durable.
   */
  purge(
    msgIds: readonly Uint8Array[],
    failed: readonly Uint8Array[],
    refused?: readonly Uint8Array[],
  ): Promise<void>;
  resume(): void;
  detach(): void;
}
