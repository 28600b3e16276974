/**
 * The mailbox against a plain model: peers write to one another through one server while processes
 * die between any two commits, links break, clocks jump, quotas change, messages expire and folders
 * are restored. What the operators saw is compared with what they sent.
 */

import { DatabaseSync } from "node:sqlite";
import { toHex } from "../../src/base/bytes.ts";
import type { PeerId } from "../../src/protocol/crypto/peer_id.ts";
import { sha256 } from "../../src/protocol/crypto/primitives.ts";
import { ServerScene } from "../roles/server/links_scene.ts";
import { DAY_MS, TestHost } from "../roles/server/mailbox_scene.ts";
import { FakeTime, turns } from "./fake_time.ts";
import { keyNameOf } from "./key_use.ts";
import { Crash } from "./peer_world.ts";
import { ProofPeer } from "./proof_peer.ts";

const HOUR_MS = DAY_MS / 24;
const LABELS = ["alice", "bob", "carol", "dave"];
const LIMITS = { maxPerPeer: 60, maxAgeMs: DAY_MS, maxTotalBytes: 6_000_000 };
/** How often everyone is given time to come to rest at the end before what is missing is lost. */
const PATIENCE = 400;

/** What a run found. All lists of wrongs must be empty. */
export interface ProofResult {
  readonly seed: number;
  readonly sent: number;
  readonly shown: number;
  /** Ended with a reason, as the sender was told. */
  readonly givenUp: number;
  /** What was done to whom how often. */
  readonly events: Readonly<Record<string, number>>;
  readonly lost: readonly string[];
  readonly twice: readonly string[];
  readonly outOfOrder: readonly string[];
  /** Keys of the ratchet that encrypted two plaintexts. */
  readonly keysUsedTwice: readonly string[];
  /** What happened, for whoever looks for the cause of a wrong. */
  readonly story: readonly string[];
}

export async function proveMailbox(
  { seed, rounds }: { seed: number; rounds: number },
): Promise<ProofResult> {
  const folder = await Deno.makeTempDir({ prefix: "cairn-proof-" });
  using time = new FakeTime(seed);
  const world = new ProofWorld(folder, time, seed);
  try {
    await world.open();
    for (let round = 0; round < rounds; round++) await world.round();
    return await world.finish(seed);
  } finally {
    await world.close();
    await Deno.remove(folder, { recursive: true });
  }
}

interface Sent {
  readonly from: ProofPeer;
  readonly to: ProofPeer;
  readonly text: string;
  /** A restored folder may have taken it along: it need not arrive. */
  mayBeGone: boolean;
}

class ProofWorld {
  readonly #folder: string;
  readonly #time: FakeTime;
  /** Of its own, so that the same seed does the same things whatever else draws random bytes. */
  readonly #dice: TestHost;
  readonly #story: string[] = [];
  #peers: ProofPeer[] = [];
  #server: ServerScene | undefined;
  #stores = 1;
  #storeId = new Uint8Array(16).fill(1);
  #serverCopy: string | undefined;
  readonly #peerCopies = new Map<ProofPeer, { kv: Deno.Kv; sent: number; shown: number }>();
  readonly #sent: Sent[] = [];
  readonly #numbers = new Map<string, number>();
  readonly #keys = new Map<string, string>();
  readonly #keysUsedTwice = new Set<string>();
  readonly #events: Record<string, number> = {};

  constructor(folder: string, time: FakeTime, seed: number) {
    this.#folder = folder;
    this.#time = time;
    this.#dice = new TestHost(seed);
  }

