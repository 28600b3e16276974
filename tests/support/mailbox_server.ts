import { equalBytes, toHex } from "../../src/base/bytes.ts";
import type { PeerId } from "../../src/protocol/crypto/peer_id.ts";
import { decodeSignedPart } from "../../src/protocol/crypto/x3dh.ts";
import type { Envelope } from "../../src/protocol/envelope.ts";
import {
  decodeForwardPurge,
  decodeForwardRequest,
  decodeReceiptAck,
  decodeSequenceQuery,
  encodeForwardAck,
  encodeForwardDeliver,
  encodeMailboxStatus,
  encodeSequenceReport,
  type ForwardDeliver,
  type ForwardRequest,
  type MailboxStatus,
} from "../../src/protocol/forward_messages.ts";
import { MessageType } from "../../src/protocol/message_types.ts";
import {
  decodePrekeyFetch,
  decodePrekeyPublish,
  encodePrekeyBundle,
  type PrekeyBundle,
  type PrekeyPublish,
} from "../../src/protocol/prekey_messages.ts";
import { encodeVersionNegotiate } from "../../src/protocol/session_messages.ts";
import {
  decodeSyncRequest,
  encodeSyncAck,
  type SyncRequest,
} from "../../src/protocol/sync_messages.ts";
import type { LinkConnection } from "../../src/roles/link_connection.ts";
import { bytesFor } from "./identities.ts";
import { Journal } from "./journal.ts";

interface Pair {
  last: number;
  refused: number | undefined;
  readonly bodies: Map<string, Uint8Array>;
}

/**
 * A mailbox server as one peer sees it, written from docs/wire_format.md section 7 and made to
 * misbehave: what it holds outlives its links.
 */
export class FakeMailbox {
  storeId: Uint8Array = bytesFor("store").slice(0, 16);
  status: Partial<MailboxStatus> = { oneTimePrekeysLeft: 100 };
  /** What it was asked, in words. */
  readonly heard = new Journal();
  /** Every request, accepted or not. */
  readonly requests: ForwardRequest[] = [];
  /** What it has on disk, in order of acceptance. */
  accepted: (ForwardRequest & { readonly sharedBody?: Uint8Array })[] = [];
  /** Every request for several recipients, accepted or not. */
  readonly syncs: SyncRequest[] = [];
  readonly publications: PrekeyPublish[] = [];
  readonly purged: string[] = [];
  readonly failed: string[] = [];
  readonly acknowledgedReceipts: string[] = [];
  /** Why a request that is in turn is refused. */
  refuse: (request: ForwardRequest) => string | undefined = () => undefined;
  /** Whether the answer to a request leaves; the request counts all the same. */
  answers: (request: ForwardRequest) => boolean = () => true;
  /** The prekeys that it gives out. */
  bundle: (peerId: PeerId) => Omit<PrekeyBundle, "peerId"> = () => noBundle("no prekeys");
  #pairs = new Map<string, Pair>();
  #link: LinkConnection | undefined;

  /** Serves the other end of a link, and says how things stand. */
  serve(link: LinkConnection): void {
    this.#link = link;
    link.trustRemote();
    for (const pair of this.#pairs.values()) pair.refused = undefined;
    link.onEnvelope = (envelope) => this.#receive(link, envelope);
    this.sendStatus();
  }

  sendStatus(): void {
    this.#send(
      MessageType.MailboxStatus,
      encodeMailboxStatus({
        storeId: this.storeId,
        oneTimePrekeysLeft: 0,
        signedPrekeyId: null,
        largestBody: 1_000_000,
        retentionSeconds: 7 * 86_400,
        ...this.status,
      }),
    );
  }

  deliver(delivery: ForwardDeliver): void {
    this.#send(MessageType.ForwardDeliver, encodeForwardDeliver(delivery));
  }

  drained(): void {
    this.#send(MessageType.MailboxDrained, new Uint8Array(0));
  }

