import { getLogger } from "@logtape/logtape";
import { fromBase64, toBase64 } from "../../base/bytes.ts";
import { CairnError, type CairnErrorCode } from "../../base/errors.ts";
import { PeerId } from "../../protocol/crypto/peer_id.ts";
import { makeSocketPath, socketPath } from "./handover_socket.ts";
import { LineReader, writeLine } from "./json_lines.ts";
import { MAX_DATA_LENGTH, type Node } from "./node.ts";

const log = getLogger(["cairn", "peer"]);

/** What a handover needs of the node that it hands commands to. */
export type CommandedNode = Pick<
  Node,
  "peerId" | "pairings" | "send" | "pairWithPsk" | "pairApproved" | "unpair"
>;

const MAX_LINE = MAX_DATA_LENGTH * 2;

interface Request {
  readonly do: "id" | "list" | "send" | "pair-psk" | "pair-approved" | "unpair";
  readonly peer?: string;
  readonly psk?: string;
  readonly channel?: string;
  readonly data?: string;
}

type Answer =
  | { readonly ok: true; readonly value?: unknown }
  | { readonly ok: false; readonly code: CairnErrorCode | "unexpected"; readonly message: string };

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
      for (let line = await lines.next(); line !== undefined; line = await lines.next()) {
        for await (const answer of answers(node, JSON.parse(line))) {
          await writeLine(connection, answer);
        }
      }
    } catch (error) {
      log.debug("A handover ended: {error}", { error });
    }
  }
}

async function* answers(node: CommandedNode, request: Request): AsyncGenerator<Answer> {
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
      case "pair-psk":
        await node.pairWithPsk(request.psk ?? "", peerOf(request));
        return yield { ok: true };
      case "pair-approved":
        await node.pairApproved(peerOf(request));
        return yield { ok: true };
      case "unpair":
        await node.unpair(peerOf(request));
        return yield { ok: true };
      default:
        throw new CairnError(
          "invalid-option",
          "Unknown command; use one version of cairn for both",
        );
    }
  } catch (error) {
    const code = error instanceof CairnError ? error.code : "unexpected";
    yield { ok: false, code, message: error instanceof Error ? error.message : String(error) };
  }
}

function peerOf(request: Request): PeerId {
  const peerId = PeerId.parse(request.peer ?? "");
  if (!peerId) throw new CairnError("invalid-option", "Not a Peer ID");
  return peerId;
}

/** A node in another process, reached through its {@linkcode Handover}. */
export class RemoteNode {
  readonly peerId: PeerId;
  readonly #connection: Deno.UnixConn;
  readonly #lines: LineReader;
  #turn: Promise<unknown> = Promise.resolve();

  private constructor(connection: Deno.UnixConn, lines: LineReader, peerId: PeerId) {
    this.#connection = connection;
    this.#lines = lines;
    this.peerId = peerId;
  }

  /** Connects to the process that owns `storagePath`; `undefined` when it takes no commands. */
  static async connect(storagePath: string): Promise<RemoteNode | undefined> {
    let connection: Deno.UnixConn;
    try {
      connection = await Deno.connect({ transport: "unix", path: await socketPath(storagePath) });
    } catch {
      return undefined;
    }
    const lines = new LineReader(connection, MAX_LINE);
    try {
      const peerId = PeerId.parse(String(await exchange(connection, lines, { do: "id" })));
      if (peerId) return new RemoteNode(connection, lines, peerId);
    } catch (error) {
      closeQuietly(connection);
      throw error;
    }
    closeQuietly(connection);
    return undefined;
  }

  async pairings(): Promise<
    { peerId: PeerId; mechanism: string; pairedAt: number; connected: boolean }[]
  > {
    const listed = await this.#ask({ do: "list" });
    if (!Array.isArray(listed)) return [];
    return listed.flatMap((entry) => {
      const peerId = PeerId.parse(String(entry.peerId));
      return peerId ? [{ ...entry, peerId }] : [];
    });
  }

  async send(
    recipient: PeerId,
    channel: string,
    data: Uint8Array,
  ): Promise<{ id: string; accepted: Promise<void> }> {
    const peer = recipient.toString();
    const queued = Promise.withResolvers<string>();
    const accepted = this.#inTurn(async () => {
      queued.resolve(
        String(await this.#exchange({ do: "send", peer, channel, data: toBase64(data) })),
      );
      await answer(this.#lines);
    });
    accepted.catch(queued.reject);
    return { id: await queued.promise, accepted };
  }

  async pairWithPsk(psk: string, server: PeerId): Promise<PeerId> {
    await this.#ask({ do: "pair-psk", psk, peer: server.toString() });
    return server;
  }

  async pairApproved(server: PeerId): Promise<PeerId> {
    await this.#ask({ do: "pair-approved", peer: server.toString() });
    return server;
  }

  async unpair(server: PeerId): Promise<void> {
    await this.#ask({ do: "unpair", peer: server.toString() });
  }

  close(): Promise<void> {
    closeQuietly(this.#connection);
    return Promise.resolve();
  }

  #ask(request: Request): Promise<unknown> {
    return this.#inTurn(() => this.#exchange(request));
  }

  #exchange(request: Request): Promise<unknown> {
    return exchange(this.#connection, this.#lines, request);
  }

  /** One command at a time: answers say nothing of what they answer. */
  #inTurn<T>(command: () => Promise<T>): Promise<T> {
    const result = this.#turn.then(command);
    this.#turn = result.catch(() => {});
    return result;
  }
}

async function exchange(
  connection: Deno.UnixConn,
  lines: LineReader,
  request: Request,
): Promise<unknown> {
  await writeLine(connection, request).catch((cause) => {
    throw ownerEnded(cause);
  });
  return await answer(lines);
}

async function answer(lines: LineReader): Promise<unknown> {
  const line = await lines.next().catch((cause) => {
    throw ownerEnded(cause);
  });
  if (line === undefined) throw ownerEnded();
  const result: Answer = JSON.parse(line);
  if (result.ok) return result.value;
  if (result.code === "unexpected") throw new Error(result.message);
  throw new CairnError(result.code, result.message);
}

function ownerEnded(cause?: unknown): CairnError {
  const message = "The process that owns the data folder ended; try again";
  return new CairnError("closed", message, { cause });
}

function closeQuietly(connection: Deno.UnixConn): void {
  try {
    connection.close();
  } catch {
    // It was closed by the other side already.
  }
}
