import assert from "node:assert/strict";
import { toHex, utf8 } from "../../src/base/bytes.ts";
import { encodeSignalFrame } from "../../src/protocol/signal/signal_frame.ts";
import { startSignal } from "../../src/roles/signal/run_signal.ts";
import type { SignalOptions } from "../../src/roles/signal/signal_options.ts";
import { Chromium, chromiumPath } from "../support/chromium.ts";
import { ForeignClient } from "../support/foreign_client.ts";
import { hasOpenssl, makeSelfSigned } from "../support/self_signed.ts";

const TOKEN = "token of a page";
/** The reference's own bytes. */
const SUBSCRIBE_ABC = "a169537562736372696265a165746f70696363616263";
const RELAY_ABC = "a16552656c6179a265746f70696363616263677061796c6f6164420102";
const ANSWER_ABC = "a16552656c6179a265746f70696363616263677061796c6f6164420304";

const ignore = chromiumPath === undefined;
const note = ignore ? " (SKIPPED: Chromium is not installed)" : "";
const tlsNote = hasOpenssl ? note : " (SKIPPED: openssl is not installed)";

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

Deno.test(`a page connects over TLS${tlsNote}`, { ignore: ignore || !hasOpenssl }, async () => {
  await using certificate = await makeSelfSigned();
  await using scene = await start({ tls: certificate }, certificate.cert);
  assert.match(scene.url, /^wss:/);
  assert.equal(await scene.browser.run(`connect(${scene.arguments(TOKEN)})`), "open");
  const peer = await ForeignClient.open(scene.url, {
    headers: { authorization: `Bearer ${TOKEN}` },
    ca: certificate.cert,
  });
  await peer.subscribe("abc");
  await scene.browser.run(`page.send("${RELAY_ABC}")`);
  assert.equal(toHex(await peer.next()), RELAY_ABC);
  assert.equal(await scene.closeCode("another token"), 4401);
  peer.socket.close();
  await peer.closed;
});

Deno.test(`a page that stops reading reads in the end that it was too slow${note}`, {
  ignore,
}, async () => {
  await using scene = await start({
    metricsAddr: "127.0.0.1:0",
    limits: { messagesPerSecond: 1_000_000, bytesPerSecond: 1_000_000_000 },
  });
  const peer = await ForeignClient.open(scene.url, {
    headers: { authorization: `Bearer ${TOKEN}` },
  });
  const frame = encodeSignalFrame({
    kind: "Relay",
    topic: "abc",
    payload: new Uint8Array(60_000),
  });
  const codes: unknown[] = [];
  // On a busy machine it may be gone before it could say why.
  for (let attempt = 1; attempt <= 5 && codes.at(-1) !== 4408; attempt++) {
    await scene.browser.run(`connect(${scene.arguments(TOKEN)})`);
    await scene.browser.run(`page.send("${SUBSCRIBE_ABC}")`);
    const release = scene.hold();
    const closed = scene.browser.run(`page.stand(); page.closed`);
    await scene.standing();
    while (await scene.count("slow reader") < attempt) {
      for (let i = 0; i < 20; i++) peer.send(frame);
      await peer.settled();
    }
    release();
    codes.push(await closed);
  }
  assert.equal(codes.at(-1), 4408, codes.join());
  peer.socket.close();
  await peer.closed;
});

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
    // Reads nothing until the site answers.
    stand: () => {
      const request = new XMLHttpRequest();
      request.open("GET", "/stand", false);
      request.send();
    },
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
async function start(options: Partial<SignalOptions>, certificate?: string) {
  const stack = new AsyncDisposableStack();
  let held = Promise.withResolvers<void>();
  let stands = Promise.withResolvers<void>();
  const signal = stack.adopt(
    await startSignal({ listenAddr: "127.0.0.1:0", authTokens: [TOKEN], drainTime: 0, ...options }),
    (signal) => signal.close(),
  );
  const site = stack.use(
    Deno.serve(
      { hostname: "127.0.0.1", port: 0, onListen() {} },
      async ({ url }) => {
        if (new URL(url).pathname === "/stand") {
          stands.resolve();
          await held.promise;
        }
        return new Response(PAGE, { headers: { "content-type": "text/html" } });
      },
    ),
  );
  const browser = stack.use(
    await Chromium.open(`http://127.0.0.1:${site.addr.port}/`, {
      ...(certificate !== undefined && { certificate }),
    }),
  );
  const { port } = signal.address;
  const url = options.tls ? `wss://localhost:${port}` : `ws://127.0.0.1:${port}`;
  const scene = {
    browser,
    url,
    /** Of the page's `connect`: where to connect, and the subprotocols with the token. */
    arguments(token: string | undefined): string {
      const carrier = token === undefined ? [] : [`cairn.bearer.${base64Url(token)}`];
      return JSON.stringify([url, ["cairn.signal.v1", ...carrier]]).slice(1, -1);
    },
    /** Lets the page's next `stand` last until what this returns is called. */
    hold(): () => void {
      held = Promise.withResolvers();
      stands = Promise.withResolvers();
      return () => held.resolve();
    },
    standing: () => stands.promise,
    /** How many connections the server has ended for this reason. */
    async count(reason: string): Promise<number> {
      const { port } = signal.metricsAddress ?? {};
      const page = await (await fetch(`http://127.0.0.1:${port}/metrics`)).text();
      return Number(new RegExp(`ended_total\\{reason="${reason}"\\} (\\d+)`).exec(page)?.[1]);
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
