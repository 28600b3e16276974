import assert from "node:assert/strict";
import { systemHost } from "../../../src/base/host.ts";
import { type TrialOptions, tryRelay } from "../../../src/roles/relay/relay_trial.ts";
import type { RelayOptions } from "../../../src/roles/relay/relay_options.ts";
import { parsePrefix } from "../../../src/base/address.ts";
import { FakeTime } from "../../support/fake_time.ts";
import { untilHolds } from "../../support/rested.ts";
import { hasOpenssl, makeSelfSigned } from "../../support/self_signed.ts";
import { startedRelay } from "../../support/started_relay.ts";

const PATIENT = 30_000;
const HASTY = 300;

for (const transport of ["udp", "tcp", "tls"] as const) {
  Deno.test({ name: `relay check passes over ${transport}`, ignore: !hasOpenssl }, async () => {
    await using certificate = await makeSelfSigned();
    await using relay = await startedRelay({ tls: certificate });
    const port = transport === "tls" ? relay.tlsPort ?? NaN : relay.port;
    const steps = await sentences({
      uri: { host: "localhost", port, transport },
      caCerts: [certificate.cert],
    });
    const name = transport.toUpperCase();
    const address = String.raw`127\.0\.0\.1:\d+`;
    const expected = [
      "ok: the name localhost stands for 127\\.0\\.0\\.1",
      `ok: it answers over ${name} within \\d+ ms, and sees this machine as ${address}`,
      'ok: it asks for credentials of the realm "cairn"',
      `ok: it lets the user in, and relays from ${address} for 600 seconds`,
      "note: 127\\.0\\.0\\.1 is loopback .*: unless all peers are in that network, set --external-ip.*",
      "ok: it lets its clients reach one another",
      `ok: a datagram went from ${address} to ${address} and back`,
      "ok: both allocations were given back",
    ];
    assert.match(steps.join("\n"), new RegExp(`^${expected.join("\n")}$`));
  });
}

/** What is wrong with the relay or the question, and the sentence that says so. */
const FAILURES: {
  readonly name: string;
  readonly relay?: Partial<RelayOptions>;
  readonly trial?: Partial<TrialOptions>;
  readonly code: string;
  readonly message: RegExp;
}[] = [
  {
    name: "a wrong password",
    trial: { password: "wrong" },
    code: "refused",
    message: /does not let this user in: check the user and password/,
  },
  {
    name: "a relay that denies its own addresses",
    relay: { denyPeers: [parsePrefix("127.0.0.0/8")!], allowPeers: [] },
    code: "refused",
    message: /does not let its clients reach its own relayed addresses/,
  },
  {
    name: "a user with a quota of one",
    relay: { userQuota: 1 },
    code: "refused",
    message: /too many allocations: end some, or raise --user-quota/,
  },
  {
    name: "a relay without a free port",
    relay: { relayPorts: { min: 50_000, max: 50_000 } },
    code: "refused",
    message: /has no port to relay from: widen its --port-range/,
  },
];

for (const { name, relay: options, trial, code, message } of FAILURES) {
  Deno.test(`relay check says what is wrong: ${name}`, async () => {
    await using relay = await startedRelay(options);
    const uri = { host: "127.0.0.1", port: relay.port, transport: "udp" } as const;
    await assert.rejects(sentences({ uri, ...trial }), { code, message });
  });
}

Deno.test("relay check says what is wrong: a relay that is a STUN server only", async () => {
  using time = new FakeTime();
  await using relay = await startedRelay({ users: [], restSecrets: [] });
  const uri = { host: "127.0.0.1", port: relay.port, transport: "udp" } as const;
  const said: string[] = [];
  const failure = assert.rejects(sentences({ uri, host: time }, said), {
    code: "timeout",
    message: /answers as a STUN server but does not relay: give the relay --credentials/,
  });
  await untilHolds(() => said.length > 0, () => "it answers");
  time.pass(PATIENT);
  await failure;
});

Deno.test("relay check gives its allocations back, also when it fails", async () => {
  await using relay = await startedRelay({ userQuota: 1 });
  const uri = { host: "127.0.0.1", port: relay.port, transport: "udp" } as const;
  for (let check = 0; check < 2; check++) {
    const said: string[] = [];
    await assert.rejects(sentences({ uri }, said), /too many allocations/);
    assert.match(said.join(), /it lets the user in/);
  }
});

Deno.test("relay check says what is wrong: nothing answers", async () => {
  using silence = new DisposableStack();
  const socket = silence.adopt(
    Deno.listenDatagram({ transport: "udp", hostname: "127.0.0.1", port: 0 }),
    (socket) => socket.close(),
  );
  assert.ok(socket.addr.transport === "udp");
  const uri = { host: "127.0.0.1", port: socket.addr.port, transport: "udp" } as const;
  await assert.rejects(sentences({ uri, timeout: HASTY }), {
    code: "timeout",
    message: /Nothing answers on UDP port \d+: check that the relay runs and that the firewall/,
  });
});

Deno.test("relay check says what is wrong: no connection, no TLS, no TURN", async () => {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const { port } = listener.addr;
  const answering = (async () => {
    for await (const connection of listener) {
      await connection.write(new TextEncoder().encode("HTTP/1.1 400 Bad Request\r\n\r\n"));
      connection.close();
    }
  })();
  await assert.rejects(sentences({ uri: { host: "127.0.0.1", port, transport: "tls" } }), {
    code: "unreachable",
    message:
      /The TLS handshake with 127\.0\.0\.1:\d+ failed .*: check that this is the relay's port/,
  });
  await assert.rejects(sentences({ uri: { host: "127.0.0.1", port, transport: "tcp" } }), {
    code: "closed",
    message: /closed the connection: something else than a TURN server may listen there/,
  });
  listener.close();
  await answering;
  await assert.rejects(sentences({ uri: { host: "127.0.0.1", port, transport: "tcp" } }), {
    code: "unreachable",
    message: /No connection to 127\.0\.0\.1:\d+ .*: check that the relay runs/,
  });
});

Deno.test({
  name: "relay check says what is wrong: a certificate that nobody vouches for",
  ignore: !hasOpenssl,
}, async () => {
  await using certificate = await makeSelfSigned();
  await using relay = await startedRelay({ tls: certificate });
  const uri = { host: "localhost", port: relay.tlsPort ?? NaN, transport: "tls" } as const;
  await assert.rejects(sentences({ uri }), {
    code: "unreachable",
    message: /TLS handshake .* failed .*: check .* that its certificate is for localhost/,
  });
});

/** What a trial yields, one sentence for each step. */
async function sentences(
  options: Pick<TrialOptions, "uri"> & Partial<TrialOptions>,
  said: string[] = [],
): Promise<string[]> {
  const steps = tryRelay({
    username: "user",
    password: "pass",
    timeout: PATIENT,
    host: systemHost,
    ...options,
  });
  for await (const { kind, sentence } of steps) said.push(`${kind}: ${sentence}`);
  return said;
}
