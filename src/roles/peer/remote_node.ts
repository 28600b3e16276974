import { toBase64 } from "../../base/bytes.ts";
import { CairnError } from "../../base/errors.ts";
import { PeerId } from "../../protocol/crypto/peer_id.ts";
import {
  closeQuietly,
  type HandoverAnswer,
  type HandoverRequest,
  MAX_LINE,
  unknownCommand,
} from "./handover_lines.ts";
import { socketPath } from "./handover_socket.ts";
import { LineReader, writeLine } from "./json_lines.ts";
import type { PairingWay } from "./pairing_way.ts";

/** A node in another process, reached through its Handover. */
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

  /** As {@linkcode Node.pair}; closing this node gives it up. */
  async pair(
    way: PairingWay,
    { onSas = () => {} }: { readonly onSas?: (sas: string) => void } = {},
  ): Promise<PeerId> {
    return await this.#inTurn(async () => {
      let said = await this.#exchange({ do: "pair", way });
      while (true) {
        if (typeof said !== "object" || said === null) throw unknownCommand();
        if ("peer" in said) return PeerId.from(String(said.peer));
        if ("sas" in said) onSas(String(said.sas));
        said = await answer(this.#lines);
      }
    });
  }

  async unpair(server: PeerId): Promise<boolean> {
    return await this.#ask({ do: "unpair", peer: server.toString() }) === true;
  }

  close(): Promise<void> {
    closeQuietly(this.#connection);
    return Promise.resolve();
  }

  #ask(request: HandoverRequest): Promise<unknown> {
    return this.#inTurn(() => this.#exchange(request));
  }

  #exchange(request: HandoverRequest): Promise<unknown> {
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
  request: HandoverRequest,
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
  const result: HandoverAnswer = JSON.parse(line);
  if (result.ok) return result.value;
  if (result.code === "unexpected") throw new Error(result.message);
  throw new CairnError(result.code, result.message);
}

function ownerEnded(cause?: unknown): CairnError {
  const message = "The process that owns the data folder ended; try again";
  return new CairnError("closed", message, { cause });
}
