import { deepEqual } from "node:assert/strict";
import { utf8 } from "../../src/base/bytes.ts";
import { systemHost } from "../../src/base/host.ts";
import { x25519KeyPair } from "../../src/protocol/crypto/primitives.ts";
import { MAX_NOISE_MESSAGE, NoiseXxHandshake } from "../../src/protocol/link/noise_xx.ts";
import { pythonHas, PythonPeer } from "./python_peer.ts";

const AVAILABLE = pythonHas("dissononce");
const NOTE = AVAILABLE ? "" : " (ignored: Debian package python3-dissononce is not installed)";
const PROLOGUE = utf8("cairn-link/1");
const NONE = new Uint8Array(0);
/** Beyond 256, where a counter in the wrong byte order shows. */
const TRANSPORT_MESSAGES = 300;

for (const initiator of [true, false]) {
  const role = initiator ? "initiator" : "responder";
  Deno.test({
    name: `NoiseXxHandshake as ${role} links with dissononce and exchanges messages${NOTE}`,
    ignore: !AVAILABLE,
    async fn() {
      const ours = new NoiseXxHandshake({
        initiator,
        staticPair: freshPair(),
        ephemeralPair: freshPair(),
        prologue: PROLOGUE,
      });
      await using theirs = new PythonPeer("noise_peer.py", [
        initiator ? "responder" : "initiator",
        PROLOGUE.toHex(),
      ]);

      for (const [index, payload] of [NONE, utf8("second"), utf8("third")].entries()) {
        if ((index % 2 === 0) === initiator) {
          deepEqual(await theirs.ask("read", ours.writeMessage(payload)), payload);
        } else {
          deepEqual(ours.readMessage(await theirs.ask("write", payload)), payload);
        }
      }
      deepEqual(ours.remoteStatic, await theirs.ask("static"));
      const { send, receive, handshakeHash } = ours.finish();
      deepEqual(handshakeHash, await theirs.ask("hash"));

      for (let index = 0; index < TRANSPORT_MESSAGES; index++) {
        const text = utf8(`message ${index}`);
        deepEqual(await theirs.ask("decrypt", NONE, send.encrypt(NONE, text)), text);
        deepEqual(receive.decrypt(text, await theirs.ask("encrypt", text, text)), text);
      }
      const largest = new Uint8Array(MAX_NOISE_MESSAGE - 16).fill(0x5a);
      deepEqual(await theirs.ask("decrypt", NONE, send.encrypt(NONE, largest)), largest);
    },
  });
}

function freshPair() {
  return x25519KeyPair(systemHost.random(32));
}
