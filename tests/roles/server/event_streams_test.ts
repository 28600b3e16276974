import { deepStrictEqual, match, ok, strictEqual } from "node:assert/strict";
import { getRequestListener } from "@hono/node-server";
import { type HttpListener, listen } from "../../../src/roles/http.ts";
import { within } from "../../support/deadline.ts";
import { EventListener } from "../../support/event_listener.ts";
import { FakeTime } from "../../support/fake_time.ts";
import { AUTHORIZED, ManagedScene } from "./managed_scene.ts";

const TIMEOUT = 180_000;

Deno.test("GET /events tells what happens to everybody who listens", async () => {
  await using scene = await ServedScene.open();
  const [one, other] = [await scene.listen(), await scene.listen()];
  scene.events.publish({ type: "peer.connected", data: { peer_id: "Qm" } });
  scene.events.mention({ type: "queue.changed", data: { pending_messages: 3 } });
  for (const listener of [one, other]) {
    deepStrictEqual(await listener.next(), ["peer.connected", { peer_id: "Qm" }]);
    deepStrictEqual(await listener.next(), ["queue.changed", { pending_messages: 3 }]);
  }
  strictEqual(one.contentType, "text/event-stream");
  await one.leave();
  await scene.until(() => scene.streams.listeners === 1);
  await other.leave();
});

Deno.test("GET /events gives a listener that comes back what it missed", async () => {
  await using scene = await ServedScene.open();
  const first = await scene.listen();
  for (const peer of ["a", "b", "c"]) scene.events.publish({ type: "peer.paired", data: { peer } });
  deepStrictEqual(await first.next(), ["peer.paired", { peer: "a" }]);
  const lastSeen = first.lastId;
  match(lastSeen, /^[0-9a-z]+-1$/);
  await first.leave();
  const back = await scene.listen(lastSeen);
  deepStrictEqual(await back.next(), ["peer.paired", { peer: "b" }]);
  deepStrictEqual(await back.next(), ["peer.paired", { peer: "c" }]);
  await back.leave();
});

for (
  const [what, lastId] of [
    ["before the oldest that is kept", "-0"],
    ["of an earlier run", "other-3"],
    ["that never was", "-99999"],
    ["of nonsense", "x"],
  ] as const
) {
  Deno.test(`GET /events says that something was missed after an id ${what}`, async () => {
    await using scene = await ServedScene.open();
    const epoch = scene.host.now().toString(36);
    for (let i = 0; i < 300; i++) scene.events.publish({ type: "peer.connected", data: { i } });
    const listener = await scene.listen(lastId.startsWith("-") ? `${epoch}${lastId}` : lastId);
    deepStrictEqual(await listener.next(), ["missed", {}]);
    scene.events.publish({ type: "peer.connected", data: {} });
    deepStrictEqual(await listener.next(), ["peer.connected", {}]);
    await listener.leave();
  });
}

Deno.test("GET /events says that something was missed when there is too much of it at once", async () => {
  await using scene = await ServedScene.open();
  const first = await scene.listen();
  scene.events.publish({ type: "peer.connected", data: {} });
  await first.next();
  await first.leave();
  const name = "\u0001".repeat(64);
  for (let i = 0; i < 200; i++) scene.events.publish({ type: "peer.changed", data: { name } });
  const back = await scene.listen(first.lastId);
  deepStrictEqual(await back.next(), ["missed", {}]);
  scene.events.publish({ type: "peer.connected", data: {} });
  deepStrictEqual(await back.next(), ["peer.connected", {}]);
  await back.leave();
});

