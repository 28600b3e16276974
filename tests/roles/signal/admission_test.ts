import assert from "node:assert/strict";
import { fromHex, toBase64Url, toHex, utf8 } from "../../../src/base/bytes.ts";
import { RawWebSocket } from "../../support/raw_web_socket.ts";
import { movableHost, startedSignal } from "../../support/started_signal.ts";

const RELAY_ABC = fromHex("a16552656c6179a265746f70696363616263677061796c6f6164420102");
const TOKEN = "your-secret-token";

Deno.test("a page brings its token as a subprotocol, which is not sent back", async () => {
  await using signal = await startedSignal({ authTokens: ["other", TOKEN] });
  const ann = await signal.page(undefined, bearer(TOKEN));
  const bob = await signal.page(undefined, bearer("other"));
  assert.equal(ann.socket.protocol, "cairn.signal.v1");
  await bob.subscribe("abc");
  ann.send(RELAY_ABC);
  assert.equal(toHex(await bob.next()), toHex(RELAY_ABC));
});

const WRONG_CARRIERS = {
  "no token": [],
  "another token": [bearer("wrong")],
  "the token in clear": [`cairn.bearer.${TOKEN}`],
  "an empty token": ["cairn.bearer."],
  "a token that is no text": ["cairn.bearer._w"],
};

for (const [what, protocols] of Object.entries(WRONG_CARRIERS)) {
  Deno.test(`a page with ${what} is closed with 4401`, async () => {
    await using signal = await startedSignal({ authTokens: [TOKEN] });
    const page = await signal.page(undefined, ...protocols);
    assert.deepEqual(await page.closed, { code: 4401, reason: "token is not valid" });
  });
}

Deno.test("whoever sends the header reads a status, also when it offers the subprotocol", async () => {
  await using signal = await startedSignal({ authTokens: [TOKEN] });
  const offer = { "sec-websocket-protocol": `cairn.signal.v1, ${bearer(TOKEN)}` };
  const wrong = { ...offer, authorization: "Bearer wrong" };
  assert.match(
    await answerTo(signal.port, wrong),
    /^HTTP\/1\.1 401 .*\r\nwww-authenticate: Bearer/s,
  );
  const right = { ...offer, authorization: `Bearer ${TOKEN}` };
  assert.match(await answerTo(signal.port, right), /^HTTP\/1\.1 101 /);
  const foreign = { ...offer, authorization: "Basic dXNlcjpwYXNz" };
  assert.match(await answerTo(signal.port, foreign), /^HTTP\/1\.1 101 /, "of a proxy in front");
});

Deno.test("a token in the URL counts only where that is allowed", async () => {
  const path = `/?access_token=${TOKEN}`;
  await using strict = await startedSignal({ authTokens: [TOKEN] });
  await assert.rejects(strict.client({}, path), /401/);
  await using lax = await startedSignal({ authTokens: [TOKEN], allowQueryToken: true });
  await (await lax.client({}, path)).settled();
  await assert.rejects(lax.client({}, "/?access_token=wrong"), /401/);
  await assert.rejects(lax.client({}, "/?access_token="), /401/);
});

Deno.test("only pages of allowed origins come in; what sends no origin is no page", async () => {
  const allowedOrigins = ["https://app.example.com"];
  await using signal = await startedSignal({ allowedOrigins });
  await (await signal.page("https://app.example.com")).settled();
  await (await signal.page("HTTPS://APP.EXAMPLE.COM")).settled();
  await (await signal.client()).settled();
  for (const origin of ["https://app.example.com.evil.net", "http://app.example.com", "null"]) {
    const page = await signal.page(origin);
    assert.deepEqual(await page.closed, { code: 4403, reason: "origin is not allowed" }, origin);
    await assert.rejects(signal.client({ origin }), /403/, origin);
  }
});

Deno.test("a wrong origin is told apart from a wrong token before the token is looked at", async () => {
  await using signal = await startedSignal({ allowedOrigins: ["https://a"], authTokens: [TOKEN] });
  const page = await signal.page("https://b");
  assert.equal((await page.closed).code, 4403);
});

