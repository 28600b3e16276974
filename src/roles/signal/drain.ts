/** Service Restart, from the registry of close codes that RFC 6455 (section 11.7) began. */
const SERVICE_RESTART = 1012;
const STEP = 50;
/** Few clients need no long goodbye: the spread is for those who would all come back at once. */
const PER_CLIENT = 10;

interface Closable {
  close(code: number, reason: string): void;
}

/**
 * Closes `sockets` evenly over `time` milliseconds, sooner if they are few, so that they do not all
 * reach another server in the same moment.
 */
export async function drain(sockets: readonly Closable[], time: number): Promise<void> {
  const steps = Math.max(1, Math.ceil(Math.min(time, sockets.length * PER_CLIENT) / STEP));
  const perStep = Math.ceil(sockets.length / steps);
  for (let start = 0; start < sockets.length; start += perStep) {
    if (start > 0) await new Promise((resolve) => setTimeout(resolve, STEP));
    for (const socket of sockets.slice(start, start + perStep)) {
      socket.close(SERVICE_RESTART, "the server restarts");
    }
  }
}
