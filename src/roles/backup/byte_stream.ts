import { getLogger } from "@logtape/logtape";

const log = getLogger(["cairn", "backup"]);

/**
 * A stream of what a generator yields, at the pace of whoever reads. A reader that takes nothing for
 * `stallMs` is given up, so that what is held open for it is freed. `onEnd` is called once.
 */
export function byteStream(
  bytes: AsyncGenerator<Uint8Array, void>,
  { stallMs, onEnd }: { readonly stallMs: number; onEnd(): void },
): ReadableStream<Uint8Array> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  let ending: Promise<void> | undefined;
  const end = () => ending ??= free();
  const free = async () => {
    clearTimeout(timer);
    try {
      await bytes.return();
    } catch (error) {
      log.debug("What was read could not be closed: {error}", { error });
    } finally {
      onEnd();
    }
  };
  return new ReadableStream({
    async pull(controller) {
      clearTimeout(timer);
      try {
        const { done, value } = await bytes.next();
        if (done) {
          controller.close();
          return await end();
        }
        controller.enqueue(value);
        timer = setTimeout(() => {
          controller.error(new Error("Nobody takes what is sent"));
          void end();
        }, stallMs);
      } catch (error) {
        log.error("A stream ended before it was complete: {error}", { error });
        controller.error(error);
        await end();
      }
    },
    cancel: end,
  }, { highWaterMark: 0 });
}