Deno.test("connections of one address are bounded, and a left one makes room", async () => {
  await using signal = await startedSignal(behindProxy({ connectionsPerAddress: 2 }));
  const from = (address: string) => ({ headers: { "x-forwarded-for": address } });
  const first = await signal.client(from("192.0.2.1"));
  await signal.client(from("192.0.2.1"));
  await assert.rejects(signal.client(from("192.0.2.1")), /429/);
  await signal.client(from("192.0.2.2"));
  await signal.client(from("2001:db8:0:1::1"));
  await signal.client(from("2001:db8:0:1:ffff::2"));
  await assert.rejects(signal.client(from("2001:db8:0:1::3")), /429/, "the same /64");
  await signal.client(from("2001:db8:0:2::1"));
  first.socket.close();
  await first.closed;
  // The server hears of the end a little later than the client itself.
  for (let turn = 0;; turn++) {
    const entered = await signal.client(from("192.0.2.1")).then(() => true, () => false);
    if (entered) break;
    assert.ok(turn < 1_000);
  }
});

Deno.test("beyond the limit of its address a page is closed with 4429, others hear 429", async () => {
  await using signal = await startedSignal({ limits: { connectionsPerAddress: 1 } });
  await signal.client();
  const page = await signal.page();
  assert.deepEqual(await page.closed, { code: 4429, reason: "too many connections" });
  assert.match(
    await answerTo(signal.port),
    /^HTTP\/1\.1 429 Too Many Requests\r\nretry-after: 30\r\n/,
  );
});

Deno.test("a full server says so: 503 with when to come back, a page 4429", async () => {
  await using signal = await startedSignal({ limits: { maxConnections: 1 } });
  await signal.client();
  assert.match(
    await answerTo(signal.port),
    /^HTTP\/1\.1 503 Service Unavailable\r\nretry-after: 30\r\n/,
  );
  assert.deepEqual(await (await signal.page()).closed, {
    code: 4429,
    reason: "the server is full",
  });
});

Deno.test("attempts of one address are bounded in time, wrong tokens and pages included", async () => {
  const host = movableHost();
  const options = { ...behindProxy({ connectionsPerMinute: 3 }), authTokens: [TOKEN] };
  await using signal = await startedSignal(options, host);
  const from = (address: string, authorization = `Bearer ${TOKEN}`) => ({
    headers: { "x-forwarded-for": address, authorization },
  });
  await assert.rejects(signal.client(from("192.0.2.1", "Bearer wrong")), /401/);
  const headers = { "x-forwarded-for": "192.0.2.1" };
  assert.equal(await statusOf(signal.port, headers), 401);
  await signal.client(from("192.0.2.1"));
  await assert.rejects(signal.client(from("192.0.2.1")), /429/);
  assert.equal(await statusOf(signal.port, headers), 429);
  await signal.client(from("192.0.2.2"));
  host.pass(20_000);
  await signal.client(from("192.0.2.1"));
  await assert.rejects(signal.client(from("192.0.2.1")), /429/);
});

Deno.test("an address that nobody vouches for cannot be invented", async () => {
  await using signal = await startedSignal({ limits: { connectionsPerAddress: 1 } });
  await signal.client({ headers: { "x-forwarded-for": "192.0.2.1" } });
  await assert.rejects(signal.client({ headers: { "x-forwarded-for": "192.0.2.2" } }), /429/);
});

Deno.test("handshakes that never come are bounded for each address", async () => {
  await using signal = await startedSignal({ limits: { connectionsPerAddress: 1 } });
  const silent: Deno.Conn[] = [];
  try {
    for (let i = 0; i < 18; i++) {
      silent.push(await Deno.connect({ hostname: "127.0.0.1", port: signal.port }));
    }
    await assert.rejects(signal.client(), /hang up|ECONNRESET|reset/i);
    silent.pop()?.close();
    for (let turn = 0;; turn++) {
      if (await signal.client().then(() => true, () => false)) break;
      assert.ok(turn < 1_000);
    }
  } finally {
    for (const connection of silent) connection.close();
  }
});

