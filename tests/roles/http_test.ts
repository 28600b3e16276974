import assert from "node:assert/strict";
import { join } from "node:path";
import {
  formatListenAddress,
  listen,
  type ListenOptions,
  parseListenAddress,
} from "../../src/roles/http.ts";
import { FakeTime } from "../support/fake_time.ts";
import { hasOpenssl, makeSelfSigned } from "../support/self_signed.ts";

const LOCAL = { host: "127.0.0.1", port: 0 };

Deno.test("parseListenAddress() reads names, IPv4 and bracketed IPv6", () => {
  const addresses = {
    "127.0.0.1:8080": { host: "127.0.0.1", port: 8080 },
    "0.0.0.0:443": { host: "0.0.0.0", port: 443 },
    "localhost:0": { host: "localhost", port: 0 },
    "signal.example.com:65535": { host: "signal.example.com", port: 65_535 },
    "[::]:443": { host: "::", port: 443 },
    "[fe80::1%eth0]:1": { host: "fe80::1%eth0", port: 1 },
  };
  for (const [text, address] of Object.entries(addresses)) {
    assert.deepEqual(parseListenAddress(text), address);
    assert.equal(formatListenAddress(address), text);
  }
});

Deno.test("parseListenAddress() says how to write what it cannot read", () => {
  const texts = ["", "8080", ":8080", "localhost", "localhost:", "localhost:65536", "::1:80"];
  texts.push("[::1]", "::", "a b:1", "http://localhost:80", "localhost:80/x", "[x]:1", "h:-1");
  for (const text of texts) {
    assert.throws(() => parseListenAddress(text), {
      name: "CairnError",
      code: "invalid-option",
      message: `"${text}" is not an address to listen on: write it as 127.0.0.1:8080 or [::1]:8080`,
    });
  }
});

Deno.test("listen() answers with its handler, or with 404 without one", async () => {
  await using named = await open({
    ...LOCAL,
    onRequest: (_request, response) => response.end("hello"),
  });
  assert.equal(await page(named.port), "200 hello");
  await using nameless = await open(LOCAL);
  assert.equal(await page(nameless.port), "404 Not found\n");
});

Deno.test("listen() names the address that is in use and the option to change it", async () => {
  await using first = await open(LOCAL);
  await assert.rejects(listen({ host: "127.0.0.1", port: first.port }), {
    name: "CairnError",
    code: "address-in-use",
    message: `The address 127.0.0.1:${first.port} is already in use: stop the program that uses ` +
      "it, or choose another with --listen-addr",
  });
  await assert.rejects(
    listen({ host: "127.0.0.1", port: first.port, option: "--mgmt-port" }),
    { code: "address-in-use", message: /choose another with --mgmt-port$/ },
  );
  assert.equal(await page(first.port), "404 Not found\n");
});

Deno.test("listen() explains an address that this machine has not", async () => {
  await assert.rejects(listen({ host: "192.0.2.1", port: 0 }), {
    code: "invalid-option",
    message: /^Cannot listen on 192\.0\.2\.1:0 \(E\w+\): choose an address of this machine/,
  });
});

Deno.test({
  name: "listen() speaks TLS with the given certificate",
  ignore: !hasOpenssl,
  fn: async () => {
    await using tls = await makeSelfSigned();
    await using server = await open({ ...LOCAL, tls });
    using client = Deno.createHttpClient({ caCerts: [tls.cert] });
    const response = await fetch(`https://localhost:${server.port}/`, { client });
    assert.equal(await response.text(), "Not found\n");
  },
});

Deno.test({
  name: "listen() names the certificate file that is wrong, and how",
  ignore: !hasOpenssl,
  fn: async () => {
    await using tls = await makeSelfSigned();
    await using other = await makeSelfSigned();
    const { certPath, keyPath } = tls;
    const missing = join(certPath, "..", "missing.pem");
    const refused: [wrong: { certPath: string; keyPath: string }, message: string][] = [
      [
        { certPath: missing, keyPath },
        `Cannot read the certificate file ${missing} (ENOENT): check the path and its permissions`,
      ],
      [
        { certPath, keyPath: missing },
        `Cannot read the private key file ${missing} (ENOENT): check the path and its permissions`,
      ],
      [
        { certPath: keyPath, keyPath },
        `The file ${keyPath} does not hold a PEM certificate: give another file`,
      ],
      [
        { certPath, keyPath: certPath },
        `The file ${certPath} does not hold a PEM private key without a password: give another file`,
      ],
      [
        { certPath, keyPath: other.keyPath },
        `The private key ${other.keyPath} does not belong to the certificate ${certPath}: give the ` +
        "pair that was issued together",
      ],
    ];
    for (const [wrong, message] of refused) {
      await assert.rejects(listen({ ...LOCAL, tls: wrong }), {
        name: "CairnError",
        code: "certificate-unreadable",
        message,
      });
    }
  },
});

Deno.test("what is not HTTP costs its own connection only", async () => {
  await using server = await open(LOCAL);
  using connection = await Deno.connect({ hostname: "127.0.0.1", port: server.port });
  await connection.write(new TextEncoder().encode("\x16\x03\x01 hello\r\n\r\n"));
  assert.equal(await connection.read(new Uint8Array(1)), null);
  assert.equal(await page(server.port), "404 Not found\n");
});

Deno.test("close() ends although a reader stalls and another client says nothing", async () => {
  using time = new FakeTime();
  const server = await open({
    ...LOCAL,
    onRequest: (_request, response) => response.end(new Uint8Array(30_000_000)),
  });
  using silent = await Deno.connect({ hostname: "127.0.0.1", port: server.port });
  using stalled = await Deno.connect({ hostname: "127.0.0.1", port: server.port });
  await stalled.write(new TextEncoder().encode("GET / HTTP/1.1\r\nHost: x\r\n\r\n"));
  await stalled.read(new Uint8Array(1));
  const closed = Promise.all([server.close(), server.close()]);
  time.pass(2_000);
  await closed;
  await assert.rejects(drain(stalled), Deno.errors.ConnectionReset);
  await assert.rejects(drain(silent), Deno.errors.ConnectionReset);
});

Deno.test("close() lets an answer that is under way arrive", async () => {
  let finish = () => {};
  const server = await open({
    ...LOCAL,
    onRequest: (_request, response) => {
      response.write("first ");
      finish = () => response.end("last");
    },
  });
  const response = await fetch(`http://127.0.0.1:${server.port}/`);
  const closed = server.close();
  finish();
  assert.equal(await response.text(), "first last");
  await closed;
});

async function open(options: ListenOptions) {
  const listener = await listen(options);
  return {
    port: listener.address.port,
    close: () => listener.close(),
    [Symbol.asyncDispose]: () => listener.close(),
  };
}

async function page(port: number): Promise<string> {
  const response = await fetch(`http://127.0.0.1:${port}/`);
  return `${response.status} ${await response.text()}`;
}

async function drain(connection: Deno.Conn): Promise<void> {
  const buffer = new Uint8Array(65_536);
  while (await connection.read(buffer) !== null);
}
