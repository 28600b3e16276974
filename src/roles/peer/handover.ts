import { getLogger } from "@logtape/logtape";
import { fromBase64 } from "../../base/bytes.ts";
import { CairnError } from "../../base/errors.ts";
import { PeerId } from "../../protocol/crypto/peer_id.ts";
import {
  closeQuietly,
  type HandoverAnswer,
  type HandoverRequest,
  MAX_LINE,
  unknownCommand,
} from "./handover_lines.ts";
import { makeSocketPath } from "./handover_socket.ts";
import { LineReader, writeLine } from "./json_lines.ts";
import type { Node } from "./node.ts";
import type { PairingWay } from "./pairing_way.ts";

const log = getLogger(["cairn", "peer"]);

/** What a handover needs of the node that it hands commands to. */
export type CommandedNode = Pick<
  Node,
  "peerId" | "pairings" | "send" | "pair" | "unpair"
>;

/**
 * Lets other processes of the same user use a node whose data folder this process owns: requests
 * are JSON lines on a Unix socket in that folder, which only its owner can enter.
 */
export class Handover {
  readonly #listener: Deno.UnixListener;
  readonly #connections = new Set<Deno.UnixConn>();
  readonly #cleanUp: () => Promise<void>;

  private constructor(listener: Deno.UnixListener, cleanUp: () => Promise<void>) {
    this.#listener = listener;
    this.#cleanUp = cleanUp;
  }

  /**
   * Listens for the commands of other processes on behalf of `node`.
   *
   * @throws {CairnError} `data-folder-unusable` when no socket can be made.
   */
  static async open(storagePath: string, node: CommandedNode): Promise<Handover> {
    try {
      return await Handover.#listen(storagePath, node);
    } catch (cause) {
      throw new CairnError(
        "data-folder-unusable",
        `Cannot make a socket for other commands in "${storagePath}": ` +
          (cause instanceof Error ? cause.message : String(cause)),
        { cause },
      );
    }
  }

  static async #listen(storagePath: string, node: CommandedNode): Promise<Handover> {
    const { path, cleanUp } = await makeSocketPath(storagePath);
    const listener = Deno.listen({ transport: "unix", path });
    await Deno.chmod(path, 0o600);
    const handover = new Handover(listener, cleanUp);
    void handover.#accept(node);
    return handover;
  }

  async close(): Promise<void> {
    this.#listener.close();
    for (const connection of this.#connections) closeQuietly(connection);
    await this.#cleanUp();
  }

  async #accept(node: CommandedNode): Promise<void> {
    try {
      for await (const connection of this.#listener) {
        this.#connections.add(connection);
        void this.#serve(connection, node).finally(() => {
          this.#connections.delete(connection);
          closeQuietly(connection);
        });
      }
    } catch (error) {
      log.debug("The handover socket ended: {error}", { error });
    }
  }

  async #serve(connection: Deno.UnixConn, node: CommandedNode): Promise<void> {
    const lines = new LineReader(connection, MAX_LINE);
    try {
      for (let line = await lines.next(); line !== undefined;) {
        const hangUp = new AbortController();
        const next = lines.next();
        next.then((following) => following === undefined && hangUp.abort(), () => hangUp.abort());
        for await (const answer of answers(node, JSON.parse(line), hangUp.signal)) {
          await writeLine(connection, answer);
        }
        line = await next;
      }
    } catch (error) {
      log.debug("A handover ended: {error}", { error });
    }
  }
}

/** `hungUp` is aborted when nobody waits for the answers any more. */
async function* answers(
  node: CommandedNode,
  request: HandoverRequest,
  hungUp: AbortSignal,
): AsyncGenerator<HandoverAnswer> {
  try {
    switch (request.do) {
      case "id":
        return yield { ok: true, value: node.peerId.toString() };
      case "list":
        return yield {
          ok: true,
          value: node.pairings().map((pairing) => ({ ...pairing, peerId: `${pairing.peerId}` })),
        };
      case "send": {
        const data = fromBase64(request.data ?? "");
        const sent = await node.send(peerOf(request), request.channel ?? "", data);
        yield { ok: true, value: sent.id };
        await sent.accepted;
        return yield { ok: true };
      }
      case "pair":
        if (!request.way) throw unknownCommand();
        return yield* pair(node, request.way, hungUp);
      case "unpair":
        return yield { ok: true, value: await node.unpair(peerOf(request)) };
      default:
        throw unknownCommand();
    }
  } catch (error) {
    const code = error instanceof CairnError ? error.code : "unexpected";
    yield { ok: false, code, message: error instanceof Error ? error.message : String(error) };
  }
}

/** The digits to compare, as often as there are others, and then the Peer ID. */
async function* pair(
  node: CommandedNode,
  way: PairingWay,
  signal: AbortSignal,
): AsyncGenerator<HandoverAnswer> {
  const digits: string[] = [];
  let said = Promise.withResolvers<void>();
  const pairing = node.pair(way, {
    signal,
    onSas: (sas) => {
      digits.push(sas);
      said.resolve();
    },
  });
  const isOver = pairing.then(() => true, () => true);
  while (!await Promise.race([isOver, said.promise])) {
    said = Promise.withResolvers();
    for (const sas of digits.splice(0)) yield { ok: true, value: { sas } };
  }
  yield { ok: true, value: { peer: (await pairing).toString() } };
}

function peerOf(request: HandoverRequest): PeerId {
  const peerId = PeerId.parse(request.peer ?? "");
  if (!peerId) throw new CairnError("invalid-option", "Not a Peer ID");
  return peerId;
}
