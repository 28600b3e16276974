import { toHex, utf8 } from "../base/bytes.ts";
import type { CairnError } from "../base/errors.ts";
import { sha256 } from "../protocol/crypto/primitives.ts";
import { rankServers } from "../protocol/rendezvous/topics.ts";

/** Milliseconds that an initiator gives one signaling server before it tries the next as well. */
export const FALLBACK_DELAY = 2_000;

interface SignalingServer {
  readonly url: string;
  readonly connected: boolean;
}

/**
 * The clients in the order in which an initiator tries their servers for `topic`: by rendezvous
 * hashing, those that are not connected last.
 */
export function rankClients<Client extends SignalingServer>(
  clients: readonly Client[],
  topic: string,
): Client[] {
  const ranks = rankServers(
    [...new Set(clients.map(({ url }) => url))],
    topic,
    (text) => toHex(sha256(utf8(text))),
  );
  const ranked = clients.toSorted((a, b) => ranks.indexOf(a.url) - ranks.indexOf(b.url));
  return [
    ...ranked.filter(({ connected }) => connected),
    ...ranked.filter(({ connected }) => !connected),
  ];
}

/**
 * Why signaling may be what keeps peers apart: a server of it has refused, or none is connected. One
 * that was remembered and is gone is no reason while another works.
 */
export function signalingFailure(
  clients: readonly { readonly connected: boolean; readonly lastError: CairnError | undefined }[],
): CairnError | undefined {
  const errors = clients.flatMap(({ lastError }) => lastError ?? []);
  const works = clients.some(({ connected }) => connected);
  return errors.find(({ code }) => code === "refused") ?? (works ? undefined : errors[0]);
}

/**
 * Starts each attempt once those before have failed, or `delay` milliseconds after the last one.
 * Resolves with the first success.
 *
 * @throws {AggregateError} when all have failed.
 */
export async function inTurn<Result>(
  attempts: readonly (() => Promise<Result>)[],
  delay: number,
): Promise<Result> {
  const started: Promise<Result>[] = [];
  for (const attempt of attempts) {
    started.push(attempt());
    if (started.length === attempts.length) break;
    const first = Promise.any(started).then(() => true, () => false);
    if (await within(first, delay)) break;
  }
  return await Promise.any(started);
}

/** What `promise` resolves with, or `undefined` when that takes longer than `delay` milliseconds. */
function within<T>(promise: Promise<T>, delay: number): Promise<T | undefined> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => resolve(undefined), delay);
    promise.finally(() => clearTimeout(timer)).then(resolve, reject);
  });
}
