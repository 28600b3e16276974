import { deepEqual } from "node:assert/strict";
import { pythonHas, PythonPeer } from "./python_peer.ts";
import { startTurn } from "./turn_under_test.ts";

const AVAILABLE = pythonHas("aioice");
const NOTE = AVAILABLE ? "" : " (ignored: Debian package python3-aioice is not installed)";

for (const transport of ["UDP", "TCP", "TLS"] as const) {
  Deno.test({
    name: `two aioice agents reach each other through the relay over ${transport}${NOTE}`,
    ignore: !AVAILABLE,
    async fn() {
      await using turn = await startTurn();
      const isTls = transport === "TLS";
      await using peer = new PythonPeer("aioice_peer.py", [
        `${isTls ? turn.tlsPort : turn.port}`,
        ...["user", "pass"],
        transport === "UDP" ? "udp" : "tcp",
        isTls ? "tls" : "plain",
      ]);
      const lines = [await peer.readLine(), await peer.readLine(), await peer.readLine()];
      deepEqual(lines, ["ping", "pong", "closed"]);
    },
  });
}
