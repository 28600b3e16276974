import type { Host } from "../../src/base/host.ts";
import type { Envelope } from "../../src/protocol/envelope.ts";
import {
  acceptLink,
  initiateLink,
  type LinkConnection,
  type LinkContext,
} from "../../src/roles/link_connection.ts";
import { LinkKeys } from "../../src/roles/link_keys.ts";
import { identityFor } from "./identities.ts";
import { SocketPair } from "./socket_pair.ts";

/** What all links of the peer with this label share. */
export function contextFor(
  label: string,
  host: Host,
  options: { capabilities?: readonly string[]; heartbeat?: number } = {},
): LinkContext {
  const identity = identityFor(label);
  const { capabilities = [], heartbeat = 30_000 } = options;
  return { identity, keys: new LinkKeys(identity, host), capabilities, host, heartbeat };
}

/** A link between two peers in memory; the near one has initiated it. */
export interface LinkPair {
  readonly near: LinkConnection;
  readonly far: LinkConnection;
  readonly cable: SocketPair;
}

export async function linkPair(near: LinkContext, far: LinkContext): Promise<LinkPair> {
  const cable = new SocketPair();
  const [initiated, accepted] = await Promise.all([
    initiateLink(cable.near, near, { expectedPeer: far.identity.peerId }),
    acceptLink(cable.far, far),
  ]);
  return { near: initiated, far: accepted, cable };
}

/** Collects what comes over a link, and how it ended. */
export class LinkRecorder {
  readonly envelopes: Envelope[] = [];
  ended: string | undefined;
  #changed = Promise.withResolvers<void>();

  constructor(readonly link: LinkConnection) {
    link.onClose = (reason) => {
      this.ended = reason;
      this.#wake();
    };
    link.onEnvelope = (envelope) => {
      this.envelopes.push(envelope);
      this.#wake();
    };
  }

  /** Payloads of the messages of one type, in order. */
  payloads(type: number): Uint8Array[] {
    return this.envelopes.filter((each) => each.type === type).map(({ payload }) => payload);
  }

  /** The payload of the `count`-th message of a type. @throws when the link ends before. */
  async payload(type: number, count = 1): Promise<Uint8Array> {
    await this.until(() => this.ended !== undefined || this.payloads(type).length >= count);
    const payload = this.payloads(type)[count - 1];
    if (!payload) throw new Error(`The link ended (${this.ended}) before message ${type}`);
    return payload;
  }

  /** The reason with which the link ended. */
  async end(): Promise<string> {
    await this.until(() => this.ended !== undefined);
    return this.ended ?? "";
  }

  async until(condition: () => boolean): Promise<void> {
    while (!condition()) await this.#changed.promise;
  }

  #wake(): void {
    this.#changed.resolve();
    this.#changed = Promise.withResolvers();
  }
}
