/// <reference lib="webworker" />
/** A peer in a worker, which tells who it is, or why not. */

import { BrowserNode } from "../../src/browser.ts";

try {
  const node = await BrowserNode.create({ storageName: "worker" });
  await node.start();
  await node.close();
  postMessage(node.peerId.toString());
} catch (error) {
  postMessage(String(error));
}
