import { toHex } from "../../../src/base/bytes.ts";
import type { Host } from "../../../src/base/host.ts";
import { PeerId } from "../../../src/protocol/crypto/peer_id.ts";
import type {
  ForwardAck,
  ForwardDeliver,
  ForwardRequest,
} from "../../../src/protocol/forward_messages.ts";
import type { DataFolder } from "../../../src/roles/data_folder.ts";
import { GroupCommit } from "../../../src/roles/group_commit.ts";
import {
  type Attachment,
  MailboxDesk,
  type MailboxDeskOptions,
  type SenderAttachment,
} from "../../../src/roles/server/mailbox_desk.ts";

export const DAY_MS = 24 * 60 * 60 * 1000;

/** Clocks that stand still until told, and a random source with a seed. */
export class TestHost implements Host {
  wall = Date.UTC(2026, 0, 1);
  mono = 0;
  #state: number;

  constructor(seed = 1) {
    this.#state = seed;
  }

  now(): number {
    return this.wall;
  }

  monotonic(): number {
    return this.mono;
  }

  pass(ms: number): void {
    this.wall += ms;
    this.mono += ms;
  }

  /** Uniform in [0, below). */
  pick(below: number): number {
    return this.#next() % below;
  }

  random(length: number): Uint8Array<ArrayBuffer> {
    return Uint8Array.from({ length }, () => this.#next() & 0xff);
  }

  /** Mulberry32. */
  #next(): number {
    this.#state = this.#state + 0x6d2b79f5 | 0;
    let t = Math.imul(this.#state ^ this.#state >>> 15, 1 | this.#state);
    t = t + Math.imul(t ^ t >>> 7, 61 | t) ^ t;
    return (t ^ t >>> 14) >>> 0;
  }
}

export function peer(name: string): PeerId {
  return PeerId.ofPublicKey(new TextEncoder().encode(name));
}

/** A body that names itself; `size` pads it. */
export function bodyOf(text: string, size = text.length): Uint8Array<ArrayBuffer> {
  const body = new Uint8Array(Math.max(size, text.length));
  body.set(new TextEncoder().encode(text));
  return body;
}

let ids = 0;

/** A request with a fresh id. */
export function request(
  recipient: PeerId,
  sequenceNumber: number,
  body: string | Uint8Array = `message ${sequenceNumber}`,
): ForwardRequest {
  const msgId = new Uint8Array(16);
  new DataView(msgId.buffer).setUint32(12, ++ids);
  const encryptedPayload = typeof body === "string" ? bodyOf(body) : body;
  return { msgId, recipient, encryptedPayload, sequenceNumber };
}

/** A folder in memory, for everything but the folder itself. */
export async function memoryFolder(): Promise<MemoryFolder> {
  return new MemoryFolder(await Deno.openKv(":memory:"));
}

export class MemoryFolder {
  readonly path = "memory";
  readonly reserve: DataFolder["reserve"] = {
    release: () => Promise.resolve(false),
    refill: () => Promise.resolve(),
  };
  free = Infinity;

  constructor(readonly kv: Deno.Kv) {}

  freeBytes(): Promise<number> {
    return Promise.resolve(this.free);
  }
}

export interface Scene {
  readonly desk: MailboxDesk;
  readonly commit: GroupCommit;
  close(): Promise<void>;
}

/** Limits of the mailbox of a test, beside those that it sets itself. */
export const LIMITS: MailboxDeskOptions["limits"] = {
  maxPerPeer: 10_000,
  maxAgeMs: 7 * DAY_MS,
  maxTotalBytes: 1024 ** 3,
  largestBody: 1_000_000,
  minFreeBytes: 0,
};

export async function openDesk(
  folder: MailboxDeskOptions["folder"],
  host: TestHost,
  options: { limits?: Partial<MailboxDeskOptions["limits"]>; strangers?: PeerId[] } = {},
): Promise<Scene> {
  const commit = new GroupCommit(folder.kv, folder.reserve);
  const strangers = options.strangers ?? [];
  const desk = await MailboxDesk.open({
    folder,
    commit,
    limits: { ...LIMITS, ...options.limits },
    isPaired: (candidate) => !strangers.some((stranger) => stranger.equals(candidate)),
    host,
  });
  return {
    desk,
    commit,
    async close() {
      await desk.close();
      await commit.close();
    },
  };
}

/** A recipient's end of a link; it purges when told. */
export class Inbox {
  readonly received: ForwardDeliver[] = [];
  congested = false;
  drains = 0;
  readonly attachment: Attachment;
  #changed = Promise.withResolvers<void>();

  constructor(desk: MailboxDesk, recipient: PeerId) {
    this.attachment = desk.attach(recipient, this);
  }

  deliver(message: ForwardDeliver): void {
    this.received.push(message);
    this.#wake();
  }

  drained(): void {
    this.drains++;
    this.#wake();
  }

  texts(): string[] {
    return this.received.map(({ encryptedPayload }) => textOf(encryptedPayload));
  }

  async untilReceived(count: number): Promise<void> {
    await this.until(() => this.received.length >= count);
  }

  async until(condition: () => boolean): Promise<void> {
    while (!condition()) await this.#changed.promise;
  }

  async purge(...messages: ForwardDeliver[]): Promise<void> {
    await this.attachment.purge(messages.map(({ msgId }) => msgId), []);
  }

  #wake(): void {
    this.#changed.resolve();
    this.#changed = Promise.withResolvers();
  }
}

/** A sender's end of a link, as far as receipts go. */
export class Outbox {
  readonly receipts: ForwardAck[] = [];
  readonly attachment: SenderAttachment;
  #changed = Promise.withResolvers<void>();

  constructor(desk: MailboxDesk, sender: PeerId) {
    this.attachment = desk.attachSender(sender, this);
  }

  receipt(ack: ForwardAck): void {
    this.receipts.push(ack);
    this.#changed.resolve();
    this.#changed = Promise.withResolvers();
  }

  async untilReceived(count: number): Promise<void> {
    while (this.receipts.length < count) await this.#changed.promise;
  }

  outcomes(): [string, boolean | undefined, string | null][] {
    return this.receipts.map((ack) => [toHex(ack.msgId), ack.delivered, ack.rejectionReason]);
  }
}

export function textOf(body: Uint8Array): string {
  const end = body.indexOf(0);
  return new TextDecoder().decode(end < 0 ? body : body.subarray(0, end));
}
