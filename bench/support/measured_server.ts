// deno-lint-ignore-file no-console -- a child process speaks to its parent on standard output.
/** An always-on server in a process of its own, for scripts that measure what goes through it. */

import { createServer, PeerId, type ServerOptions } from "../../src/mod.ts";
import { cpuMs } from "../measured_times.ts";

/** The key by which peers pair with it. */
export const PSK = "a key for this measurement only";

/** A running server. */
export interface MeasuredServer extends AsyncDisposable {
  readonly url: string;
  readonly peerId: PeerId;
  /** CPU time that it has used, milliseconds. */
  cpuMs(): Promise<number>;
}

/** Starts it; `options` beside its folder, its address and its key. */
export async function startMeasuredServer(
  storagePath: string,
  options: Partial<ServerOptions> = {},
): Promise<MeasuredServer> {
  const child = new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", import.meta.url, storagePath, JSON.stringify(options)],
    stdin: "piped",
    stdout: "piped",
  }).spawn();
  const input = child.stdin.getWriter();
  const output = child.stdout.pipeThrough(new TextDecoderStream()).getReader();
  const line = async () => (await output.read()).value?.trim() ?? "";
  const [port, id] = (await line()).split(" ");
  const peerId = PeerId.parse(id ?? "");
  if (!peerId) throw new Error("The server did not start");
  return {
    url: `ws://127.0.0.1:${port}`,
    peerId,
    async cpuMs() {
      await input.write(Uint8Array.of(10));
      return Number(await line());
    },
    async [Symbol.asyncDispose]() {
      await input.close();
      await child.status;
    },
  };
}

/** The child: says where and who it is, and ends with its standard input. */
async function serve(storagePath: string, options: Partial<ServerOptions>): Promise<void> {
  const server = createServer({
    storagePath,
    listenAddr: "127.0.0.1:0",
    management: { enabled: false },
    psk: PSK,
    ...options,
  });
  await server.start();
  console.log(`${server.addresses.links.port} ${server.peerId}`);
  for await (const line of Deno.stdin.readable) if (line.length > 0) console.log(cpuMs());
  await server.close();
}

if (import.meta.main) await serve(Deno.args[0] ?? "", JSON.parse(Deno.args[1] ?? "{}"));
