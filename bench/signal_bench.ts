/** One relayed frame of 200 bytes through the rules of the signaling server, sockets left out. */

import {
  decodeSignalFrame,
  encodeSignalFrame,
  type SignalFrame,
} from "../src/protocol/signal/signal_frame.ts";
import { TopicRouter } from "../src/protocol/signal/topic_router.ts";

/** Stands for a socket; takes what it is given. */
class Listener {
  last: Uint8Array | undefined;

  send(frame: Uint8Array): void {
    this.last = frame;
  }
}

const TOPIC = "a".repeat(43);
const frame: SignalFrame = { kind: "Relay", topic: TOPIC, payload: new Uint8Array(200).fill(1) };
const bytes = encodeSignalFrame(frame);

Deno.bench("decode", { group: "one frame", baseline: true }, () => {
  decodeSignalFrame(bytes);
});
Deno.bench("encode", { group: "one frame" }, () => {
  encodeSignalFrame(frame);
});

for (const listeners of [1, 10, 100]) {
  const group = `decode, route, hand over to ${listeners}`;
  const sender = new Listener();
  const router = new TopicRouter<Listener>({ topicsPerListener: 16, listenersPerTopic: 256 });
  router.subscribe(sender, TOPIC);
  for (let i = 0; i < listeners; i++) router.subscribe(new Listener(), TOPIC);

  Deno.bench(`encoded for each of ${listeners}`, { group, baseline: true }, () => {
    const relayed = relay();
    for (const listener of router.relay(sender, relayed.topic)) {
      listener.send(encodeSignalFrame(relayed));
    }
  });
  Deno.bench(`encoded once for ${listeners}`, { group }, () => {
    const relayed = relay();
    let encoded: Uint8Array | undefined;
    for (const listener of router.relay(sender, relayed.topic)) {
      listener.send(encoded ??= encodeSignalFrame(relayed));
    }
  });
  Deno.bench(`the received bytes for ${listeners}`, { group }, () => {
    for (const listener of router.relay(sender, relay().topic)) listener.send(bytes);
  });
}

function relay(): SignalFrame {
  return decodeSignalFrame(bytes);
}
