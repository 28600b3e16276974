/** Sends a datagram to itself as paths do, after FFI was given up, and prints by which engine. */

import { Endpoint } from "../../src/base/endpoint.ts";
import { loadPathBatches, openPathSockets } from "../../src/roles/path/path_sockets.ts";

loadPathBatches();
Deno.permissions.revokeSync({ name: "ffi" });
const arrived = Promise.withResolvers<number>();
await using sockets = openPathSockets();
const socket = sockets.open({
  hostname: "127.0.0.1",
  port: 0,
  inFlight: 1,
  kernelBuffer: 65_536,
  onDatagram: (buffer, offset) => arrived.resolve(buffer[offset]!),
  onDrop: () => arrived.reject(new Error("It was dropped")),
  onLost: arrived.reject,
});
await socket.send(Uint8Array.of(7), 0, 1, new Endpoint(Uint8Array.of(127, 0, 0, 1), socket.port));
const first = await arrived.promise;
socket.close();
// deno-lint-ignore no-console -- its parent reads it.
console.log(`${sockets.engine} ${first}`);
