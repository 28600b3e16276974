/**
 * Resolves when `isDone` holds, looking after each change that `subscribe` reports; rejects with
 * `timeoutError` after `timeout` milliseconds.
 */
export async function until(options: {
  readonly isDone: () => boolean;
  readonly subscribe: (look: () => void) => (() => void)[];
  readonly timeout: number;
  /** Rejects with its reason when aborted. */
  readonly signal: AbortSignal;
  readonly timeoutError: () => Error;
}): Promise<void> {
  const { isDone, subscribe, timeout, timeoutError, signal } = options;
  signal.throwIfAborted();
  if (isDone()) return;
  const done = Promise.withResolvers<void>();
  const unsubscribe = subscribe(() => {
    if (isDone()) done.resolve();
  });
  const abort = () => done.reject(signal.reason);
  signal.addEventListener("abort", abort);
  const timer = setTimeout(() => done.reject(timeoutError()), timeout);
  try {
    await done.promise;
  } finally {
    clearTimeout(timer);
    signal.removeEventListener("abort", abort);
    for (const remove of unsubscribe) remove();
  }
}
