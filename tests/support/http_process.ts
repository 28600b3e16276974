/**
 * An HTTP server of `listen()` as a process: it prints its port, and ends with its standard input.
 * It answers `/wait` when somebody asks for another page. Arguments: its `checkInterval`, and for
 * TLS the paths of the certificate and its key.
 */

import type { ServerResponse } from "node:http";
import { listen } from "../../src/roles/http.ts";

// Deno ends when it has no file descriptor left to begin to listen for signals.
Deno.addSignalListener("SIGUSR2", () => {});
const [checkInterval, certPath, keyPath] = Deno.args;
const waiting: ServerResponse[] = [];
const listener = await listen({
  host: "127.0.0.1",
  port: 0,
  checkInterval: Number(checkInterval),
  ...(certPath && keyPath && { tls: { certPath, keyPath } }),
  onRequest(request, response) {
    if (request.url === "/wait") {
      response.write("wait");
      waiting.push(response);
    } else {
      for (const one of waiting) one.end(" no more");
      response.end("here");
    }
  },
});
await Deno.stdout.write(new TextEncoder().encode(`${listener.address.port}\n`));
for await (const _ of Deno.stdin.readable);
await listener.close();
