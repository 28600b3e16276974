import { equalBytes } from "../../base/bytes.ts";
import type { PeerId } from "../../protocol/crypto/peer_id.ts";
import type { GroupCommit, KvOperation } from "../group_commit.ts";
import type { KvStore } from "../kv_store.ts";
import type { Wire } from "./outbox_entry.ts";
import type { StoreStep } from "./session_store.ts";

/** Where the numbering of one pair at one mailbox stands. */
export interface Route {
  readonly storeId: Uint8Array;
  /** Highest number ever given to a message, durable before the message leaves. */
  readonly highest: number;
}

/** A number, and the step by which it counts as given. */
export interface GivenNumber extends StoreStep {
  readonly sequence: number;
}

/**
 * Up to where the messages to each recipient are numbered at each mailbox.
 *
 * - `route / server / recipient`: a {@linkcode Route}
 */
export class MailboxRoutes {
  readonly #routes = new Map<string, Route>();

  private constructor(private readonly commit: GroupCommit) {}

  static async open(kv: KvStore, commit: GroupCommit): Promise<MailboxRoutes> {
    const routes = new MailboxRoutes(commit);
    for await (const { key, value } of kv.list<Route>({ prefix: ["route"] })) {
      routes.#routes.set(nameOf(String(key[1]), String(key[2])), value);
    }
    return routes;
  }

  get(server: PeerId | string, recipient: PeerId): Route | undefined {
    return this.#routes.get(nameOf(server, recipient));
  }

  /** Durable when it resolves. */
  async set(server: PeerId, recipient: PeerId, route: Route): Promise<void> {
    await this.commit.commit([setOp(server, recipient, route)]);
    this.#routes.set(nameOf(server, recipient), route);
  }

  /** The next number for `recipient` at the mailbox that `wire` is for. */
  next({ server, storeId }: Wire, recipient: PeerId): GivenNumber {
    const sequence = (this.get(server, recipient)?.highest ?? 0) + 1;
    const route: Route = { storeId, highest: sequence };
    return {
      sequence,
      operations: [setOp(server, recipient, route)],
      apply: () => this.#routes.set(nameOf(server, recipient), route),
    };
  }

  /**
   * Takes into account a number that was given before this process began: a crash may have come
   * between the correction of a count and of the numbers beyond it.
   */
  restore({ server, storeId, sequence }: Wire, recipient: PeerId): void {
    const route = this.get(server, recipient);
    if (!route || !equalBytes(route.storeId, storeId)) return;
    const highest = Math.max(route.highest, sequence);
    this.#routes.set(nameOf(server, recipient), { ...route, highest });
  }
}

function nameOf(server: PeerId | string, recipient: PeerId | string): string {
  return `${server} ${recipient}`;
}

function setOp(server: PeerId | string, recipient: PeerId, route: Route): KvOperation {
  return { type: "set", key: ["route", server.toString(), recipient.toString()], value: route };
}
