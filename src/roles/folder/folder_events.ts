import type { PeerId } from "../../protocol/crypto/peer_id.ts";

/** What happens to a synced folder, for whoever watches. */
export type FolderEvent =
  /** The sync began. */
  | { readonly event: "started"; readonly files: number }
  /** A device shares the folder. */
  | { readonly event: "joined"; readonly peer: PeerId; readonly name: string }
  /** A file is here as another device has it; `size` in bytes. */
  | { readonly event: "received"; readonly path: string; readonly size: number }
  /** A file was deleted, as another device deleted it. */
  | { readonly event: "deleted"; readonly path: string }
  /** This device's file was changed, added or deleted, which others are told. */
  | { readonly event: "changed"; readonly path: string; readonly deleted: boolean }
  /** Two devices changed a file: one of them is at `path`. */
  | { readonly event: "conflict"; readonly path: string }
  /** What is not synced, and why. */
  | { readonly event: "skipped"; readonly path: string; readonly reason: string }
  /** The index is full: so many files at least are not synced. */
  | { readonly event: "full"; readonly files: number }
  /** Rows of a device's message were no records, requests or pieces, and are left out. */
  | {
    readonly event: "unsound";
    readonly peer: PeerId;
    readonly name: string;
    readonly rows: number;
  }
  /** What is still missing. */
  | { readonly event: "fetching"; readonly files: number; readonly bytes: number }
  /** The mailbox has no room for more for that device; it fetches the rest when both are there. */
  | { readonly event: "waits"; readonly peer: PeerId; readonly name: string }
  /** Nothing is missing here, and those devices have everything. */
  | { readonly event: "up-to-date"; readonly files: number; readonly names: readonly string[] };
