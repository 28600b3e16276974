/**
 * Waits for `promise`, at most until `deadline` is aborted; the error then says what did not happen.
 */
export function within<T>(
  deadline: AbortSignal,
  promise: Promise<T>,
  describe: () => string,
): Promise<T> {
  return new Promise((resolve, reject) => {
    const late = () => reject(new Error(`Waited in vain for ${describe()}`));
    if (deadline.aborted) return late();
    deadline.addEventListener("abort", late);
    promise.then(resolve, reject).finally(() => deadline.removeEventListener("abort", late));
  });
}
