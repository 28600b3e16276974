import assert from "node:assert/strict";
import { formatAddressPort } from "../../../src/base/address.ts";
import { decodeStunMessage } from "../../../src/protocol/stun/message.ts";
import {
  encodeCheck,
  requestedFragment,
  sessionCredentials,
  verifyCheck,
} from "../../../src/protocol/ice/connectivity_check.ts";
import { at, IceWorld, type NatKind } from "./ice_world.ts";

const DIRECT: readonly [NatKind, NatKind][] = [
  ["open", "open"],
  ["open", "symmetric"],
  ["symmetric", "open"],
  ["port_restricted_cone", "open"],
  ["full_cone", "port_restricted_cone"],
  ["port_restricted_cone", "port_restricted_cone"],
  ["symmetric", "full_cone"],
];

for (const [offerer, answerer] of DIRECT) {
  Deno.test(`IceAgent finds a direct way: ${offerer} to ${answerer}`, () => {
    const world = new IceWorld(offerer, answerer);
    world.introduce();
    world.pass(1_000);
    assert.equal(world.offerer.selected?.isRelayed, false);
    assert.equal(world.offerer.selected?.state, "valid");
    assert.equal(world.answerer.selected?.state, "valid");
  });
}

for (
  const [offerer, answerer] of [["symmetric", "symmetric"], [
    "symmetric",
    "port_restricted_cone",
  ]] as const
) {
  Deno.test(`IceAgent takes the relay where there is no direct way: ${offerer} to ${answerer}`, () => {
    const world = new IceWorld(offerer, answerer);
    world.offerer.allocate();
    world.answerer.allocate();
    world.introduce();
    world.pass(10_000);
    assert.equal(world.offerer.selected?.isRelayed, true);
    assert.equal(world.answerer.selected?.state, "valid");
  });
}

Deno.test("IceAgent gives a direct pair a head start over a relayed one", () => {
  const world = new IceWorld("port_restricted_cone", "port_restricted_cone");
  world.offerer.allocate();
  world.answerer.allocate();
  world.introduce();
  world.pass(2_000);
  assert.equal(world.offerer.selected?.isRelayed, false);
  assert.equal(world.offerer.choices, 1);
});

Deno.test("IceAgent begins on the relay and moves to a direct pair that opens later", () => {
  const world = new IceWorld("open", "open");
  world.offerer.allocate();
  let isBlocked = true;
  world.passes = ({ from, to }) => {
    return !isBlocked || [from, to].some(({ address }) => address[0] === 192);
  };
  world.introduce();
  world.pass(8_000);
  assert.equal(world.offerer.selected?.isRelayed, true);
  isBlocked = false;
  world.pass(12_000);
  assert.equal(world.offerer.selected?.isRelayed, false);
  assert.equal(world.answerer.selected?.isRelayed, false);
});

Deno.test("IceAgent leaves a pair that falls silent within seconds, and says so", () => {
  const world = new IceWorld("open", "open");
  world.offerer.allocate();
  world.introduce();
  world.pass(1_000);
  assert.equal(world.offerer.selected?.isRelayed, false);
  world.passes = ({ from, to }) => [from, to].some(({ address }) => address[0] === 192);
  world.pass(8_000);
  assert.equal(world.offerer.selected?.isRelayed, true);
  assert.equal(world.answerer.selected?.isRelayed, true);
  const steadiness = world.offerer.said.flatMap((e) => e.kind === "steady" ? [e.isSteady] : []);
  assert.deepEqual(steadiness, [false, true]);
});

Deno.test("IceAgent follows a remote whose address has changed", () => {
  const world = new IceWorld("port_restricted_cone", "open");
  world.introduce();
  world.pass(1_000);
  world.offerer.rebind("198.51.100.77");
  world.pass(7_000);
  const remote = world.answerer.selected?.remote;
  assert.match(remote ? formatAddressPort(remote) : "", /^198\.51\.100\.77:/);
});

Deno.test("IceAgent checks at once when it is told that the network changed", () => {
  const world = new IceWorld("port_restricted_cone", "open");
  world.introduce();
  world.pass(1_000);
  world.offerer.rebind("198.51.100.77");
  world.offerer.agent.recheck(world.now);
  world.pass(300);
  const remote = world.answerer.selected?.remote;
  assert.match(remote ? formatAddressPort(remote) : "", /^198\.51\.100\.77:/);
});

Deno.test("IceAgent finds a direct way again however late it hears of a remote's new address", () => {
  const world = new IceWorld("port_restricted_cone", "port_restricted_cone");
  world.offerer.allocate();
  world.introduce();
  world.pass(1_000);
  assert.equal(world.offerer.selected?.isRelayed, false);
  world.offerer.rebind("198.51.100.77");
  world.pass(300_000);
  assert.equal(world.offerer.selected?.isRelayed, true);
  const to = world.answerer.candidates[1]?.address;
  assert.ok(to, "what a STUN server says of the answerer");
  // A first check goes out of the new address, which the answerer then hears of.
  world.sent.length = 0;
  world.offerer.agent.recheck(world.now, "failed");
  world.pass(50);
  const sent = world.sent.find((datagram) =>
    formatAddressPort(datagram.to) === formatAddressPort(to)
  );
  assert.ok(sent, "what failed is checked again");
  world.answerer.agent.addRemote({ type: "srflx", address: sent.from });
  world.answerer.agent.recheck(world.now, "failed");
  world.pass(2_000);
  assert.equal(world.offerer.selected?.isRelayed, false);
  assert.equal(world.answerer.selected?.isRelayed, false);
});

