import assert from "node:assert/strict";
import { join } from "node:path";
import type { LogRecord } from "@logtape/logtape";
import { systemHost } from "../../src/base/host.ts";
import { type CertificateEvent, CertificateWatch } from "../../src/roles/certificate_watch.ts";
import { listen } from "../../src/roles/http.ts";
import { collectedLog } from "../support/collected_log.ts";
import { hasOpenssl, makeSelfSigned, type SelfSigned } from "../support/self_signed.ts";

const DAY = 86_400_000;

const scenes: Record<string, (scene: Scene) => Promise<void>> = {
  async "a certificate turned over by its links serves new connections, and old ones go on"(scene) {
    const { watch, folder, events } = scene;
    await using next = await makeSelfSigned();
    using old = await scene.connect(scene.first);
    await turnOver(folder, next);
    watch.check();
    assert.deepEqual(events, ["reloaded"]);
    using renewed = await scene.connect(next);
    assert.equal(await ask(renewed), "HTTP/1.1 404 Not Found");
    assert.equal(await ask(old), "HTTP/1.1 404 Not Found");
    await assert.rejects(scene.connect(scene.first), /UnknownIssuer|certificate/);
    watch.check();
    assert.deepEqual(events, ["reloaded"], "what did not change is not read again");
  },

  async "a pair that is half renewed waits for its other half, without a warning"(scene) {
    const { watch, folder, events, log } = scene;
    await using next = await makeSelfSigned();
    await Deno.copyFile(next.certPath, join(folder, "one", "cert.pem"));
    watch.check();
    assert.deepEqual([events, warnings(log)], [[], []]);
    (await scene.connect(scene.first)).close();
    await Deno.copyFile(next.keyPath, join(folder, "one", "key.pem"));
    watch.check();
    assert.deepEqual([events, warnings(log)], [["reloaded"], []]);
    (await scene.connect(next)).close();
  },

  async "a broken certificate keeps the former one, and is said once"(scene) {
    const { watch, folder, events, log } = scene;
    await Deno.writeTextFile(join(folder, "one", "cert.pem"), "broken");
    for (let i = 0; i < 4; i++) watch.check();
    assert.deepEqual(events, ["failed"]);
    assert.deepEqual(warnings(log).map((text) => text.replace(/ \/.*$/, "")), [
      "Keeping the former certificate: The file",
    ]);
    (await scene.connect(scene.first)).close();
    await Deno.remove(join(folder, "one", "key.pem"));
    watch.check();
    watch.check();
    assert.deepEqual(events, ["failed", "failed"]);
    await turnOver(folder, scene.first);
    watch.check();
    assert.deepEqual(events, ["failed", "failed", "reloaded"]);
  },

  async "reload() says at once what is wrong, and loads what did not change"(scene) {
    const { watch, folder, events } = scene;
    watch.reload();
    await Deno.writeTextFile(join(folder, "one", "cert.pem"), "broken");
    watch.reload();
    assert.deepEqual(events, ["reloaded", "failed"]);
  },

  async "it looks by itself, again and again"(scene) {
    await using next = await makeSelfSigned();
    await using watch = scene.watchEvery(5);
    await turnOver(scene.folder, next);
    assert.equal(await watch.event, "reloaded");
  },

  // deno-lint-ignore require-await -- the others wait.
  async "the end is warned of at 30 days, at 7, and when it has come, once each"(scene) {
    const { watch, log, clock } = scene;
    const at = (days: number) => {
      clock.now = scene.end - days * DAY;
      watch.check();
      watch.check();
      return warnings(log).map((text) => text.replace(/certificate .*cert\.pem/, "it"));
    };
    assert.deepEqual(at(30.5), []);
    const first = "The it ends in 29 days; renew it, no restart is needed";
    assert.deepEqual(at(29.5), [first]);
    assert.deepEqual(at(7.5), [first]);
    const second = "The it ends in 6 days; renew it, no restart is needed";
    assert.deepEqual(at(6.5), [first, second]);
    const last = "The it has expired; clients refuse it until it is renewed";
    assert.deepEqual(at(-0.1), [first, second, last]);
  },
};

for (const [name, play] of Object.entries(scenes)) {
  Deno.test({
    name,
    ignore: !hasOpenssl,
    fn: async () => {
      await using scene = await setScene();
      await play(scene);
    },
  });
}

type Scene = Awaited<ReturnType<typeof setScene>>;

/** A server whose files are links through a link, as Kubernetes lays them out. */
async function setScene() {
  const first = await makeSelfSigned(100);
  const folder = await Deno.makeTempDir({ prefix: "cairn-watch-" });
  await Deno.mkdir(join(folder, "one"));
  await Deno.copyFile(first.certPath, join(folder, "one", "cert.pem"));
  await Deno.copyFile(first.keyPath, join(folder, "one", "key.pem"));
  await Deno.symlink("one", join(folder, "data"));
  for (const file of ["cert.pem", "key.pem"]) {
    await Deno.symlink(join("data", file), join(folder, file));
  }
  const tls = { certPath: join(folder, "cert.pem"), keyPath: join(folder, "key.pem") };
  const log = await collectedLog("info");
  const listener = await listen({ host: "127.0.0.1", port: 0, tls });
  const events: CertificateEvent[] = [];
  const clock: { now: number | undefined } = { now: undefined };
  const host = { ...systemHost, now: () => clock.now ?? systemHost.now() };
  const options = { listener, tls, host, role: "signal" };
  const watch = new CertificateWatch({
    ...options,
    interval: 1e6,
    onEvent: (event) => events.push(event),
  });
  return {
    first,
    folder,
    watch,
    events,
    log: log.records,
    clock,
    end: listener.certificate?.validToDate.getTime() ?? NaN,
    async connect(trusted: SelfSigned): Promise<Deno.TlsConn> {
      const connection = await Deno.connectTls({
        hostname: "localhost",
        port: listener.address.port,
        caCerts: [trusted.cert],
      });
      try {
        await connection.handshake();
        return connection;
      } catch (error) {
        connection.close();
        throw error;
      }
    },
    watchEvery(interval: number) {
      const { promise: event, resolve } = Promise.withResolvers<CertificateEvent>();
      const watch = new CertificateWatch({ ...options, interval, onEvent: resolve });
      return {
        event,
        [Symbol.asyncDispose]: () => Promise.resolve(watch.close()),
      };
    },
    async [Symbol.asyncDispose]() {
      watch.close();
      await listener.close();
      await log[Symbol.asyncDispose]();
      await Deno.remove(folder, { recursive: true });
      await first[Symbol.asyncDispose]();
    },
  };
}

/** Puts another pair in place in one step, by renaming the link that all others go through. */
async function turnOver(folder: string, next: SelfSigned): Promise<void> {
  const version = crypto.randomUUID();
  await Deno.mkdir(join(folder, version));
  await Deno.copyFile(next.certPath, join(folder, version, "cert.pem"));
  await Deno.copyFile(next.keyPath, join(folder, version, "key.pem"));
  await Deno.symlink(version, join(folder, "next"));
  await Deno.rename(join(folder, "next"), join(folder, "data"));
}

async function ask(connection: Deno.TlsConn): Promise<string> {
  await connection.write(new TextEncoder().encode("GET / HTTP/1.1\r\nHost: x\r\n\r\n"));
  const buffer = new Uint8Array(1_024);
  const length = await connection.read(buffer);
  return new TextDecoder().decode(buffer.subarray(0, length ?? 0)).split("\r\n")[0] ?? "";
}

function warnings(log: readonly LogRecord[]): string[] {
  return log.filter(({ level }) => level === "warning").map(({ message }) => message.join(""));
}
