import assert from "node:assert/strict";
import { systemHost } from "../../../src/base/host.ts";
import { FrameReader } from "../../../src/roles/path/frame_reader.ts";
import { makeQuicCertificate } from "../../../src/roles/path/quic_certificate.ts";
import { QuicClient } from "../../../src/roles/path/quic_client.ts";
import { QUIC_ALPN, QuicServer } from "../../../src/roles/path/quic_server.ts";
import { QuicShim } from "../../../src/roles/path/quic_shim.ts";
import type { QuicSocket } from "../../../src/roles/path/quic_socket.ts";
import { DenoDatagramSockets } from "../../../src/roles/relay/datagram_sockets.ts";
import type { CloseInfo } from "../../../src/roles/web_socket.ts";
import { acceptLink, initiateLink } from "../../../src/roles/link_connection.ts";
import { contextFor, LinkRecorder } from "../../support/link_pair.ts";
import { within } from "../../support/deadline.ts";

const PATIENT = 180_000;
const certificate = await makeQuicCertificate(systemHost);

Deno.test("FrameReader finds the same frames however a stream is cut", () => {
  const frames = [0, 1, 300, 65_535, 2].map((length, i) => new Uint8Array(length).fill(i));
  const stream = frames.flatMap((frame) => [frame.length >> 8, frame.length & 255, ...frame]);
  for (const step of [1, 2, 3, 299, 65_536, stream.length]) {
    const found: Uint8Array[] = [];
    const reader = new FrameReader((frame) => found.push(frame));
    for (let at = 0; at < stream.length; at += step) {
      reader.push(Uint8Array.from(stream.slice(at, at + step)));
    }
    assert.deepEqual(found.map(({ length }) => length), [0, 1, 300, 65_535, 2]);
    assert.ok(found.every((frame, i) => frame.every((byte) => byte === i)));
  }
});

Deno.test("A QUIC stream carries frames of every size, in order, both ways", async () => {
  await using scene = new QuicScene();
  const { near, far } = await scene.connect();
  const sizes = [0, 1, 1_000, 65_535, 65_535, 3];
  const echoed = collect(near, sizes.length);
  far.onFrame = (frame) => far.send(frame);
  for (const [i, size] of sizes.entries()) near.send(new Uint8Array(size).fill(i));
  assert.deepEqual((await echoed).map(({ length }) => length), sizes);
  assert.throws(() => near.send(new Uint8Array(65_536)), RangeError);
});

Deno.test("A QUIC stream says how much waits for a reader, and brings what was sent before a close", async () => {
  await using scene = new QuicScene();
  const { near, far } = await scene.connect();
  const frames = collect(far, 400);
  for (let i = 0; i < 400; i++) near.send(new Uint8Array(65_535));
  assert.ok(near.bufferedBytes > 20_000_000);
  const ended = closed(far);
  const endedHere = closed(near);
  near.close(1000, "enough");
  assert.equal((await frames).length, 400);
  assert.equal((await ended).code, 1000);
  assert.deepEqual(await endedHere, { code: 1000, reason: "enough" });
  assert.equal(near.bufferedBytes, 0);
});

Deno.test("A QUIC stream that is destroyed ends at both ends", async () => {
  await using scene = new QuicScene();
  const { near, far } = await scene.connect();
  const ends = Promise.all([closed(near), closed(far)]);
  near.destroy();
  const [here, there] = await ends;
  assert.equal(here.code, 1006);
  assert.equal(there.code, 1006);
  near.send(new Uint8Array(1));
});

Deno.test("A link runs on a QUIC stream as on a WebSocket", async () => {
  await using scene = new QuicScene();
  const { near, far } = await scene.connect();
  const bob = contextFor("bob", systemHost);
  const [initiated, accepted] = await Promise.all([
    initiateLink(near, contextFor("alice", systemHost), { expectedPeer: bob.identity.peerId }),
    acceptLink(far, bob),
  ]);
  const [here, there] = [new LinkRecorder(initiated), new LinkRecorder(accepted)];
  accepted.trustRemote();
  initiated.trustRemote();
  initiated.send(0x0700, new Uint8Array(900_000).fill(5));
  assert.equal((await there.payload(0x0700)).length, 900_000);
  accepted.send(0x0701, Uint8Array.of(1));
  assert.deepEqual(await here.payload(0x0701), Uint8Array.of(1));
  initiated.close("going-away");
  assert.equal(await there.end(), "going-away");
});

