import { freePort } from "../support/free_port.ts";
import { equal, match, rejects } from "node:assert/strict";
import { hasOpenssl, makeSelfSigned } from "../support/self_signed.ts";
import {
  type BadInputScene,
  badInputTest,
  type Ended,
  LOOPBACK,
  SECRETS,
  sentenceOf,
  serverArgs,
} from "./bad_input_scene.ts";

const PORT_TAKEN = /^The address 127\.0\.0\.1:(\d+) is already in use: stop the program that uses/;

badInputTest({
  name: "Signal on a port in use names the address and the option, and leaves the other alone",
  async story(scene) {
    const { port, url } = await scene.signal();
    const said = sentenceOf(await scene.run(["signal", "--listen-addr", `${LOOPBACK}:${port}`]));
    equal(PORT_TAKEN.exec(said)?.[1], String(port));
    match(said, /choose another with --listen-addr \(CAIRN_SIGNAL_LISTEN_ADDR\)$/);
    const health = await fetch(`${url.replace("ws", "http")}/healthz`);
    equal(await health.text(), "ok\n");
  },
});

badInputTest({
  name: "A server whose link port is in use says so and leaves its folder and other port free",
  async story(scene) {
    const folder = `${scene.folder}/server`;
    const managementPort = freePort();
    using taken = Deno.listen({ hostname: LOOPBACK, port: 0 });
    const said = sentenceOf(
      await scene.run(serverArgs(folder, managementPort, taken.addr.port)),
    );
    equal(PORT_TAKEN.exec(said)?.[1], String(taken.addr.port));
    match(said, /choose another with --listen-addr \(CAIRN_SERVER_LISTEN_ADDR\)$/);
    await assertNothingListens(managementPort);
    await scene.server(folder);
  },
});

badInputTest({
  name: "A server whose management port is in use says so and leaves its folder and port free",
  async story(scene) {
    const folder = `${scene.folder}/server`;
    const linkPort = freePort();
    using taken = Deno.listen({ hostname: LOOPBACK, port: 0 });
    const said = sentenceOf(await scene.run(serverArgs(folder, taken.addr.port, linkPort)));
    equal(PORT_TAKEN.exec(said)?.[1], String(taken.addr.port));
    match(said, /choose another with --mgmt-port \(CAIRN_MGMT_PORT\)$/);
    await assertNothingListens(linkPort);
    await scene.server(folder);
  },
});

badInputTest({
  name: "cairn up of which one port is in use starts none of its roles",
  async story(scene) {
    const [signalPort, linkPort, relayPort] = [freePort(), freePort(), freePort()];
    using taken = Deno.listen({ hostname: LOOPBACK, port: 0 });
    const said = sentenceOf(
      await scene.run([
        ...["up", "--data-dir", `${scene.folder}/server`],
        ...["--signal-listen-addr", `${LOOPBACK}:${signalPort}`],
        ...["--server-listen-addr", `${LOOPBACK}:${linkPort}`],
        ...["--relay-listen-addr", `${LOOPBACK}:${relayPort}`],
        ...["--mgmt-port", String(taken.addr.port)],
      ], { CAIRN_PSK: SECRETS.psk }),
    );
    equal(PORT_TAKEN.exec(said)?.[1], String(taken.addr.port));
    match(said, /choose another with --mgmt-port \(CAIRN_MGMT_PORT\)$/);
    for (const port of [signalPort, linkPort, relayPort]) await assertNothingListens(port);
    await scene.server(`${scene.folder}/server`);
  },
});

badInputTest({
  name: "An address that this machine has not is refused with the option that names it",
  async story(scene) {
    const ended = await scene.run(["signal", "--listen-addr", "192.0.2.1:0"]);
    const said = sentenceOf(ended, 2);
    match(said, /^Cannot listen on 192\.0\.2\.1:0 \(E\w+\): choose an address of this machine/);
    match(said, /with --listen-addr \(CAIRN_SIGNAL_LISTEN_ADDR\)$/);
  },
});

for (const role of ["signal", "server"] as const) {
  badInputTest({
    name: `A ${role} with a certificate that is not right says which file and how, and runs none`,
    ignore: !hasOpenssl,
    async story(scene) {
      const own = scene.use(await makeSelfSigned());
      const other = scene.use(await makeSelfSigned());
      const { certPath, keyPath } = own;
      const [missing, text] = [`${scene.folder}/missing.pem`, `${scene.folder}/text.pem`];
      await Deno.writeTextFile(text, "Dear diary");
      const start = tlsStarter(scene, role);
      const cases: [cert: string, key: string, said: string][] = [
        [
          missing,
          keyPath,
          `Cannot read the certificate file ${missing} (ENOENT): check the path and its permissions`,
        ],
        [
          scene.folder,
          keyPath,
          `Cannot read the certificate file ${scene.folder} (EISDIR): check the path and its ` +
          "permissions",
        ],
        [
          certPath,
          missing,
          `Cannot read the private key file ${missing} (ENOENT): check the path and its permissions`,
        ],
        [text, keyPath, `The file ${text} does not hold a PEM certificate: give another file`],
        [
          certPath,
          text,
          `The file ${text} does not hold a PEM private key without a password: give another file`,
        ],
        [
          certPath,
          other.keyPath,
          `The private key ${other.keyPath} does not belong to the certificate ${certPath}: give ` +
          "the pair that was issued together",
        ],
      ];
      for (const [cert, key, said] of cases) {
        equal(sentenceOf(await start(["--tls-cert", cert, "--tls-key", key])), said);
      }
      const variable = `CAIRN_${role.toUpperCase()}_TLS`;
      match(
        sentenceOf(await start(["--tls-cert", certPath]), 2),
        new RegExp(`^--tls-cert or ${variable}_CERT is set without --tls-key or ${variable}_KEY; `),
      );
      match(
        sentenceOf(await start(["--tls-key", keyPath]), 2),
        new RegExp(`^--tls-key or ${variable}_KEY is set without --tls-cert or ${variable}_CERT; `),
      );
    },
  });
}

badInputTest({
  name: "A certificate that this user may not read is told by its path",
  // Nothing is unreadable to the superuser.
  ignore: !hasOpenssl || Deno.build.os === "windows" || Deno.uid() === 0,
  async story(scene) {
    const { certPath, keyPath } = scene.use(await makeSelfSigned());
    await Deno.chmod(keyPath, 0o000);
    const start = tlsStarter(scene, "signal");
    equal(
      sentenceOf(await start(["--tls-cert", certPath, "--tls-key", keyPath])),
      `Cannot read the private key file ${keyPath} (EACCES): check the path and its permissions`,
    );
  },
});

function tlsStarter(
  scene: BadInputScene,
  role: "signal" | "server",
): (tls: readonly string[]) => Promise<Ended> {
  const args = role === "signal"
    ? ["signal", "--listen-addr", `${LOOPBACK}:0`]
    : serverArgs(`${scene.folder}/server`, 0);
  return (tls) => scene.run([...args, ...tls], { CAIRN_PSK: SECRETS.psk });
}

async function assertNothingListens(port: number): Promise<void> {
  await rejects(Deno.connect({ hostname: LOOPBACK, port }), Deno.errors.ConnectionRefused);
}