Deno.test("A listener that does not read is dropped, and the others hear everything", async () => {
  await using scene = await ServedScene.open();
  using slow = await Deno.connect({ hostname: "127.0.0.1", port: scene.port });
  const request = `GET /events HTTP/1.1\r\nHost: localhost\r\n` +
    `Authorization: ${AUTHORIZED.authorization}\r\n\r\n`;
  await slow.write(new TextEncoder().encode(request));
  await scene.until(() => scene.streams.listeners === 1);
  const reader = await scene.listen();
  const text = "x".repeat(32 * 1024);
  let sent = 0;
  while (scene.streams.dropped === 0) {
    scene.events.publish({ type: "peer.changed", data: { text } });
    deepStrictEqual(await reader.next(), ["peer.changed", { text }]);
    ok(++sent < 2_000, "the slow listener is dropped before 64 MiB");
  }
  strictEqual(scene.streams.listeners, 1);
  // What the system had taken comes first, then the end.
  const rest = new Uint8Array(65_536);
  const ended = (async () => {
    while (await slow.read(rest) !== null);
  })();
  await within(scene.deadline, ended.catch(() => {}), () => "the end of the slow connection");
  await reader.leave();
});

Deno.test("GET /events refuses more listeners than it bears, and takes one in a freed place", async () => {
  const scene = new ManagedScene();
  const bodies: ReadableStream[] = [];
  let last = await scene.ask("/events");
  while (last.status === 200) {
    if (last.body) bodies.push(last.body);
    last = await scene.ask("/events");
  }
  strictEqual(bodies.length, 32);
  deepStrictEqual([last.status, (await last.json()).code], [503, "too-many-listeners"]);
  await bodies.pop()?.cancel();
  const next = await scene.ask("/events");
  strictEqual(next.status, 200);
  scene.streams.close();
  for (const body of [...bodies, next.body]) {
    match(await new Response(body).text(), /^retry: 2000\n\n$/, "the server ends every stream");
  }
  strictEqual(scene.streams.listeners, 0);
});

Deno.test("GET /events sends a comment every 15 seconds, so that proxies keep the connection", async () => {
  using time = new FakeTime();
  const scene = new ManagedScene();
  const { body } = await scene.ask("/events");
  time.pass(31_000);
  scene.streams.close();
  strictEqual(await new Response(body).text(), "retry: 2000\n\n:\n\n:\n\n");
});

Deno.test("After ten wrong tokens an address is told to wait, and the right one is let in all the same", async () => {
  await using scene = await ServedScene.open();
  const ask = async (token: string, path = "/peers") => {
    const headers = { authorization: `Bearer ${token}` };
    const response = await fetch(`http://127.0.0.1:${scene.port}${path}`, { headers });
    await response.body?.cancel();
    return response.status;
  };
  for (let guess = 0; guess < 10; guess++) strictEqual(await ask(`guess ${guess}`), 401);
  strictEqual(await ask("guess 11"), 429);
  strictEqual(await ask("guess 12", "/health"), 429);
  strictEqual(await ask("secret-token"), 200);
  strictEqual(await ask("secret-token", "/health"), 200);
  strictEqual(await ask("guess 13"), 429);
  const open = await fetch(`http://127.0.0.1:${scene.port}/health`);
  deepStrictEqual(await open.json(), { status: "healthy" });
  scene.host.pass(6_000);
  strictEqual(await ask("guess 14"), 401);
  strictEqual(await ask("guess 15"), 429);
});

/** The management API of a scene, over HTTP. */
class ServedScene extends ManagedScene implements AsyncDisposable {
  readonly deadline = AbortSignal.timeout(TIMEOUT);

  private constructor(private readonly box: { listener?: HttpListener }) {
    super();
  }

  static async open(): Promise<ServedScene> {
    const box: { listener?: HttpListener } = {};
    const scene = new ServedScene(box);
    box.listener = await listen({
      host: "127.0.0.1",
      port: 0,
      onRequest: getRequestListener(scene.api.fetch),
    });
    return scene;
  }

  get port(): number {
    return this.box.listener?.address.port ?? 0;
  }

  async listen(lastId?: string): Promise<EventListener> {
    const url = `http://127.0.0.1:${this.port}/events`;
    return await EventListener.open(url, AUTHORIZED, this.deadline, lastId);
  }

  /** Waits until `holds`. */
  async until(holds: () => boolean): Promise<void> {
    while (!holds()) {
      this.deadline.throwIfAborted();
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.streams.close();
    await this.box.listener?.close();
  }
}