Deno.test("IceAgent keeps a pair through loss, and consent goes on", () => {
  const world = new IceWorld("port_restricted_cone", "port_restricted_cone");
  world.passes = () => world.random(1)[0]! >= 64;
  world.introduce();
  world.pass(120_000);
  assert.equal(world.offerer.selected?.state, "valid");
  assert.ok(!world.offerer.said.some(({ kind }) => kind === "lost"));
  // At least one consent check in each 6 s, both ways.
  assert.ok(world.sent.filter(({ at }) => at > 60_000).length >= 20);
});

Deno.test("IceAgent ends when nothing answers any more", () => {
  const world = new IceWorld("open", "open");
  world.introduce();
  world.pass(1_000);
  world.passes = () => false;
  world.pass(17_000);
  assert.deepEqual(world.offerer.said.at(-1), { kind: "lost" });
  assert.deepEqual(world.answerer.said.at(-1), { kind: "lost" });
  assert.equal(world.offerer.agent.nextDeadline(), Infinity);
});

Deno.test("IceAgent gives up after 20 s where no address answers, and sends little until then", () => {
  const world = new IceWorld("symmetric", "symmetric");
  world.introduce();
  world.pass(60_000);
  assert.deepEqual(world.offerer.said.map(({ kind }) => kind), ["lost"]);
  assert.ok(world.sent.length < 100, `${world.sent.length} datagrams`);
});

Deno.test("IceAgent takes nothing from who does not know the passwords", () => {
  const world = new IceWorld("open", "open");
  world.introduce();
  const { local, remote } = strangers();
  const check = encodeCheck({
    transactionId: new Uint8Array(12),
    role: "controlling",
    local,
    remote,
    priority: 1,
    nominate: true,
  });
  const message = decodeStunMessage(check);
  assert.ok(message);
  const source = at("198.51.100.66", 666);
  assert.equal(requestedFragment(message), world.answerer.credentials.fragment);
  assert.equal(world.answerer.agent.receive(message, "udp4", source, world.now), false);
  assert.equal(world.answerer.agent.knows("udp4", source), false);
  assert.equal(verifyCheck(message, world.answerer.credentials), undefined);
});

Deno.test("IceAgent takes no answer from another address than it asked", () => {
  const world = new IceWorld("open", "open");
  const answers: Uint8Array[] = [];
  world.passes = ({ bytes }) => {
    const isAnswer = bytes[0] === 1;
    if (isAnswer) answers.push(bytes);
    return !isAnswer;
  };
  world.introduce();
  world.pass(300);
  assert.ok(answers.length > 0);
  for (const bytes of answers) {
    const message = decodeStunMessage(bytes);
    assert.ok(message);
    const source = at("198.51.100.66", 666);
    assert.equal(world.offerer.agent.receive(message, "udp4", source, world.now), false);
  }
});

Deno.test("IceAgent bounds the addresses that a remote makes it try", () => {
  const world = new IceWorld("open", "open");
  world.introduce();
  for (let port = 1; port < 1_000; port++) {
    world.answerer.agent.addRemote({ type: "srflx", address: at("203.0.113.200", port) });
  }
  assert.ok([...world.answerer.agent.pairs].length <= 24);
});

Deno.test("IceAgent leaves a pair that is doubted sooner than its next check would be", () => {
  const world = new IceWorld("open", "open");
  world.offerer.allocate();
  world.answerer.allocate();
  world.introduce();
  world.pass(2_000);
  assert.equal(world.offerer.selected?.isRelayed, false);
  world.passes = ({ to }) => !formatAddressPort(to).startsWith("203.0.113.1:");
  world.offerer.agent.doubt(world.now);
  world.pass(2_500);
  assert.equal(world.offerer.selected?.isRelayed, true);
});

Deno.test("IceAgent does not ask a way out for an address that it cannot reach", () => {
  const world = new IceWorld("open", "open");
  const { agent } = world.offerer;
  const reaches = ({ 0: first }: Uint8Array) => first !== 10;
  agent.addBase({ id: "relay", type: "relay", family: 4, reaches });
  agent.addRemote({ type: "host", address: at("10.0.0.7", 5) });
  agent.addRemote({ type: "srflx", address: at("198.51.100.9", 5) });
  const onRelay = [...agent.pairs].filter(({ base }) => base.id === "relay");
  assert.deepEqual(onRelay.map(({ remote }) => formatAddressPort(remote)), ["198.51.100.9:5"]);
});

function strangers() {
  const session = new Uint8Array(16).fill(7);
  const password = new Uint8Array(16).fill(99);
  return {
    local: sessionCredentials(session, "controlling", password),
    remote: sessionCredentials(session, "controlled", password),
  };
}
