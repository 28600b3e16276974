import { getLogger } from "@logtape/logtape";
import { equalBytes } from "../base/bytes.ts";
import { CairnError } from "../base/errors.ts";
import type { Host } from "../base/host.ts";

const log = getLogger(["cairn", "data-folder"]);

const LEASE_KEY = ["cairn", "lease"];
const FENCE_KEY = ["cairn", "fence"];
const RENEW_EVERY = 5_000;
/** An owner that has not renewed its lease for so long is gone. */
const LEASE_TIME = 20_000;
const LOOK_EVERY = 1_000;

interface LeaseRecord {
  readonly owner: Uint8Array;
  readonly renewals: number;
}

export interface LeaseOptions {
  /** 16 bytes; another one at each start. */
  readonly owner: Uint8Array;
  /** An owner that is known to be gone, so that nobody needs to wait for its end. */
  readonly formerOwner: Uint8Array | undefined;
  readonly host: Host;
  /** Names the store in messages. */
  readonly store: string;
}

/**
 * The right of one process to a store that several machines can reach. Every change checks the
 * fence that the owner set up when it came: once another one has come, no change of the former
 * owner is made any more, however late it notices. Whether an owner still lives shows in its
 * renewals and not in its clock.
 */
export class StoreLease {
  /** A condition for every commit. */
  readonly fence: Deno.AtomicCheck;
  /** Rejects when another process has the store. */
  readonly lost: Promise<never>;
  readonly #kv: Deno.Kv;
  readonly #options: LeaseOptions;
  readonly #timer: ReturnType<typeof setInterval>;
  readonly #lose: (error: CairnError) => void;
  #renewals = 0;
  #isRenewing = false;
  #saidUnreachable = false;

  private constructor(kv: Deno.Kv, options: LeaseOptions, versionstamp: string) {
    this.#kv = kv;
    this.#options = options;
    this.fence = { key: FENCE_KEY, versionstamp };
    const { promise, reject } = Promise.withResolvers<never>();
    // Whoever needs to know waits for it; nobody has to.
    promise.catch(() => {});
    this.lost = promise;
    this.#lose = reject;
    this.#timer = setInterval(() => void this.#renew(), RENEW_EVERY);
  }

  /** @throws {CairnError} `data-folder-in-use` while another process renews its lease. */
  static async take(kv: Deno.Kv, options: LeaseOptions): Promise<StoreLease> {
    const { owner, formerOwner, store } = options;
    const found = await kv.get<LeaseRecord>(LEASE_KEY);
    const isOurs = formerOwner !== undefined && found.value !== null &&
      equalBytes(found.value.owner, formerOwner);
    if (found.value !== null && !isOurs) await untilGone(kv, found.versionstamp, options);
    const taken = await kv.atomic()
      .check({ key: LEASE_KEY, versionstamp: found.versionstamp })
      .set(LEASE_KEY, { owner, renewals: 0 } satisfies LeaseRecord)
      .set(FENCE_KEY, owner)
      .commit();
    if (!taken.ok) throw inUse(store);
    return new StoreLease(kv, options, taken.versionstamp);
  }

  /** Lets another process have the store at once. */
  async release(): Promise<void> {
    clearInterval(this.#timer);
    await this.#kv.atomic().check(this.fence).delete(LEASE_KEY).commit();
  }

  /** For when there is nothing to give back. */
  abandon(): void {
    clearInterval(this.#timer);
  }

  async #renew(): Promise<void> {
    const { owner, store } = this.#options;
    // Deno tries again and again by itself; another try beside it would only pile up.
    if (this.#isRenewing) return this.#sayUnreachable();
    this.#isRenewing = true;
    try {
      const renewed = await this.#kv.atomic()
        .check(this.fence)
        .set(LEASE_KEY, { owner, renewals: ++this.#renewals } satisfies LeaseRecord)
        .commit();
      if (renewed.ok) return this.#sayReached();
    } catch (error) {
      log.debug("A lease was not renewed: {error}", { error });
      return this.#sayUnreachable();
    } finally {
      this.#isRenewing = false;
    }
    clearInterval(this.#timer);
    this.#lose(
      new CairnError(
        "data-folder-in-use",
        `Another cairn server has taken over the store ${store}; this one ends`,
      ),
    );
  }

  #sayUnreachable(): void {
    if (this.#saidUnreachable) return;
    this.#saidUnreachable = true;
    log.warn("The store {store} cannot be reached: nothing is accepted until it can", {
      store: this.#options.store,
    });
  }

  #sayReached(): void {
    if (!this.#saidUnreachable) return;
    this.#saidUnreachable = false;
    log.info("The store {store} is reached again", { store: this.#options.store });
  }
}

/** Waits until an owner has let its lease run out. */
async function untilGone(
  kv: Deno.Kv,
  versionstamp: string,
  { host, store }: LeaseOptions,
): Promise<void> {
  log.info("Waiting whether another cairn server still uses {store}", { store });
  const start = host.monotonic();
  while (host.monotonic() - start < LEASE_TIME) {
    await new Promise((resolve) => setTimeout(resolve, LOOK_EVERY));
    const { versionstamp: present } = await kv.get(LEASE_KEY);
    if (present !== versionstamp) throw inUse(store);
  }
}

function inUse(store: string): CairnError {
  return new CairnError(
    "data-folder-in-use",
    `The store ${store} is in use by another cairn server: stop that one or name another store`,
  );
}
