/** Allocate (RFC 8656 section 7): statements 61 to 79 of docs/relay_checklist.md. */

import { deepStrictEqual, match, ok, strictEqual } from "node:assert/strict";
import { parseAddressPort } from "../../../src/base/address.ts";
import { toHex } from "../../../src/base/bytes.ts";
import { AttributeType, encodeXorAddress } from "../../../src/protocol/stun/attributes.ts";
import { type Attribute, Method } from "../../../src/protocol/stun/message.ts";
import {
  addressesOf,
  BOTH,
  DONT_FRAGMENT,
  errorOf,
  EVEN,
  isSuccess,
  lifetime,
  lifetimeOf,
  PAIR,
  PEER,
  RELAYED_V4,
  RELAYED_V6,
  relayedOf,
  token,
  TurnScene,
  UDP,
  V4,
  V6,
} from "./turn_scene.ts";

const portOf = (address: string | undefined) => parseAddressPort(address ?? "")?.port ?? NaN;

Deno.test("2-AL-61 Allocate grants a relayed address, for ten minutes, signed", () => {
  const scene = new TurnScene();
  const client = scene.client("203.0.113.7:40000");
  const answer = client.allocate();
  ok(isSuccess(answer) && client.trusts(answer));
  const [relayed = ""] = relayedOf(answer);
  match(relayed, new RegExp(`^${RELAYED_V4}:\\d+$`));
  deepStrictEqual(addressesOf(answer, AttributeType.XorMappedAddress), ["203.0.113.7:40000"]);
  strictEqual(lifetimeOf(answer), 600);
  ok(scene.relayPort(relayed));
  strictEqual(scene.server.counters.allocations, 1);
});

Deno.test("2-AL-62 Allocate on a 5-tuple in use is refused with 437", () => {
  const scene = new TurnScene();
  const client = scene.allocated();
  const answer = client.allocate();
  strictEqual(errorOf(answer), 437);
  ok(client.trusts(answer));
  strictEqual(scene.open.size, 1);
});

Deno.test("2-AL-63 Allocate that comes again is answered again, and takes nothing more", () => {
  const scene = new TurnScene();
  const client = scene.client();
  const transactionId = scene.nextTransaction();
  const first = client.request(Method.Allocate, [UDP, PAIR], { transactionId });
  scene.pass(5);
  const again = client.request(Method.Allocate, [UDP, PAIR], { transactionId });
  ok(isSuccess(first) && isSuccess(again) && client.trusts(again));
  deepStrictEqual(relayedOf(again), relayedOf(first));
  deepStrictEqual(
    again?.get(AttributeType.ReservationToken),
    first?.get(AttributeType.ReservationToken),
  );
  strictEqual(lifetimeOf(again), 595);
  strictEqual(scene.open.size, 2);
  const stranger = client.as("other").request(Method.Allocate, [UDP, PAIR], { transactionId });
  strictEqual(errorOf(stranger), 437, "another user's request is another request");
});

Deno.test("2-AL-63 Allocate that comes again while its port is being opened stays unanswered", () => {
  const scene = new TurnScene({ opensAtOnce: false });
  const client = scene.client();
  const transactionId = scene.nextTransaction();
  strictEqual(client.request(Method.Allocate, [UDP], { transactionId }), undefined);
  strictEqual(client.request(Method.Allocate, [UDP], { transactionId }), undefined);
  strictEqual(scene.waiting.length, 1);
  scene.openPorts();
  ok(isSuccess(client.answer()));
  strictEqual(client.answer(), undefined);
});

Deno.test("2-AL-64 Allocate names UDP as its transport", () => {
  const scene = new TurnScene();
  const transport = (...bytes: number[]): Attribute => [
    AttributeType.RequestedTransport,
    Uint8Array.from(bytes),
  ];
  const code = (...attributes: Attribute[]) =>
    errorOf(scene.client().request(Method.Allocate, attributes));
  strictEqual(code(), 400);
  strictEqual(code(transport(17)), 400);
  strictEqual(code(transport(17, 0, 0, 0, 0, 0, 0, 0)), 400);
  strictEqual(code(transport(6, 0, 0, 0)), 442, "RFC 6062 is not built");
  strictEqual(code(transport(99, 0, 0, 0)), 442);
});

