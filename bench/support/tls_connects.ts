import type { RunningServer } from "./signaling_servers.ts";

const encoder = new TextEncoder();

/**
 * One client that connects over TLS with a full handshake, becomes a WebSocket and leaves.
 * Returns false when it is not let in.
 */
export async function connectOverTls(
  { kind, port }: RunningServer,
  caCert: string,
  id: string,
): Promise<boolean> {
  const { path, headers } = kind.upgrade ?? { path: "/", headers: {} };
  using connection = await Deno.connectTls({ hostname: "localhost", port, caCerts: [caCert] });
  const lines = Object.entries({
    "Host": "localhost",
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    ...headers,
  }).map(([name, value]) => `${name}: ${value}\r\n`);
  await connection.write(
    encoder.encode(`GET ${path.replace("ID", id)} HTTP/1.1\r\n${lines.join("")}\r\n`),
  );
  const start = new Uint8Array(12);
  let length = 0;
  while (length < start.length) {
    const read = await connection.read(start.subarray(length));
    if (read === null) return false;
    length += read;
  }
  return new TextDecoder().decode(start).endsWith("101");
}
