import assert from "node:assert/strict";
import { toHex, utf8 } from "../../src/base/bytes.ts";
import { startSignal } from "../../src/roles/signal/run_signal.ts";
import type { SignalOptions } from "../../src/roles/signal/signal_options.ts";
import { Chromium, chromiumPath } from "../support/chromium.ts";
import { ForeignClient } from "../support/foreign_client.ts";

const TOKEN = "token of a page";
/** The reference's own bytes. */
const SUBSCRIBE_ABC = "a169537562736372696265a165746f70696363616263";
const RELAY_ABC = "a16552656c6179a265746f70696363616263677061796c6f6164420102";
const ANSWER_ABC = "a16552656c6179a265746f70696363616263677061796c6f6164420304";

const ignore = chromiumPath === undefined;
const note = ignore ? " (SKIPPED: Chromium is not installed)" : "";

Deno.test(
  `a page connects with its token as subprotocol and exchanges frames with a peer${note}`,
  { ignore },
  async () => {
    await using scene = await start({});
    const peer = await ForeignClient.open(scene.url, {
      headers: { authorization: `Bearer ${TOKEN}` },
    });
    await peer.subscribe("abc");
    await scene.browser.run(`connect(${scene.arguments(TOKEN)})`);
    assert.equal(await scene.browser.run("page.socket.protocol"), "cairn.signal.v1");
    await scene.browser.run(`page.send("${SUBSCRIBE_ABC}"); page.send("${RELAY_ABC}")`);
    assert.equal(toHex(await peer.next()), RELAY_ABC);
    peer.send(Uint8Array.from(ANSWER_ABC.match(/../g) ?? [], (byte) => Number.parseInt(byte, 16)));
    assert.equal(await scene.browser.run("page.next()"), ANSWER_ABC);
    assert.equal(await scene.browser.run("page.received.length"), 0);
    await scene.browser.run("page.socket.close(); page.closed");
    peer.socket.close();
    await peer.closed;
  },
);

Deno.test(`a page reads why it is not let in, or no longer${note}`, { ignore }, async (t) => {
  await t.step("4401: its token is wrong, or missing", async () => {
    await using scene = await start({});
    assert.equal(await scene.closeCode("another token"), 4401);
    assert.equal(await scene.closeCode(undefined), 4401);
  });
  await t.step("4403: its origin is not one of those allowed", async () => {
    await using scene = await start({ allowedOrigins: ["https://cairn.example"] });
    assert.equal(await scene.closeCode(TOKEN), 4403);
  });
  await t.step("4429: its address has too many connections", async () => {
    await using scene = await start({ limits: { connectionsPerAddress: 1 } });
    await scene.browser.run(`connect(${scene.arguments(TOKEN)})`);
    assert.equal(await scene.closeCode(TOKEN), 4429);
    await scene.browser.run("page.socket.close(); page.closed");
  });
  await t.step("4429: it sends too many messages", async () => {
    await using scene = await start({ limits: { messagesPerSecond: 1 } });
    await scene.browser.run(`connect(${scene.arguments(TOKEN)})`);
    await scene.browser.run(`for (let i = 0; i < 100; i++) page.send("${RELAY_ABC}")`);
    assert.equal(await scene.browser.run("page.closed"), 4429);
  });
});

/** What the page can do; `connect` resolves when its socket is open or closed. */
const PAGE = `<!doctype html><title>cairn</title><script>
const hex = (bytes) => Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
const bytes = (text) => Uint8Array.from(text.match(/../g), (byte) => parseInt(byte, 16));
let page;
function connect(url, protocols) {
  const socket = new WebSocket(url, protocols);
  socket.binaryType = "arraybuffer";
  const received = [];
  let wake = () => {};
  socket.onmessage = ({ data }) => { received.push(hex(new Uint8Array(data))); wake(); };
  const closed = new Promise((resolve) => { socket.onclose = ({ code }) => resolve(code); });
  page = {
    socket, received, closed,
    send: (text) => socket.send(bytes(text)),
    next: async () => {
      while (received.length === 0) await new Promise((resolve) => { wake = resolve; });
      return received.shift();
    },
  };
  const opened = new Promise((resolve) => { socket.onopen = () => resolve("open"); });
  return Promise.race([opened, closed]);
}
</script>`;

/** A signaling server, and a browser that shows a page of another origin. */
async function start(options: Partial<SignalOptions>) {
  const stack = new AsyncDisposableStack();
  const signal = stack.adopt(
    await startSignal({ listenAddr: "127.0.0.1:0", authTokens: [TOKEN], drainTime: 0, ...options }),
    (signal) => signal.close(),
  );
  const site = stack.use(
    Deno.serve(
      { hostname: "127.0.0.1", port: 0, onListen() {} },
      () => new Response(PAGE, { headers: { "content-type": "text/html" } }),
    ),
  );
  const browser = stack.use(await Chromium.open(`http://127.0.0.1:${site.addr.port}/`));
  const url = `ws://127.0.0.1:${signal.address.port}`;
  const scene = {
    browser,
    url,
    /** Of the page's `connect`: where to connect, and the subprotocols with the token. */
    arguments(token: string | undefined): string {
      const carrier = token === undefined ? [] : [`cairn.bearer.${base64Url(token)}`];
      return JSON.stringify([url, ["cairn.signal.v1", ...carrier]]).slice(1, -1);
    },
    /** With which the page's connection ends. */
    async closeCode(token: string | undefined): Promise<unknown> {
      await browser.run(`connect(${scene.arguments(token)})`);
      return await browser.run("page.closed");
    },
    [Symbol.asyncDispose]: () => stack.disposeAsync(),
  };
  return scene;
}

function base64Url(text: string): string {
  return utf8(text).toBase64({ alphabet: "base64url", omitPadding: true });
}