Deno.test("2-AL-65 Allocate may forbid fragments", () => {
  ok(isSuccess(new TurnScene().client().allocate(DONT_FRAGMENT)));
});

Deno.test("2-AL-66 RESERVATION-TOKEN stands alone, and for a port that is held", () => {
  const scene = new TurnScene();
  const unknown = token(new Uint8Array(8));
  const code = (...attributes: Attribute[]) => errorOf(scene.client().allocate(...attributes));
  for (const other of [EVEN, V4, V6, BOTH]) strictEqual(code(unknown, other), 400);
  strictEqual(code(token(new Uint8Array(7))), 400);
  strictEqual(code(unknown), 508);
});

Deno.test("2-AL-66 RESERVATION-TOKEN works once, and for thirty seconds", () => {
  const scene = new TurnScene();
  const reserved = () => {
    const answer = scene.client(`203.0.113.7:${scene.server.freePorts}`).allocate(PAIR);
    return token(answer!.get(AttributeType.ReservationToken)!);
  };
  const used = reserved();
  ok(isSuccess(scene.client("203.0.113.8:1").allocate(used)));
  strictEqual(errorOf(scene.client("203.0.113.8:2").allocate(used)), 508);
  const expired = reserved();
  scene.pass(31);
  strictEqual(errorOf(scene.client("203.0.113.8:3").allocate(expired)), 508);
});

Deno.test("2-AL-67 REQUESTED- and ADDITIONAL-ADDRESS-FAMILY exclude each other", () => {
  strictEqual(errorOf(new TurnScene().client().allocate(V6, BOTH)), 400);
});

Deno.test("2-AL-68 A family is IPv4 unless asked otherwise, and one that there is", () => {
  const scene = new TurnScene();
  const family = (...value: number[]): Attribute => [
    AttributeType.RequestedAddressFamily,
    Uint8Array.from(value),
  ];
  match(relayedOf(scene.client("[2a00:99::1]:4000").allocate())[0] ?? "", /^11\.22/);
  match(relayedOf(scene.client("[2a00:99::1]:4001").allocate(V6))[0] ?? "", /^\[2a00:1234::44\]/);
  strictEqual(errorOf(scene.client().allocate(family(3, 0, 0, 0))), 440);
  strictEqual(errorOf(scene.client().allocate(family(1))), 400);

  const onlyV6 = new TurnScene({ settings: { relayedV4: undefined } });
  strictEqual(errorOf(onlyV6.client().allocate()), 440);
  strictEqual(errorOf(onlyV6.client().allocate(V4)), 440);
  ok(isSuccess(onlyV6.client().allocate(V6)));
});

Deno.test("2-AL-69 EVEN-PORT reserves for one family only, and only what there is", () => {
  const scene = new TurnScene();
  strictEqual(errorOf(scene.client().allocate(PAIR, BOTH)), 400);
  strictEqual(errorOf(scene.client().allocate([AttributeType.EvenPort, new Uint8Array(4)])), 400);
  const odd = new TurnScene({ settings: { relayPorts: { min: 50_001, max: 50_001 } } });
  strictEqual(errorOf(odd.client().allocate(EVEN)), 508);
  const single = new TurnScene({ settings: { relayPorts: { min: 50_000, max: 50_000 } } });
  strictEqual(errorOf(single.client().allocate(PAIR)), 508);
  strictEqual(single.server.freePorts, 2);
  ok(isSuccess(single.client().allocate(EVEN)));
});

