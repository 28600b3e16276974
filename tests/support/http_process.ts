/**
 * An HTTP server of `listen()` as a process: it prints its port, and ends with its standard input.
 * It answers `/wait` when somebody asks for another page. Arguments: its `checkInterval`, how many
 * listeners share the port, and for TLS the paths of the certificate and its key.
 */

import type { ServerResponse } from "node:http";
import { listen } from "../../src/roles/http.ts";

// Deno ends when it has no file descriptor left to begin to listen for signals.
Deno.addSignalListener("SIGUSR2", () => {});
const [checkInterval, listeners, certPath, keyPath] = Deno.args;
const waiting: ServerResponse[] = [];
const open = (port: number) =>
  listen({
    host: "127.0.0.1",
    port,
    checkInterval: Number(checkInterval),
    isShared: Number(listeners) > 1,
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
const first = await open(0);
const { port } = first.address;
const others = await Promise.all(
  Array.from({ length: Number(listeners) - 1 }, () => open(port)),
);
await Deno.stdout.write(new TextEncoder().encode(`${port}\n`));
for await (const _ of Deno.stdin.readable);
await Promise.all([first, ...others].map((listener) => listener.close()));
