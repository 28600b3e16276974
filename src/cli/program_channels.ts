import { getLogger } from "@logtape/logtape";
import { NotTaken } from "../roles/peer/listeners.ts";
import type { ReceivedMessage } from "../roles/peer/node_api.ts";

const log = getLogger(["cairn", "peer"]);

/** What programs say to one another, as `cairn peer sync` does, is on channels that begin so. */
const PREFIX = "cairn/";
/** What may wait for such a program in the inbox, which has room for no more than 20,000. */
const MAX_LEFT = 2_000;
const MAX_LEFT_BYTES = 512 * 1_048_576;

/**
 * Keeps a conversation free of what programs say: that stays in the inbox for the program which
 * reads it, at its next start. Beyond a bound it is taken and thrown away, so that messages of
 * people still come in: programs ask again for what they lack.
 */
export class ProgramChannels {
  readonly #max: { readonly messages: number; readonly bytes: number };
  #messages = 0;
  #bytes = 0;

  constructor(max = { messages: MAX_LEFT, bytes: MAX_LEFT_BYTES }) {
    this.#max = max;
  }

  /** Whether a message is one of a program, to be thrown away. @throws {NotTaken} when it stays. */
  drops({ channel, data }: Pick<ReceivedMessage, "channel" | "data">): boolean {
    if (!channel.startsWith(PREFIX)) return false;
    const { messages, bytes } = this.#max;
    if (this.#messages < messages && this.#bytes + data.length <= bytes) {
      this.#messages++;
      this.#bytes += data.length;
      throw new NotTaken();
    }
    log.debug("A message on {channel} is dropped: too many wait for its program", { channel });
    return true;
  }
}
