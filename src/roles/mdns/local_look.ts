import type { PeerId } from "../../protocol/crypto/peer_id.ts";

/** Finds servers on the local network. What it says is a stranger's word: the link proves it. */
export interface LocalSearch {
  /**
   * Tells of addresses, of those of `server` alone where one is given: what is known at once, and
   * what comes until the function that is returned is called. The number of them is bounded.
   */
  look(server: PeerId | undefined, onUrl: (url: string) => void): () => void;
  /** Tells that `server` has come, or is at another place, whether or not anybody looks. */
  watch(server: PeerId, onNews: () => void): () => void;
  close(): Promise<void>;
}

/** Milliseconds that other ways have before the local network is asked. */
const OTHERS_FIRST = 1_000;
/** Milliseconds after which who is there has answered: three queries have left by then. */
const ANSWERS_WITHIN = 5_000;

export interface LocalLookOptions {
  /** Whom to look for; `undefined` for any server. */
  readonly server: PeerId | undefined;
  /** Nothing is said on the network while these may still succeed. */
  readonly hasOtherWays: boolean;
  readonly onUrl: (url: string) => void;
  /** Whoever is there has answered; others may still come. */
  readonly onOver?: () => void;
}

/** One look at the local network, which nobody need know of as long as other ways lead there. */
export class LocalLook implements Disposable {
  #timer: ReturnType<typeof setTimeout>;
  #end: () => void = () => {};
  #isOver = false;

  constructor(search: LocalSearch, options: LocalLookOptions) {
    const { server, hasOtherWays, onUrl, onOver } = options;
    const begin = () => {
      this.#end = search.look(server, onUrl);
      this.#timer = setTimeout(() => {
        this.#isOver = true;
        onOver?.();
      }, ANSWERS_WITHIN);
    };
    this.#timer = setTimeout(begin, hasOtherWays ? OTHERS_FIRST : 0);
  }

  /** Whether nobody is expected to answer any more. */
  get isOver(): boolean {
    return this.#isOver;
  }

  [Symbol.dispose](): void {
    clearTimeout(this.#timer);
    this.#end();
  }
}

/**
 * What `open` makes of the first address of `server` at which it succeeds.
 *
 * @throws {Error} as `open`, or an `AggregateError` without errors where no address was found.
 */
export function openLocally<T>(
  search: LocalSearch,
  options: { readonly server: PeerId; readonly signal: AbortSignal },
  open: (url: string) => Promise<T>,
): Promise<T> {
  const { server, signal } = options;
  const { promise, resolve, reject } = Promise.withResolvers<T>();
  const errors: unknown[] = [];
  let opening = 0;
  const giveUp = () => {
    if (opening === 0 && (look.isOver || signal.aborted)) reject(new AggregateError(errors));
  };
  const look = new LocalLook(search, {
    server,
    hasOtherWays: false,
    onUrl: (url) => {
      opening++;
      open(url).then(resolve, (error) => errors.push(error)).finally(() => {
        opening--;
        giveUp();
      });
    },
    onOver: giveUp,
  });
  signal.addEventListener("abort", giveUp);
  if (signal.aborted) giveUp();
  return promise.finally(() => {
    signal.removeEventListener("abort", giveUp);
    look[Symbol.dispose]();
  });
}
