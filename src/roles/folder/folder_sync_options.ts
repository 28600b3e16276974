import type { Host } from "../../base/host.ts";
import type { PeerId } from "../../protocol/crypto/peer_id.ts";
import type { FolderLimits } from "../../protocol/folder/folder_index.ts";
import type { FolderEvent } from "./folder_events.ts";
import type { FolderNode } from "./folder_talk.ts";

/** Settings of the sync of a folder. */
export interface FolderSyncOptions {
  readonly node: FolderNode;
  /** The folder, an absolute path; it is made when it is not there. */
  readonly directory: string;
  /** Where the index is kept: a file outside of the folder. */
  readonly storePath: string;
  /** What devices have to have in common to share the folder, at most 64 bytes. */
  readonly name: string;
  /** What this device calls itself in the names of conflicts; see `deviceLabel`. */
  readonly label: string;
  /** Only these devices may share the folder; without it, every peer of the roster. */
  readonly only?: readonly PeerId[];
  /** Most bytes that may wait in the mailbox for one device that is away. */
  readonly pushLimit: number;
  /** How often the whole folder is looked at, in milliseconds. */
  readonly rescanEvery: number;
  readonly onEvent: (event: FolderEvent) => void;
  readonly host?: Host;
  /** Bounds of the index; by default those of every device. */
  readonly limits?: FolderLimits;
}
