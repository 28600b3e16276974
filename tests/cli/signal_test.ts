import assert from "node:assert/strict";
import { hasOpenssl, makeSelfSigned } from "../support/self_signed.ts";
import { cairnCommand } from "./run_cairn.ts";

for (const workers of ["1", "2"]) {
  Deno.test({
    name:
      `cairn signal --workers ${workers} takes a renewed certificate at SIGHUP, serves its metrics, ends at SIGTERM`,
    ignore: !hasOpenssl || Deno.build.os === "windows",
    fn: async () => {
      await using first = await makeSelfSigned();
      await using next = await makeSelfSigned();
      const child = cairnCommand(["signal"], {
        env: {
          CAIRN_SIGNAL_LISTEN_ADDR: "127.0.0.1:0",
          CAIRN_SIGNAL_TLS_CERT: first.certPath,
          CAIRN_SIGNAL_TLS_KEY: first.keyPath,
          CAIRN_SIGNAL_METRICS_ADDR: "127.0.0.1:0",
          CAIRN_LOG_FORMAT: "json",
          CAIRN_SIGNAL_WORKERS: workers,
        },
      }, { stdin: "null", stdout: "null" }).spawn();
      const log = child.stderr.pipeThrough(new TextDecoderStream()).getReader();
      let text = "";
      const seen = async (line: RegExp) => {
        while (!line.test(text)) text += (await log.read()).value ?? assert.fail(text);
        return Number(/"port":(\d+)/.exec(line.exec(text)?.[0] ?? "")?.[1]);
      };
      const metrics = await seen(/Metrics are served.*\n/);
      const port = await seen(/Signaling server listens.*\n/);
      // Each thread looks after its certificate by itself.
      const renewed = new RegExp(
        `(New connections get the renewed certificate[^]*){${workers}}\\n`,
      );
      await health(port, first.cert);
      await Deno.copyFile(next.certPath, first.certPath);
      await Deno.copyFile(next.keyPath, first.keyPath);
      child.kill("SIGHUP");
      await seen(renewed);
      await health(port, next.cert);
      const response = await fetch(`http://127.0.0.1:${metrics}/metrics`);
      assert.match(
        await response.text(),
        /\ncairn_signal_certificate_reloads_total\{outcome="reloaded"\} [1-9]/,
      );
      child.kill("SIGTERM");
      for (let part = await log.read(); !part.done; part = await log.read()) text += part.value;
      assert.equal((await child.status).code, 0, text);
    },
  });
}

async function health(port: number, trusted: string): Promise<void> {
  using client = Deno.createHttpClient({ caCerts: [trusted] });
  const response = await fetch(`https://localhost:${port}/healthz`, { client });
  assert.equal(await response.text(), "ok\n");
}
