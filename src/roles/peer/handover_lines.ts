import { CairnError, type CairnErrorCode } from "../../base/errors.ts";
import { MAX_DATA_LENGTH } from "./outgoing.ts";
import type { PairingWay } from "./pairing_way.ts";

/** Bytes of a line: a message as base64 and what surrounds it. */
export const MAX_LINE = MAX_DATA_LENGTH * 2;

/** What a process asks of the one that owns the data folder. */
export interface HandoverRequest {
  readonly do: "id" | "list" | "send" | "pair" | "unpair";
  readonly peer?: string;
  readonly way?: PairingWay;
  readonly channel?: string;
  readonly data?: string;
}

/** An answer; some requests have several. */
export type HandoverAnswer =
  | { readonly ok: true; readonly value?: unknown }
  | { readonly ok: false; readonly code: CairnErrorCode | "unexpected"; readonly message: string };

/** The two processes are of different versions. */
export function unknownCommand(): CairnError {
  return new CairnError("invalid-option", "Unknown command; use one version of cairn for both");
}

/** Closes a connection that the other side may have closed already. */
export function closeQuietly(connection: Deno.UnixConn): void {
  try {
    connection.close();
  } catch {
    // It was closed by the other side already.
  }
}
