import { relative } from "node:path";
import { getLogger } from "@logtape/logtape";
import { OWN_PREFIX } from "../../protocol/folder/folder_path.ts";

const log = getLogger(["cairn", "folder"]);

/** Paths that wait for a look; with more, the whole folder is looked at. */
const MAX_PATHS = 64;

/** What is to be looked at in a folder: what the system tells of, and what anybody adds. */
export class FolderWatch {
  readonly #root: string;
  readonly #paths = new Set<string>();
  #watcher: Deno.FsWatcher | undefined;

  constructor(root: string) {
    this.#root = root;
  }

  /** Listens to the system. Where it tells nothing, only the looks at intervals find changes. */
  start(): void {
    try {
      this.#watcher = Deno.watchFs(this.#root, { recursive: true });
    } catch (error) {
      log.warn("Changes are found at intervals only, the system cannot tell of them: {error}", {
        error,
      });
      return;
    }
    this.#listen(this.#watcher).catch((error) => {
      log.warn("The system tells of no more changes: {error}", { error });
      this.add("");
    });
  }

  get isEmpty(): boolean {
    return this.#paths.size === 0;
  }

  /** A path is to be looked at, with all below; `""` is everything. */
  add(path: string): void {
    if (this.#paths.has("")) return;
    const isAll = path === "" || this.#paths.size >= MAX_PATHS;
    if (isAll) this.#paths.clear();
    this.#paths.add(isAll ? "" : path);
  }

  /** What is to be looked at; it does not wait any more. */
  take(): string[] {
    const paths = [...this.#paths];
    this.#paths.clear();
    return paths;
  }

  close(): void {
    this.#watcher?.close();
  }

  async #listen(watcher: Deno.FsWatcher): Promise<void> {
    for await (const { kind, paths } of watcher) {
      if (kind === "access") continue;
      if (paths.length === 0) this.add("");
      for (const path of paths) {
        const inside = relative(this.#root, path).replaceAll("\\", "/");
        const isOwn = inside.split("/").some((name) => name.startsWith(OWN_PREFIX));
        if (!isOwn && !inside.startsWith("../")) this.add(inside);
      }
    }
  }
}