Deno.test("more messages than allowed close with 4429, at once or over time", async () => {
  const host = movableHost();
  await using signal = await startedSignal({ limits: { messagesPerSecond: 1 } }, host);
  const [ann, bob] = [await signal.client(), await signal.client()];
  await bob.subscribe("abc");
  for (let i = 0; i < 20; i++) ann.send(RELAY_ABC);
  for (let i = 0; i < 20; i++) await bob.next();
  host.pass(1_000);
  ann.send(RELAY_ABC);
  await bob.next();
  ann.send(RELAY_ABC);
  assert.deepEqual(await ann.closed, { code: 4429, reason: "too many messages" });
  await bob.hasNothing();
});

Deno.test("more bytes than allowed close with 4429, text and pings included", async () => {
  const limits = { bytesPerSecond: 1, maxFrameBytes: 60 };
  await using signal = await startedSignal({ limits }, movableHost());
  const ann = await signal.client();
  ann.send(RELAY_ABC);
  ann.send(RELAY_ABC);
  ann.send(RELAY_ABC);
  assert.equal((await ann.closed).code, 4429);
  const bob = await signal.client();
  bob.socket.send('{"type":"query","topic":"0123456789"}');
  bob.socket.send('{"type":"query","topic":"0123456789"}');
  assert.equal((await bob.closed).code, 4429);
  await using strict = await startedSignal({ limits: { messagesPerSecond: 1 } }, movableHost());
  const cid = await strict.client();
  for (let i = 0; i < 21; i++) cid.socket.ping();
  assert.equal((await cid.closed).code, 4429);
});

Deno.test("a frame may be as long as the option says, and no longer", async () => {
  await using signal = await startedSignal({ limits: { maxFrameBytes: 29 } });
  const [ann, bob] = [await signal.client(), await signal.client()];
  await bob.subscribe("abc");
  ann.send(RELAY_ABC);
  await bob.next();
  ann.socket.send(new Uint8Array(30));
  assert.equal((await ann.closed).code, 1009);
});

Deno.test("one mistake is forgiven each minute", async () => {
  const host = movableHost();
  await using signal = await startedSignal({ limits: { errorBudget: 2 } }, host);
  const ann = await signal.client();
  for (let i = 0; i < 5; i++) {
    assert.match(await ann.ask("nonsense"), /"type":"error"/);
    host.pass(60_000);
  }
  await ann.ask("nonsense");
  await ann.ask("nonsense");
  assert.deepEqual(await ann.closed, { code: 1008, reason: "too many errors" });
});

Deno.test("a reader that stalls is told 4408, which it finds behind what it had not read", async () => {
  const limits = { maxBufferedBytes: 100_000, bytesPerSecond: 1e9 };
  await using signal = await startedSignal({ limits });
  const [ann, slow] = [await signal.client(), await signal.client()];
  await slow.subscribe("abc");
  slow.socket.pause();
  const frame = new Uint8Array(60_029);
  frame.set(fromHex("a16552656c6179a265746f70696363616263677061796c6f616459ea60"));
  // What the system's buffers take is not the server's to count.
  for (let i = 0; i < 400; i++) ann.send(frame);
  await ann.settled();
  slow.socket.resume();
  assert.deepEqual(await slow.closed, { code: 4408, reason: "slow reader" });
});

function bearer(token: string): string {
  return `cairn.bearer.${toBase64Url(utf8(token))}`;
}

function behindProxy(limits: Record<string, number>) {
  return { trustedProxies: ["127.0.0.1"], limits };
}

/** Status line and headers with which a handshake is answered. */
async function answerTo(port: number, headers: Record<string, string> = {}): Promise<string> {
  using raw = await RawWebSocket.open(port, { headers });
  return raw.response;
}

async function statusOf(port: number, headers: Record<string, string>): Promise<number> {
  const response = await fetch(`http://127.0.0.1:${port}/`, { headers });
  await response.body?.cancel();
  return response.status;
}
