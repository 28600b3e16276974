import { parseIp } from "../../src/base/address.ts";
import type { LocalMessage } from "../../src/protocol/mdns/local_record.ts";
import type { Sender } from "../../src/protocol/mdns/responder.ts";
import { decodeDnsMessage } from "../../src/roles/mdns/dns_message.ts";
import type {
  LocalChannel,
  Multicast,
  MulticastEvents,
  OpenMulticast,
} from "../../src/roles/mdns/multicast.ts";

/** One message that was sent, and to whom; `undefined` means all. */
export interface SentMessage {
  readonly message: LocalMessage;
  readonly to: Sender | undefined;
}

/** A local network of one interface that is in this process alone. */
export class TestMulticast implements Multicast {
  readonly sent: SentMessage[] = [];
  readonly opened = Promise.resolve();
  readonly channels: readonly LocalChannel[];
  isOpen = false;
  #events: MulticastEvents | undefined;

  /** `networks` are addresses with their prefix, as in `192.168.1.7/24`. */
  constructor(...networks: string[]) {
    this.channels = [{
      interface: { name: "test0", networks: networks.map(networkOf) },
      family: 4,
      send: (bytes, to) => {
        const message = decodeDnsMessage(bytes);
        if (message) this.sent.push({ message, to });
        return Promise.resolve();
      },
    }];
  }

  readonly open: OpenMulticast = (events) => {
    this.#events = events;
    this.isOpen = true;
    queueMicrotask(() => this.channels.forEach((channel) => events.onChannel?.(channel)));
    return this;
  };

  /** A message comes. */
  receive(message: Partial<LocalMessage>, address: string, port = 5_353): void {
    const whole = {
      id: 0,
      isResponse: true,
      isTruncated: false,
      questions: [],
      records: [],
      ...message,
    };
    for (const channel of this.channels) this.#events?.onMessage(whole, { address, port }, channel);
  }

  /** What was sent since the last time. */
  take(): SentMessage[] {
    return this.sent.splice(0);
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.isOpen = false;
    return Promise.resolve();
  }
}

function networkOf(spelled: string) {
  const [text = "", length] = spelled.split("/");
  return { address: parseIp(text) ?? new Uint8Array(4), length: Number(length), text };
}