Deno.test("QuicServer serves on whatever strangers do", async () => {
  await using scene = new QuicScene();
  const hostname = "127.0.0.1";
  const noise = Deno.listenDatagram({ transport: "udp", hostname, port: 0 });
  const server = { transport: "udp", hostname, port: scene.server.port } as const;
  for (let i = 0; i < 2_000; i++) {
    await noise.send(systemHost.random(1_200), server);
  }
  const wrong = { hostname, port: scene.server.port, serverName: "cairn" };
  // Not trusted, another protocol, and a connection that nobody announced.
  noise.close();
  const failures = await Promise.allSettled([
    Deno.connectQuic({ ...wrong, alpnProtocols: [QUIC_ALPN] }),
    Deno.connectQuic({ ...wrong, alpnProtocols: ["h3"], caCerts: [certificate.cert] }),
  ]);
  assert.ok(failures.every(({ status }) => status === "rejected"));
  const endpoint = new Deno.QuicEndpoint({ hostname, port: 0 });
  const options = { ...wrong, alpnProtocols: [QUIC_ALPN], caCerts: [certificate.cert], endpoint };
  const uninvited = await Deno.connectQuic(options);
  await within(AbortSignal.timeout(PATIENT), uninvited.closed, () => "the end of a stranger");
  endpoint.close();
  const { near, far } = await scene.connect();
  const echoed = collect(near, 1);
  far.onFrame = (frame) => far.send(frame);
  near.send(Uint8Array.of(7));
  assert.deepEqual(await echoed, [Uint8Array.of(7)]);
});

Deno.test("A peer that begins hundreds of handshakes, and sends what no peer may, keeps nobody out", async () => {
  await using scene = new QuicScene();
  const initials = await collectInitials(300);
  const shim = new QuicShim(scene.server.port, systemHost, new DenoDatagramSockets(), () => {});
  const deliver = (packet: Uint8Array) => shim.deliver(packet, 0, packet.length);
  scene.server.expect(shim.port, () => assert.fail("no stranger finishes a handshake"));
  for (const initial of initials) {
    await deliver(initial);
    // The server has its turn, or its socket's buffer would drop most of them.
    await new Promise((resolve) => setTimeout(resolve, 0));
  }
  for (const length of [0, 1, 1_361, 9_000, 65_000]) {
    await deliver(systemHost.random(length).map((byte) => byte | 0xc0));
  }
  const { near, far } = await scene.connect();
  const echoed = collect(near, 1);
  far.onFrame = (frame) => far.send(frame);
  near.send(Uint8Array.of(7));
  assert.deepEqual(await echoed, [Uint8Array.of(7)]);
  shim.close();
});

/** The first packets of handshakes that nobody answers. */
async function collectInitials(count: number): Promise<Uint8Array[]> {
  const hostname = "127.0.0.1";
  const sink = Deno.listenDatagram({ transport: "udp", hostname, port: 0 });
  const port = sink.addr.transport === "udp" ? sink.addr.port : 0;
  const endpoint = new Deno.QuicEndpoint({ hostname, port: 0 });
  const options = { hostname, port, serverName: "cairn", alpnProtocols: [QUIC_ALPN], endpoint };
  const dials: Promise<unknown>[] = [];
  const byConnection = new Map<string, Uint8Array>();
  while (byConnection.size < count) {
    dials.push(Promise.resolve(Deno.connectQuic(options)));
    const [packet] = await sink.receive();
    // The connection's id, whose length is in front of it.
    byConnection.set(packet.subarray(6, 6 + packet[5]!).toHex(), packet);
  }
  endpoint.close();
  await Promise.allSettled(dials);
  sink.close();
  return [...byConnection.values()];
}

/** A QUIC server and a client that its server expects. */
class QuicScene implements AsyncDisposable {
  readonly server = new QuicServer(certificate);
  readonly client = new QuicClient();
  readonly #sockets: QuicSocket[] = [];

  async connect(): Promise<{ near: QuicSocket; far: QuicSocket }> {
    const accepted = Promise.withResolvers<QuicSocket>();
    this.server.expect(this.client.port, accepted.resolve);
    const near = await this.client.connect(this.server.port, certificate.der);
    // The stream comes to exist for the other side with its first bytes.
    near.send(Uint8Array.of());
    const far = await accepted.promise;
    this.#sockets.push(near, far);
    const first = collect(far, 1);
    await first;
    return { near, far };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    this.client.close();
    await this.server.close();
  }
}

function collect(socket: QuicSocket, count: number): Promise<Uint8Array[]> {
  const { promise, resolve } = Promise.withResolvers<Uint8Array[]>();
  const frames: Uint8Array[] = [];
  socket.onFrame = (frame) => {
    frames.push(frame);
    if (frames.length === count) resolve(frames);
  };
  return within(AbortSignal.timeout(PATIENT), promise, () => `${count} frames`);
}

function closed(socket: QuicSocket): Promise<CloseInfo> {
  const { promise, resolve } = Promise.withResolvers<CloseInfo>();
  socket.onClose = resolve;
  return within(AbortSignal.timeout(PATIENT), promise, () => "the end of a stream");
}
