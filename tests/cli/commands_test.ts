import assert from "node:assert/strict";
import { OPTIONS } from "../../src/cli/options.ts";
import type { CommandName, OptionRow } from "../../src/cli/settings.ts";
import { VERSION } from "../../src/version.ts";
import { runCairn } from "./run_cairn.ts";

const PEER = "QmYwAPJzv5CZsnA625s3Xf2nemtYgPpHdWEz79ojWnPbdG";

Deno.test("cairn --version prints the version on standard output", async () => {
  const { code, stdout, stderr } = await runCairn(["--version"]);
  assert.deepEqual([code, stdout, stderr], [0, `cairn ${VERSION}\n`, ""]);
});

Deno.test("cairn without a command shows help on standard error and exits 2", async () => {
  const { code, stdout, stderr } = await runCairn([]);
  assert.deepEqual([code, stdout], [2, ""]);
  assert.match(stderr, /Usage: cairn /);
});

Deno.test("cairn --help shows what matters, --help-all every option, neither a secret", async () => {
  const canary = "canary-0123456789";
  const rows: readonly OptionRow<unknown>[] = Object.values(OPTIONS);
  const env: Record<string, string> = {};
  for (const row of rows) if (row.secret && row.env !== undefined) env[row.env] = canary;
  const commands = ["signal", "relay", "relay check", "server", "server pair", "peer send", "up"];
  for (const command of commands as CommandName[]) {
    const some = await runCairn([...command.split(" "), "--help"], { env });
    const all = await runCairn([...command.split(" "), "--help-all"], { env });
    for (const { code, stdout, stderr } of [some, all]) {
      assert.deepEqual([code, stderr], [0, ""]);
      assert.doesNotMatch(stdout, /canary/);
    }
    for (const row of rows) {
      if (!row.commands.includes(command)) continue;
      const flag = new RegExp(`^  ${row.per?.[command]?.flag ?? row.flag}\\b`, "m");
      assert.match(all.stdout, flag);
      if (row.env !== undefined) assert.ok(all.stdout.includes(row.env), row.env);
      assert.equal(flag.test(some.stdout), row.essential === true, `${command} ${row.flag}`);
    }
  }
});

Deno.test("cairn refuses wrong usage with exit status 2, a sentence and a suggestion", async () => {
  const cases: readonly (readonly [args: string, said: RegExp])[] = [
    ["sever", /unknown command 'sever'\n\(Did you mean server\?\)/],
    ["server par", /unknown command 'par' \(cairn server has: id, pair\b/],
    ["relay chek", /unknown command 'chek' \(cairn relay has: check, check-peer\)/],
    ["relay check", /missing required argument 'uri'/],
    ["relay check relay.example.com", /URI: "relay.example.com" is not right; expected turn:/],
    ["relay check turn:localhost", /Say as whom to check: --user .* or --secret/],
    ["relay check turn:localhost --pass hunter2", /Say as whom to check: --user/],
    ["relay check-peer example.com", /ADDRESS: "example.com" is not right; expected an IP/],
    ["relay --credentials hunter2", /--credentials: its value is not right; expected user:pass/],
    ["relay --port-range 1-2", /--port-range: "1-2" is not right; expected a first and a last/],
    ["relay --external-ip 0.0.0.0", /--external-ip: "0.0.0.0" is not right; expected one IPv4/],
    ["signal --lisen-addr 1", /unknown option '--lisen-addr'\n\(Did you mean --listen-addr\?\)/],
    ["signal --listen-addr", /option '--listen-addr <host:port>' argument missing/],
    ["signal --listen-addr nope", /--listen-addr: "nope" is not right; expected an address/],
    ["signal --log inf", /--log: "inf" is not right; expected levels/],
    ["signal --tls-cert c.pem", /--tls-cert .* is set without --tls-key/],
    ["server --psk hunter2", /--psk: its value is not right; expected a key of at least 12/],
    ["server pair", /Say one of --pin, --link and --qr/],
    ["peer send", /missing required argument 'peer'/],
    ["peer send 5Hb7 hello", /PEER: "5Hb7" is not right; expected a whole Peer ID/],
    [`peer send ${PEER}`, /Say what to send/],
    [`peer send ${PEER} text --file x`, /Say what to send/],
    [`peer send ${PEER} --file /nowhere/at/all`, /--file: cannot read "\/nowhere\/at\/all"/],
    [`peer pair --psk ${PEER}`, /Say how to pair/],
    ["peer pair --pin 98AF", /Not a PIN: it has eight letters and digits/],
    ["peer pair cairn://pair?pid=x", /Not a whole pairing link/],
    ["peer pair --pin 98AF-XZ2P --link cairn://pair", /Say only one of --pin, --link, --qr/],
    ["peer pair --qr /nowhere/at/all", /--qr: cannot read "\/nowhere\/at\/all"/],
    ["server approve 5Hb7", /PEER: "5Hb7" is not right; expected a whole Peer ID/],
    ["peer listen --count 0", /--count: "0" is not right; expected a whole number of 1 or more/],
  ];
  for (const [args, said] of cases) {
    const { code, stdout, stderr } = await runCairn(args.split(" "));
    assert.deepEqual([code, stdout], [2, ""], args);
    assert.match(stderr, said);
    assert.match(stderr, /^error: /);
    assert.doesNotMatch(stderr, /hunter2/);
  }
});

Deno.test("cairn names the variable that is wrong, and exits 2", async () => {
  const badLog = await runCairn(["signal"], { env: { RUST_LOG: "debugg" } });
  assert.equal(badLog.code, 2);
  assert.match(badLog.stderr, /^error: RUST_LOG: "debugg" is not right; expected levels/);
  const badPort = await runCairn(["server"], { env: { CAIRN_MGMT_PORT: "http" } });
  assert.equal(badPort.code, 2);
  assert.match(badPort.stderr, /^error: CAIRN_MGMT_PORT: "http" is not right; expected a port/);
});

Deno.test("cairn server id says when no server answers, and how it finds one", async () => {
  const noToken = await runCairn(["server", "id", "--data-dir", "/nowhere/at/all"]);
  assert.equal(noToken.code, 1);
  assert.match(noToken.stderr, /Cannot read the management token from "\/nowhere\/at\/all\//);

  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const { port } = listener.addr;
  listener.close();
  const noServer = await runCairn(["server", "id", "--mgmt-port", String(port)], {
    env: { CAIRN_MGMT_TOKEN: "token" },
  });
  assert.equal(noServer.code, 1);
  assert.match(noServer.stderr, /No server answers at .*; start cairn server, or say where it is/);
});

Deno.test("cairn server id prints the Peer ID that the running server names", async () => {
  let authorization: string | null = null;
  const server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen() {} }, (request) => {
    authorization = request.headers.get("authorization");
    if (authorization !== "Bearer right") return new Response(null, { status: 401 });
    return Response.json({ status: "ok", peer_id: PEER });
  });
  try {
    const args = ["server", "id", "--mgmt-port", String(server.addr.port)];
    const right = await runCairn(args, { env: { CAIRN_MGMT_TOKEN: "right" } });
    assert.deepEqual(right, { code: 0, stdout: `${PEER}\n`, stderr: "" });
    const wrong = await runCairn(args, { env: { CAIRN_MGMT_TOKEN: "wrong" } });
    assert.equal(wrong.code, 1);
    assert.match(wrong.stderr, /refuses the management token; give the right one/);
    assert.doesNotMatch(wrong.stderr, /wrong/);
  } finally {
    await server.shutdown();
  }
});