  /** The second ForwardAck: how a message ended. */
  receipt(msgId: Uint8Array, failure?: string): void {
    this.#send(
      MessageType.ForwardAck,
      encodeForwardAck({
        msgId,
        accepted: true,
        rejectionReason: failure ?? null,
        delivered: failure === undefined,
      }),
    );
  }

  last(recipient: PeerId): number {
    return this.#pair(recipient).last;
  }

  /** Forgets what it accepted after the first `count` messages, as a copy from back then would. */
  rollBack(recipient: PeerId, count: number): void {
    this.accepted = this.accepted.slice(0, count);
    this.#pairs.delete(recipient.toString());
    const pair = this.#pair(recipient);
    for (const { msgId, encryptedPayload, sequenceNumber } of this.accepted) {
      pair.bodies.set(toHex(msgId), encryptedPayload);
      pair.last = sequenceNumber;
    }
  }

  #pair(recipient: PeerId): Pair {
    const key = recipient.toString();
    const pair = this.#pairs.get(key) ?? { last: 0, refused: undefined, bodies: new Map() };
    this.#pairs.set(key, pair);
    return pair;
  }

  #send(type: number, payload: Uint8Array): void {
    this.#link?.send(type, payload);
  }

  #receive(link: LinkConnection, { type, payload }: Envelope): void {
    switch (type) {
      case MessageType.VersionNegotiate:
        return link.send(type, encodeVersionNegotiate({ versions: [1] }));
      case MessageType.SequenceQuery: {
        const { recipient } = decodeSequenceQuery(payload);
        this.heard.add("query");
        const lastSequence = this.#pair(recipient).last;
        return link.send(
          MessageType.SequenceReport,
          encodeSequenceReport({ recipient, lastSequence }),
        );
      }
      case MessageType.PrekeyFetch: {
        const { peerId } = decodePrekeyFetch(payload);
        this.heard.add("fetch");
        return link.send(
          MessageType.PrekeyBundle,
          encodePrekeyBundle({ peerId, ...this.bundle(peerId) }),
        );
      }
      case MessageType.PrekeyPublish: {
        const publication = decodePrekeyPublish(payload.slice());
        this.publications.push(publication);
        this.heard.add(publication.replaceAll ? "publish all" : "publish");
        this.#keep(publication);
        return this.sendStatus();
      }
      case MessageType.ForwardRequest:
        return this.#request(link, decodeForwardRequest(payload.slice()));
      case MessageType.SyncRequest:
        return this.#sync(link, decodeSyncRequest(payload.slice()));
      case MessageType.ForwardPurge: {
        const { msgIds, failed } = decodeForwardPurge(payload);
        this.purged.push(...msgIds.map(toHex));
        this.failed.push(...failed.map(toHex));
        return this.heard.add("purge");
      }
      case MessageType.ReceiptAck:
        this.acknowledgedReceipts.push(...decodeReceiptAck(payload).msgIds.map(toHex));
        return this.heard.add("receipt ack");
      default:
        throw new Error(`A mailbox is not told ${type}`);
    }
  }

  #keep({ signedPart, oneTimePrekeys, replaceAll }: PrekeyPublish): void {
    const before = replaceAll ? 0 : this.status.oneTimePrekeysLeft ?? 0;
    this.status = {
      ...this.status,
      signedPrekeyId: decodeSignedPart(signedPart).signedPrekeyId,
      oneTimePrekeysLeft: before + oneTimePrekeys.length,
    };
  }

  #request(link: LinkConnection, request: ForwardRequest): void {
    this.requests.push(request);
    const pair = this.#pair(request.recipient);
    const { sequenceNumber, msgId, encryptedPayload } = request;
    const known = pair.bodies.get(toHex(msgId));
    const refusal = known && equalBytes(known, encryptedPayload)
      ? undefined
      : known
      ? "message ID was used for another body"
      : this.#refusal(pair, request);
    if (refusal !== undefined) {
      if (sequenceNumber > pair.last) {
        pair.refused = Math.min(sequenceNumber, pair.refused ?? Infinity);
      }
    } else {
      if (pair.refused === sequenceNumber) pair.refused = undefined;
      if (!known) this.accepted.push(request);
      pair.bodies.set(toHex(msgId), encryptedPayload);
      pair.last = Math.max(pair.last, sequenceNumber);
    }
    this.heard.add(`${refusal === undefined ? "took" : "refused"} ${sequenceNumber}`);
    if (!this.answers(request)) return;
    link.send(
      MessageType.ForwardAck,
      encodeForwardAck({
        msgId,
        accepted: refusal === undefined,
        rejectionReason: refusal ?? null,
        lastSequence: pair.last,
      }),
    );
  }

  /** All or nothing. */
  #sync(link: LinkConnection, request: SyncRequest): void {
    this.syncs.push(request);
    const { id, rows, sharedBody } = request;
    const refusals = rows.map((row) => this.#refusal(this.#pair(row.recipient), row));
    const accepted = refusals.every((reason) => reason === undefined);
    for (const row of rows) {
      const pair = this.#pair(row.recipient);
      if (!accepted) {
        pair.refused = Math.min(row.sequenceNumber, pair.refused ?? Infinity);
        continue;
      }
      pair.refused = undefined;
      pair.last = row.sequenceNumber;
      this.accepted.push({ ...row, sharedBody });
    }
    this.heard.add(`${accepted ? "took" : "refused"} for ${rows.length}`);
    const answers = rows.map(({ recipient }, index) => ({
      recipient,
      rejectionReason: refusals[index] ?? null,
      lastSequence: this.#pair(recipient).last,
    }));
    link.send(MessageType.SyncAck, encodeSyncAck({ id, accepted, answers }));
  }

  #refusal({ last, refused }: Pair, request: ForwardRequest): string | undefined {
    const { sequenceNumber } = request;
    if (sequenceNumber <= last) {
      return `sequence ${sequenceNumber} was already used (last accepted ${last})`;
    }
    if (refused !== undefined && sequenceNumber > refused) return `waiting for sequence ${refused}`;
    const gap = sequenceNumber - last;
    if (gap > 1000) return `sequence gap ${gap} exceeds max skip threshold 1000`;
    return this.refuse(request);
  }
}

/** The answer to a fetch when there are no prekeys. */
export function noBundle(reason: string): Omit<PrekeyBundle, "peerId"> {
  return { signedPart: null, signature: null, oneTimePrekey: null, reason };
}

/** Gives out a publication as a mailbox does: each one-time key once. */
export function bundlesOf(publication: PrekeyPublish): () => Omit<PrekeyBundle, "peerId"> {
  const oneTime = [...publication.oneTimePrekeys];
  const { signedPart, signature } = publication;
  return () => ({ signedPart, signature, oneTimePrekey: oneTime.shift() ?? null, reason: null });
}