Deno.test("2-AL-70 ADDITIONAL-ADDRESS-FAMILY brings both families, or one and a reason", () => {
  const scene = new TurnScene();
  const additional = (code: number): Attribute => [
    AttributeType.AdditionalAddressFamily,
    Uint8Array.of(code, 0, 0, 0),
  ];
  strictEqual(errorOf(scene.client().allocate(additional(1))), 400);
  const [v4 = "", v6 = ""] = relayedOf(scene.client().allocate(BOTH));
  ok(v4.startsWith(RELAYED_V4) && v6.startsWith(`[${RELAYED_V6}]`));

  const onlyV4 = new TurnScene({ settings: { relayedV6: undefined } });
  const half = onlyV4.client().allocate(BOTH);
  strictEqual(relayedOf(half).length, 1);
  deepStrictEqual([...half!.get(AttributeType.AddressErrorCode)!.subarray(0, 4)], [2, 0, 4, 40]);

  const exhausted = new TurnScene({ settings: { relayPorts: { min: 50_000, max: 50_000 } } });
  ok(isSuccess(exhausted.client("203.0.113.7:1").allocate(V4)));
  const rest = exhausted.client("203.0.113.7:2").allocate(BOTH);
  match(relayedOf(rest).join(), /^\[2a00/);
  deepStrictEqual([...rest!.get(AttributeType.AddressErrorCode)!.subarray(0, 4)], [1, 0, 5, 8]);
});

Deno.test("2-AL-71 EVEN-PORT is even, and holds the next port for whoever has the token", () => {
  const scene = new TurnScene();
  for (let n = 0; n < 10; n++) {
    const even = portOf(relayedOf(scene.client(`203.0.113.7:${n + 1}`).allocate(EVEN))[0]);
    strictEqual(even % 2, 0);
    const answer = scene.client(`203.0.113.8:${n + 1}`).allocate(PAIR);
    const first = portOf(relayedOf(answer)[0]);
    strictEqual(first % 2, 0);
    const second = scene.client(`[2a00:99::1]:${n + 1}`, "tls")
      .allocate(token(answer!.get(AttributeType.ReservationToken)!));
    strictEqual(portOf(relayedOf(second)[0]), first + 1);
  }
});

Deno.test("2-AL-71 A reserved port that nobody claims is free again", () => {
  const scene = new TurnScene({ settings: { relayPorts: { min: 50_000, max: 50_001 } } });
  const client = scene.allocated(undefined, PAIR);
  const free = scene.server.freePorts;
  strictEqual(errorOf(scene.client("203.0.113.8:1").allocate()), 508);
  scene.pass(31);
  strictEqual(scene.server.freePorts, free + 1);
  ok(isSuccess(scene.client("203.0.113.8:1").allocate()));
  client.refresh(0);
  scene.pass(601);
  strictEqual(scene.server.freePorts, 4);
  strictEqual(scene.open.size, 0);
});

Deno.test("2-AL-72 A quota counts a user's allocations wherever they come from", () => {
  const scene = new TurnScene({ settings: { maxAllocationsPerUser: 2 } });
  const first = scene.allocated("203.0.113.7:1");
  scene.allocated("203.0.113.8:1");
  const third = scene.client("203.0.113.9:1");
  const refused = third.allocate();
  strictEqual(errorOf(refused), 486);
  ok(third.trusts(refused));
  ok(isSuccess(scene.client("203.0.113.9:2").as("other").allocate()));
  first.refresh(0);
  ok(isSuccess(third.allocate()), "what is given up counts no longer");
});

Deno.test("2-AL-72 A reserved port counts until it is claimed or let go", () => {
  const scene = new TurnScene({ settings: { maxAllocationsPerUser: 2 } });
  const answer = scene.client("203.0.113.7:1").allocate(PAIR);
  strictEqual(errorOf(scene.client("203.0.113.7:2").allocate()), 486);
  const reserved = token(answer!.get(AttributeType.ReservationToken)!);
  ok(isSuccess(scene.client("203.0.113.7:3").allocate(reserved)), "it has been counted already");
  strictEqual(errorOf(scene.client("203.0.113.7:4").allocate()), 486);
});

Deno.test("2-AL-72 The server as a whole has a bound, and refuses with 508", () => {
  const scene = new TurnScene({ settings: { maxAllocations: 1 } });
  scene.allocated("203.0.113.7:1");
  strictEqual(errorOf(scene.client("203.0.113.8:1").as("other").allocate()), 508);
});

Deno.test("2-AL-73 Ports are drawn at random from the range", () => {
  const scene = new TurnScene({
    settings: { relayPorts: { min: 50_000, max: 50_099 }, relayedV6: undefined },
  });
  const counts = new Array<number>(100).fill(0);
  const draws = 2_000;
  const order: number[] = [];
  for (let n = 0; n < draws; n++) {
    const client = scene.client(`203.0.113.7:${n + 1}`);
    const port = portOf(relayedOf(client.allocate())[0]);
    ok(port >= 50_000 && port <= 50_099);
    counts[port - 50_000]!++;
    order.push(port);
    client.refresh(0);
    scene.pass(1);
  }
  const expected = draws / 100;
  const chiSquare = counts.reduce((sum, count) => sum + (count - expected) ** 2 / expected, 0);
  ok(chiSquare < 148.2, `chi-square of ${chiSquare} at 99 degrees of freedom: 1 in 1,000`);
  const steps = order.filter((port, i) => port === (order[i - 1] ?? 0) + 1).length;
  ok(steps < draws / 20, `${steps} ports followed the one before`);
});

Deno.test("2-AL-74 LIFETIME lies between ten minutes and an hour", () => {
  const scene = new TurnScene();
  const granted = (seconds: number, port: number) =>
    lifetimeOf(scene.client(`203.0.113.7:${port}`).allocate(lifetime(seconds)));
  deepStrictEqual(
    [1, 1_800, 100_000, 0, 0xffffffff].map(granted),
    [600, 1_800, 3_600, 600, 3_600],
  );
  strictEqual(errorOf(scene.client().allocate([AttributeType.Lifetime, new Uint8Array(2)])), 400);
});

Deno.test("2-AL-75 No two allocations share a relayed address", () => {
  const scene = new TurnScene({
    settings: { relayPorts: { min: 50_000, max: 50_063 }, maxAllocationsPerUser: 1_000 },
  });
  const relayed = Array.from({ length: 64 }, (_, n) => {
    const client = scene.client(`203.0.113.7:${n + 1}`);
    client.nonce = undefined;
    scene.pass(0.2);
    return relayedOf(client.allocate()).join();
  });
  strictEqual(new Set(relayed).size, 64);
});

Deno.test("2-AL-76 A range of four gives four ports, and each again once it is let go", () => {
  const scene = new TurnScene({
    settings: { relayPorts: { min: 50_000, max: 50_003 }, relayedV6: undefined },
  });
  const clients = [1, 2, 3, 4].map((port) => scene.allocated(`203.0.113.7:${port}`));
  const fifth = scene.client("203.0.113.7:5");
  strictEqual(errorOf(fifth.allocate()), 508);
  const freed = clients[1]!.relayed;
  clients[1]!.refresh(0);
  deepStrictEqual(relayedOf(fifth.allocate()), [freed]);
});

Deno.test("2-AL-76 A thousand rounds over four ports leak none", () => {
  let round = 0;
  const scene = new TurnScene({
    settings: { relayPorts: { min: 50_000, max: 50_003 }, relayedV6: undefined },
    unusable: (port) => port === 50_001 && round % 7 === 0,
  });
  for (; round < 1_000; round++) {
    const client = scene.client(`203.0.113.7:${round + 1}`, round % 2 === 0 ? "udp" : "tcp");
    client.allocate(...[[], [EVEN], [PAIR]][round % 3]!);
    if (round % 5 === 0) scene.server.clientGone(client, scene.now);
    else if (round % 5 < 4) client.refresh(0);
    else scene.pass(601);
    scene.pass(31);
  }
  scene.pass(3_600);
  strictEqual(scene.server.freePorts, 4);
  strictEqual(scene.server.allocationCount, 0);
  strictEqual(scene.open.size, 0);
  strictEqual(scene.server.nextDeadline(), Infinity);
});

Deno.test("2-AL-77 A port that cannot be bound is replaced by another", () => {
  const scene = new TurnScene({
    settings: { relayPorts: { min: 50_000, max: 50_003 }, relayedV6: undefined },
    unusable: (port) => port !== 50_002,
  });
  deepStrictEqual(relayedOf(scene.client().allocate()), [`${RELAYED_V4}:50002`]);
  strictEqual(scene.server.freePorts, 3, "what others hold now may be free later");
});

Deno.test("2-AL-77 Where no port can be bound the answer is 508, and the server goes on", () => {
  let broken = true;
  const scene = new TurnScene({ unusable: () => broken });
  const client = scene.client();
  const free = scene.server.freePorts;
  for (const attributes of [[], [PAIR], [BOTH]]) {
    const answer = client.allocate(...attributes);
    strictEqual(errorOf(answer), 508);
    ok(client.trusts(answer));
  }
  strictEqual(scene.server.freePorts, free);
  strictEqual(scene.server.allocationCount, 0);
  strictEqual(scene.sessions.length, 0, "nothing was granted");
  strictEqual(client.allocation, undefined);
  broken = false;
  ok(isSuccess(client.allocate()));
});

Deno.test("2-AL-78 The relayed address is the one that was configured", () => {
  const scene = new TurnScene();
  ok(scene.allocated().relayed.startsWith(RELAYED_V4));
});

Deno.test("2-AL-79 An allocation ends when its time is over, with its socket", () => {
  const scene = new TurnScene();
  const client = scene.allocated();
  client.permit(PEER);
  const { relayed } = client;
  strictEqual(scene.server.nextDeadline(), scene.now + 600_000);
  scene.pass(599);
  ok(scene.relayPort(relayed));
  scene.pass(1);
  strictEqual(scene.relayPort(relayed), undefined);
  strictEqual(client.allocation, undefined);
  strictEqual(scene.sessions[0]?.reason, "expired");
});

Deno.test("2-AL-79 An allocation ends with its connection, even while its port is opened", () => {
  const scene = new TurnScene();
  const client = scene.client("203.0.113.7:1", "tcp");
  client.allocate();
  scene.server.clientGone(client, scene.now);
  scene.settle();
  strictEqual(scene.open.size, 0);
  strictEqual(scene.sessions[0]?.reason, "disconnected");

  const slow = new TurnScene({ opensAtOnce: false });
  const hasty = slow.client("203.0.113.7:1", "tcp");
  const free = slow.server.freePorts;
  hasty.allocate(PAIR);
  slow.server.clientGone(hasty, slow.now);
  slow.settle();
  strictEqual(slow.waiting.length, 0);
  strictEqual(slow.server.freePorts, free);
  strictEqual(slow.server.allocationCount, 0);
  strictEqual(hasty.answer(), undefined);
});

Deno.test("Allocate: a port whose socket fails for good ends its allocation", () => {
  const scene = new TurnScene();
  const client = scene.allocated();
  const port = scene.relayPort(client.relayed)!;
  scene.server.relayPortFailed(port, scene.now);
  scene.server.relayPortFailed(port, scene.now);
  scene.settle();
  strictEqual(client.allocation, undefined);
  strictEqual(scene.sessions[0]?.reason, "port-lost");
});

Deno.test("Allocate: a server that drains grants nothing and keeps what it granted", () => {
  const scene = new TurnScene();
  const client = scene.allocated("203.0.113.7:1", PAIR);
  scene.server.drain();
  const late = scene.client("203.0.113.7:2");
  const answer = late.allocate();
  strictEqual(errorOf(answer), 508);
  ok(late.trusts(answer));
  ok(isSuccess(client.refresh(600)));
  strictEqual(scene.open.size, 2, "with the port that it reserved");
  scene.server.close(scene.now);
  scene.settle();
  strictEqual(scene.open.size, 0);
  strictEqual(scene.sessions[0]?.reason, "closed");
});

Deno.test("Allocate: the session's record says who relayed how much", () => {
  const scene = new TurnScene();
  const client = scene.allocated();
  const { relayed } = client;
  client.permit(PEER);
  client.sendTo(PEER, new Uint8Array(100));
  client.sendTo(PEER, new Uint8Array(50));
  scene.fromPeer(PEER, relayed, new Uint8Array(7));
  scene.pass(10);
  client.refresh(0);
  deepStrictEqual(scene.sessions, [{
    client,
    user: "user",
    reason: "deleted",
    milliseconds: 10_000,
    relayed: [relayed],
    packetsToPeers: 2,
    bytesToPeers: 150,
    packetsToClient: 1,
    bytesToClient: 7,
  }]);
});

Deno.test("Allocate: attributes that mean nothing to it do no harm", () => {
  const scene = new TurnScene();
  const address = encodeXorAddress(parseAddressPort(PEER)!, new Uint8Array(12));
  const answer = scene.client().allocate([AttributeType.XorPeerAddress, address]);
  ok(isSuccess(answer), toHex(answer?.bytes ?? new Uint8Array()));
});
