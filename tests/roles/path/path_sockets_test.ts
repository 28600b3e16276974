import { equal } from "node:assert/strict";
import { within } from "../../support/deadline.ts";
import { TEST_UDP_ENGINE } from "../../support/test_udp_engine.ts";
import { loadPathBatches, openPathSockets } from "../../../src/roles/path/path_sockets.ts";
import { openUdpEngine } from "../../../src/roles/relay/udp_engine.ts";

const PATIENT = 180_000;
const script = new URL("../../support/path_engine.ts", import.meta.url).href;

await using available = openUdpEngine(TEST_UDP_ENGINE);
const { engine } = available;

Deno.test({
  name: `Paths move datagrams in batches, also once FFI is given up${
    engine === "batch" ? "" : ": SKIPPED, this machine cannot"
  }`,
  ignore: engine !== "batch",
  async fn() {
    equal(await engineWith("--allow-all"), "batch 7");
  },
});

Deno.test("Paths move datagrams one by one where FFI is not permitted, and ask nobody for it", async () => {
  equal(await engineWith("--allow-net", "--allow-env"), "portable 7");
});

Deno.test("However many paths there are, files can still be read", async () => {
  await using open = new AsyncDisposableStack();
  loadPathBatches();
  // Deno has threads for 32 things that block.
  const sockets = Array.from({ length: 40 }, () => open.use(openPathSockets()));
  equal(sockets.at(-1)?.engine, "portable");
  const read = Deno.readTextFile(new URL(import.meta.url));
  await within(AbortSignal.timeout(PATIENT), read, () => "a file");
});

async function engineWith(...permissions: readonly string[]): Promise<string> {
  const command = new Deno.Command(Deno.execPath(), {
    args: ["run", "--quiet", "--no-check", "--unstable-net", ...permissions, script],
    stdin: "null",
    stderr: "piped",
  });
  const ended = command.output();
  const { stdout, stderr } = await within(AbortSignal.timeout(PATIENT), ended, () => "its engine");
  const decoder = new TextDecoder();
  return decoder.decode(stdout).trim() || decoder.decode(stderr);
}
