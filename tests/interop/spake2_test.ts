import { deepEqual, notDeepEqual } from "node:assert/strict";
import { fromHex, utf8 } from "../../src/base/bytes.ts";
import { systemHost } from "../../src/base/host.ts";
import { Spake2, type Spake2Side } from "../../src/protocol/crypto/spake2.ts";
import { pythonHas, PythonPeer } from "./python_peer.ts";

const AVAILABLE = pythonHas("spake2");
const NOTE = AVAILABLE ? "" : " (ignored: Debian package python3-spake2 is not installed)";
const ID_A = utf8("cairn-initiator");
const ID_B = utf8("cairn-responder");

for (const side of ["A", "B"] as const) {
  Deno.test({
    name: `Spake2 as side ${side} agrees on the key with python-spake2${NOTE}`,
    ignore: !AVAILABLE,
    async fn() {
      const { ours, theirs } = await exchange(side, "98AFXZ2A", "98AFXZ2A");
      deepEqual(ours, theirs);
    },
  });

  Deno.test({
    name: `Spake2 as side ${side} gets another key than python-spake2 with another password${NOTE}`,
    ignore: !AVAILABLE,
    async fn() {
      const { ours, theirs } = await exchange(side, "98AFXZ2A", "98AFXZ2B");
      notDeepEqual(ours, theirs);
    },
  });
}

async function exchange(side: Spake2Side, ourPassword: string, theirPassword: string) {
  const ours = Spake2.start(side, utf8(ourPassword), ID_A, ID_B, systemHost.random(64));
  const args = [utf8(theirPassword), ID_A, ID_B].map((bytes) => bytes.toHex());
  await using theirs = new PythonPeer("spake2_peer.py", [side === "A" ? "B" : "A", ...args]);
  const theirMessage = fromHex(await theirs.readLine());
  await theirs.write(ours.message.toHex());
  return { ours: ours.finish(theirMessage), theirs: fromHex(await theirs.readLine()) };
}
