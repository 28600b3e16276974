/**
 * Resolves when `isDone` holds, looking after each change that `subscribe` reports; rejects with
 * `timeoutError` after `timeout` milliseconds.
 */
export async function until(options: {
  readonly isDone: () => boolean;
  readonly subscribe: (look: () => void) => (() => void)[];
  readonly timeout: number;
  readonly timeoutError: () => Error;
}): Promise<void> {
  const { isDone, subscribe, timeout, timeoutError } = options;
  if (isDone()) return;
  const done = Promise.withResolvers<void>();
  const unsubscribe = subscribe(() => {
    if (isDone()) done.resolve();
  });
  const timer = setTimeout(() => done.reject(timeoutError()), timeout);
  try {
    await done.promise;
  } finally {
    clearTimeout(timer);
    for (const remove of unsubscribe) remove();
  }
}
