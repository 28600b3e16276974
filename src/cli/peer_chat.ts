/** `cairn peer chat`: a conversation on the terminal, or in a pipe. */

import { createInterface, type Interface } from "node:readline";
import process from "node:process";
import { utf8 } from "../base/bytes.ts";
import { CairnError } from "../base/errors.ts";
import type { PeerId } from "../protocol/crypto/peer_id.ts";
import { Handover } from "../roles/peer/handover.ts";
import type { Node } from "../roles/peer/node.ts";
import type { ReceivedMessage, RosterMember } from "../roles/peer/node_api.ts";
import { peerDataDir } from "./data_dir.ts";
import { jsonLine, readableLine, readableText } from "./message_line.ts";
import { OPTIONS } from "./options.ts";
import { withOwnNode } from "./peer_access.ts";
import { parsePeerArgument } from "./peer_argument.ts";
import type { ProcessLife } from "./process_life.ts";
import { ProgramChannels } from "./program_channels.ts";
import type { Settings } from "./settings.ts";
import { escapeControls, printLine } from "./standard_output.ts";

/** How long the end of the input waits for messages that nobody has accepted yet. */
const ACCEPTED_WITHIN_MS = 30_000;
const QUOTED_LENGTH = 40;

/** Sends each line of standard input and prints what happens, until the input or a signal ends it. */
export async function peerChat(settings: Settings, peer: string): Promise<number> {
  const partner = parsePeerArgument(peer);
  return await withOwnNode(settings, { receive: true }, async (node, life) => {
    if (node.pairings().length === 0) {
      throw new CairnError(
        "not-paired",
        "This peer is not paired with any server yet; pair it first (cairn peer pair)",
      );
    }
    await node.addContact(partner);
    const handover = await Handover.open(peerDataDir(settings), node);
    const chat = new Chat(node, partner, {
      channel: settings.value(OPTIONS.channel),
      json: settings.value(OPTIONS.json),
    });
    try {
      await node.start();
      return await chat.run(life);
    } finally {
      await handover.close();
    }
  });
}

class Chat {
  readonly #node: Node;
  readonly #partner: PeerId;
  readonly #options: { readonly channel: string; readonly json: boolean };
  /** What was said and has no receipt, by message id. */
  readonly #said = new Map<string, string>();
  readonly #waiting = new Set<Promise<void>>();
  #printing: Promise<void> = Promise.resolve();
  readonly #broken = Promise.withResolvers<never>();

  constructor(node: Node, partner: PeerId, options: { channel: string; json: boolean }) {
    this.#node = node;
    this.#partner = partner;
    this.#options = options;
    this.#broken.promise.catch(() => {}); // It may fail before anybody waits for it.
    const programs = new ProgramChannels();
    // What was not printed must not be acknowledged.
    node.on("message", async (message) => {
      if (!programs.drops(message)) await this.#print(this.#messageLine(message));
    });
    node.on("roster", (member) => this.#onRoster(member));
    node.on("delivered", ({ id }) => this.#onDelivered(id));
    node.on("refused", ({ id, error, dropped }) => this.#onRefused(id, error, dropped));
  }

  async run(life: ProcessLife): Promise<number> {
    const lines = createInterface({ input: process.stdin, terminal: false });
    let interrupted = false;
    const stop = () => lines.close();
    void life.endRequested.then(() => {
      interrupted = true;
      stop();
    });
    try {
      await Promise.race([this.#sayAll(lines), life.endRequested, this.#broken.promise]);
      const rest = Promise.allSettled(this.#waiting).then(() => {});
      await Promise.race([rest, after(ACCEPTED_WITHIN_MS), life.endRequested]);
      const left = this.#waiting.size;
      if (interrupted && left > 0) this.#tell({ event: "waiting", messages: left }, leftOver(left));
      await this.#printing;
    } finally {
      stop();
      process.stdin.destroy();
    }
    if (this.#waiting.size === 0 || interrupted) return 0;
    throw new CairnError("timeout", leftOver(this.#waiting.size));
  }

  async #sayAll(lines: Interface): Promise<void> {
    for await (const line of lines) if (line !== "") await this.#say(line);
  }

  async #say(text: string): Promise<void> {
    const { channel } = this.#options;
    try {
      const sent = await this.#node.send(this.#partner, channel, utf8(text));
      this.#said.set(sent.id, text);
      const accepted = sent.accepted.catch(() => {}).finally(() => this.#waiting.delete(accepted));
      this.#waiting.add(accepted);
    } catch (error) {
      if (!(error instanceof CairnError)) throw error;
      this.#tell({ event: "refused", text, error: error.message }, `not sent: ${error.message}`);
    }
  }

  #messageLine(message: ReceivedMessage): string {
    if (this.#options.json) return jsonLine(message, { event: "message" });
    const ours = message.from.equals(this.#partner) && message.channel === this.#options.channel;
    if (!ours) return readableLine(message);
    return escapeControls(`${this.#name()}: ${readableText(message.data)}`);
  }

  #onRoster({ peerId, online }: RosterMember): void {
    if (!peerId.equals(this.#partner)) return;
    const event = { event: "presence", "peer_id": peerId, online };
    this.#tell(event, `${this.#name()} is ${online ? "online" : "away"}`);
  }

  #onDelivered(id: string): void {
    const text = this.#said.get(id);
    if (!this.#said.delete(id)) return;
    this.#tell({ event: "delivered", id }, `delivered: ${quoted(text)}`);
  }

  #onRefused(id: string, error: CairnError, dropped: boolean): void {
    const text = this.#said.get(id);
    if (text === undefined) return;
    if (dropped) this.#said.delete(id);
    this.#tell(
      { event: "refused", id, error: error.message },
      `${dropped ? "not delivered" : "waits"}: ${quoted(text)} (${error.message})`,
    );
  }

  #tell(event: Record<string, unknown>, sentence: string): void {
    const line = this.#options.json ? JSON.stringify(event) : `* ${sentence}`;
    this.#print(escapeControls(line)).catch(() => {});
  }

  /** One line after the other; a standard output that is gone ends the chat. */
  #print(line: string): Promise<void> {
    const printed = this.#printing.then(() => printLine(line));
    this.#printing = printed.catch((error) => this.#broken.reject(error));
    return printed;
  }

  #name(): string {
    const { name } = this.#node.rosterMember(this.#partner);
    return name ?? `${this.#partner.toString().slice(0, 8)}…`;
  }
}

function leftOver(messages: number): string {
  return `not accepted yet: ${messages} of the messages, which stay in the outbox and go out at the ` +
    "next cairn peer send, listen or chat";
}

function quoted(text = ""): string {
  return text.length > QUOTED_LENGTH ? `${text.slice(0, QUOTED_LENGTH)}…` : text;
}

function after(milliseconds: number): Promise<void> {
  return new Promise((resolve) => {
    Deno.unrefTimer(setTimeout(resolve, milliseconds));
  });
}