  async open(): Promise<void> {
    await this.#startServer();
    for (const label of LABELS) {
      const tell = (what: string) => void this.#story.push(`${label} ${what}`);
      this.#peers.push(await ProofPeer.open(label, this.#time, tell));
    }
    await this.#live.know(...LABELS);
    for (const peer of this.#peers) await peer.connect(this.#live);
    await this.#rest();
  }

  async close(): Promise<void> {
    for (const peer of this.#peers) await peer.close();
    for (const { kv } of this.#peerCopies.values()) kv.close();
    await this.#killServer();
  }

  async round(): Promise<void> {
    const chance = this.#dice.pick(100);
    if (chance < 36) await this.#send(1 + this.#dice.pick(5));
    else if (chance < 48) await this.#connect(this.#anyone());
    else if (chance < 54) await this.#anyone().disconnect();
    else if (chance < 66) await this.#anyone().take();
    else if (chance < 74) await this.#serverDies();
    else if (chance < 82) await this.#peerDies(this.#anyone());
    else if (chance < 88) await this.#pass(this.#dice.pick(20 * 60_000));
    else if (chance < 90) await this.#passDays();
    else if (chance < 92) this.#stepClock();
    else if (chance < 95) await this.#changeQuota(this.#anyone());
    else if (chance < 96) this.#copyServer();
    else if (chance < 97) await this.#restoreServer();
    else if (chance < 98) await this.#copyPeer(this.#anyone());
    else if (chance < 99) await this.#restorePeer(this.#anyone());
    else await this.#rest();
  }

  async finish(seed: number): Promise<ProofResult> {
    for (const peer of this.#peers) {
      await this.#live.desk?.accounts.setQuota(peer.id, { messages: null, bytes: null });
    }
    for (let patience = PATIENCE; patience > 0 && !this.#isAtRest(); patience--) {
      for (const peer of this.#peers) if (!peer.isLinked) await this.#connect(peer);
      await this.#rest();
      for (const peer of this.#peers) await peer.take();
      // Retries wait longer and longer, links that fell silent are noticed, gaps are closed.
      await this.#time.elapse(60_000);
      if (patience % 20 === 0) { for (const peer of this.#peers) await peer.disconnect(); }
    }
    // A gap is kept open for a while for what its sender was asked to send again.
    await this.#time.elapse(900_000);
    for (const peer of this.#peers) await this.#connect(peer);
    await this.#rest();
    for (const peer of this.#peers) await peer.take();
    return {
      seed,
      sent: this.#sent.length,
      shown: this.#peers.reduce((sum, { shown }) => sum + shown.length, 0),
      givenUp: this.#sent.filter(({ text }) => this.#isGivenUp(text)).length,
      events: this.#events,
      lost: this.#lost(),
      ...this.#wrongs(),
      keysUsedTwice: [...this.#keysUsedTwice],
      story: this.#story,
    };
  }

  #isAtRest(): boolean {
    const isEmpty = this.#live.desk?.totals().messages === 0;
    return isEmpty && this.#peers.every((peer) => peer.isLinked && peer.waiting === 0);
  }

  #isGivenUp(text: string): boolean {
    return this.#peers.some(({ ended }) => ended.get(text) === "given up");
  }

  #lost(): string[] {
    return this.#sent.filter(({ to, text, mayBeGone }) => {
      const isShown = to.shown.some((shown) => shown.text === text);
      return !isShown && !mayBeGone && !this.#isGivenUp(text);
    }).map(({ text }) => text);
  }

  #wrongs(): { twice: string[]; outOfOrder: string[] } {
    const twice: string[] = [];
    const outOfOrder: string[] = [];
    for (const { shown } of this.#peers) {
      const last = new Map<string, number>();
      const seen = new Set<string>();
      for (const { from, text } of shown) {
        if (seen.has(text)) twice.push(text);
        seen.add(text);
        const number = Number(text.split(" ")[1]);
        // What its sender gave up may come late out of a restored server, or not at all.
        if (this.#isGivenUp(text)) continue;
        if (number < (last.get(from) ?? 0)) outOfOrder.push(text);
        last.set(from, Math.max(number, last.get(from) ?? 0));
      }
    }
    return { twice, outOfOrder };
  }

  async #send(count: number): Promise<void> {
    const from = this.#anyone();
    const to = this.#anyone();
    if (from === to) return;
    const pair = `${from.label}>${to.label}`;
    for (let left = count; left > 0; left--) {
      const number = (this.#numbers.get(pair) ?? 0) + 1;
      this.#numbers.set(pair, number);
      const sizes = [0, 0, 0, 0, 3_000, 20_000, 400_000];
      const text = `${pair} ${number}`;
      try {
        await from.send(to, text, sizes[this.#dice.pick(sizes.length)]!);
        this.#sent.push({ from, to, text, mayBeGone: false });
        this.#story.push(`${from.label} sent ${text}`);
      } catch (error) {
        // It has no id: its sender knows that it was not taken.
        if (!(error instanceof Crash)) throw error;
      }
    }
    if (this.#dice.pick(3) > 0) await turns(this.#dice.pick(20));
  }

  async #connect(peer: ProofPeer): Promise<void> {
    await peer.connect(this.#live);
    await turns(this.#dice.pick(10));
  }

  /** Between any two of its next commits, in the middle of work. */
  async #serverDies(): Promise<void> {
    this.#count("server died");
    this.#live.commit.dieAfter(this.#dice.pick(8));
    await this.#send(3);
    await turns(this.#dice.pick(30));
    await this.#killServer();
    await this.#startServer();
    for (const peer of this.#peers) if (this.#dice.pick(3) > 0) await this.#connect(peer);
  }

  async #peerDies(peer: ProofPeer): Promise<void> {
    this.#count("peer died", peer.label);
    peer.dieAfter(this.#dice.pick(5));
    await this.#send(2);
    await peer.take().catch((error) => {
      if (!(error instanceof Crash)) throw error;
    });
    await turns(this.#dice.pick(20));
    await peer.restart();
    if (this.#dice.pick(3) > 0) await this.#connect(peer);
  }

  async #pass(ms: number): Promise<void> {
    await this.#time.elapse(ms);
    await this.#live.desk?.sweep();
  }

  async #passDays(): Promise<void> {
    this.#count("days passed");
    for (const peer of this.#peers) await peer.disconnect();
    const end = this.#time.mono + 2 * HOUR_MS + this.#dice.pick(2 * DAY_MS);
    while (this.#time.mono < end) {
      this.#time.pass(1_200_000);
      await this.#live.desk?.sweep();
    }
  }

  #stepClock(): void {
    this.#count("clock stepped");
    const step = this.#dice.pick(30 * DAY_MS) - 15 * DAY_MS;
    this.#time.wall = Math.max(Date.UTC(2026, 0, 1), this.#time.wall + step);
    this.#story.push(`the clock is ${new Date(this.#time.wall).toISOString()}`);
  }

  async #changeQuota(peer: ProofPeer): Promise<void> {
    this.#count("quota changed", peer.label);
    const isReset = this.#dice.pick(3) === 0;
    const quota = isReset
      ? { messages: null, bytes: null }
      : { messages: this.#dice.pick(20), bytes: this.#dice.pick(400_000) };
    await this.#live.desk?.accounts.setQuota(peer.id, quota);
  }

  #copyServer(): void {
    const copy = `${this.#folder}/copy-${this.#stores}-${this.#sent.length}`;
    if (copy === this.#serverCopy) return;
    const database = new DatabaseSync(`${this.#folder}/server-${this.#stores}.kv`);
    database.prepare("VACUUM INTO ?").run(copy);
    database.close();
    this.#serverCopy = copy;
    this.#count("server copied");
  }

  async #restoreServer(): Promise<void> {
    const copy = this.#serverCopy;
    if (copy === undefined) return;
    this.#count("server restored");
    await this.#killServer();
    await Deno.copyFile(copy, `${this.#folder}/server-${++this.#stores}.kv`);
    this.#storeId = new Uint8Array(16).fill(this.#stores);
    await this.#startServer();
  }

  async #copyPeer(peer: ProofPeer): Promise<void> {
    this.#peerCopies.get(peer)?.kv.close();
    await peer.settle();
    const kv = await peer.copy();
    this.#count("peer copied", peer.label);
    this.#peerCopies.set(peer, { kv, sent: this.#sent.length, shown: peer.shown.length });
  }

  async #restorePeer(peer: ProofPeer): Promise<void> {
    const copy = this.#peerCopies.get(peer);
    if (copy === undefined) return;
    this.#count("peer restored", `${peer.label} as of ${copy.sent} messages`);
    this.#peerCopies.delete(peer);
    for (const [index, sent] of this.#sent.entries()) {
      if (sent.to === peer || (sent.from === peer && index >= copy.sent)) sent.mayBeGone = true;
    }
    peer.shown.length = Math.min(peer.shown.length, copy.shown);
    await peer.restore(copy.kv);
  }

  async #startServer(): Promise<void> {
    const kv = await Deno.openKv(`${this.#folder}/server-${this.#stores}.kv`);
    const server = await ServerScene.open({
      time: this.#time,
      kv,
      storeId: this.#storeId,
      limits: LIMITS,
    });
    const { desk } = server;
    if (desk === undefined) throw new Error("The server keeps no mailbox");
    const forward = desk.forward.bind(desk);
    const labelOf = (id: PeerId) => this.#peers.find((peer) => peer.id.equals(id))?.label;
    desk.forward = async (from, request, link) => {
      this.#noteKey(request.encryptedPayload);
      const { msgId, recipient, sequenceNumber } = request;
      const what = `${labelOf(from)} to ${labelOf(recipient)}: ${toHex(msgId).slice(-6)} as ` +
        `${sequenceNumber}`;
      this.#story.push(`server is given ${what}`);
      const ack = await forward(from, request, link);
      this.#story.push(`server answers ${what}: ${ack.rejectionReason ?? "accepted"}`);
      return ack;
    };
    this.#server = server;
  }

  /** As SIGKILL does: nothing is finished, links just end. */
  async #killServer(): Promise<void> {
    const server = this.#server;
    this.#server = undefined;
    if (server === undefined) return;
    server.commit.dieAfter(0);
    server.kv.close();
    for (const peer of this.#peers) await peer.disconnect();
    server.pairing.close();
    server.operator.close();
    await server.links.close();
    await server.desk?.close();
    await server.commit.close();
  }

  /** Everything that is under way gets as far as it can without time passing. */
  async #rest(): Promise<void> {
    for (let round = 0; round < 6; round++) {
      await turns();
      await this.#live.commit.flush();
      for (const peer of this.#peers) await peer.settle();
    }
  }

  #noteKey(body: Uint8Array): void {
    const name = keyNameOf(body);
    const hash = toHex(sha256(body));
    if ((this.#keys.get(name) ?? hash) !== hash) this.#keysUsedTwice.add(name);
    this.#keys.set(name, hash);
  }

  #count(event: string, whose = ""): void {
    this.#events[event] = (this.#events[event] ?? 0) + 1;
    this.#story.push(`== ${event} ${whose}`);
  }

  #anyone(): ProofPeer {
    return this.#peers[this.#dice.pick(this.#peers.length)]!;
  }

  get #live(): ServerScene {
    if (this.#server === undefined) throw new Error("The server is down");
    return this.#server;
  }
}
