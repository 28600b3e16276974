import assert from "node:assert/strict";
import { EndRequests } from "../../src/cli/process_life.ts";
import { cairnCommand, runCairn, type RunOptions } from "./run_cairn.ts";

const script = new URL("idle_role.ts", import.meta.url);

Deno.test("EndRequests takes a signal within a second as an echo and a later one as insistence", () => {
  const requests = new EndRequests();
  assert.equal(requests.receive(5000), "end");
  assert.equal(requests.receive(5001), "echo");
  assert.equal(requests.receive(5999), "echo");
  assert.equal(requests.receive(6000), "end-at-once");
});

for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
  Deno.test(`A role ends in order at ${signal}, and its echo changes nothing`, async () => {
    const role = await idleRole();
    role.child.kill(signal);
    role.child.kill(signal);
    assert.deepEqual(await role.ended(), { code: 0, stdout: "closing\nclosed\n" });
  });
}

Deno.test("SIGHUP while a role starts does not end it, and reaches it when it has started", {
  ignore: Deno.build.os === "windows",
}, async () => {
  const role = await idleRole(["late"]);
  role.child.kill("SIGHUP");
  assert.deepEqual(await role.ended(), { code: 0, stdout: "reloaded\nclosing\nclosed\n" });
});

Deno.test("A role that does not manage to close ends at once when asked again after a second", async () => {
  const role = await idleRole(["hang"]);
  role.child.kill("SIGTERM");
  const insist = setInterval(() => role.insist("SIGINT"), 250);
  try {
    assert.deepEqual(await role.ended(), { code: 1, stdout: "closing\n" });
  } finally {
    clearInterval(insist);
  }
});

Deno.test("A role that watches its standard input ends when that closes", async () => {
  const role = await idleRole([], { env: { CAIRN_PARENT_STDIN: "1" } });
  await role.closeStdin();
  assert.deepEqual(await role.ended(), { code: 0, stdout: "closing\nclosed\n" });
});

Deno.test("A role gives up the permission to run programs", async () => {
  const role = await idleRole();
  assert.match(role.firstLine, /run=(prompt|denied)/);
  role.child.kill("SIGTERM");
  await role.ended();
});

for (const manner of ["reject", "throw"]) {
  Deno.test(`A role that nobody caught a failure of (${manner}) logs it and exits 1`, async () => {
    const { code, stderr } = await runCairn([manner], { script });
    assert.equal(code, 1);
    const last = JSON.parse(stderr.trimEnd().split("\n").at(-1) ?? "");
    assert.equal(last.level, "FATAL");
    assert.equal(last.message, "Ending after an unexpected failure: nobody caught this");
  });
}

/** Starts the idle role and waits until it runs. */
async function idleRole(args: readonly string[] = [], options: RunOptions = {}) {
  const child = cairnCommand(args, { ...options, script }, { stdin: "piped", stderr: "null" })
    .spawn();
  const stdin = child.stdin.getWriter();
  const lines = child.stdout.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  while (!text.includes("\n")) text += (await lines.read()).value ?? assert.fail("ended too early");
  const [firstLine = "", rest = ""] = text.split(/\n(.*)/s);
  return {
    child,
    firstLine,
    /** Also when it has just ended. */
    insist(signal: Deno.Signal) {
      try {
        child.kill(signal);
      } catch (error) {
        assert.ok(error instanceof TypeError || error instanceof Deno.errors.NotFound);
      }
    },
    closeStdin: () => stdin.close(),
    async ended() {
      let stdout = rest;
      for (let part = await lines.read(); !part.done; part = await lines.read()) {
        stdout += part.value;
      }
      const { code } = await child.status;
      await stdin.close().catch(() => {}); // The other end is gone, or the test closed it.
      return { code, stdout };
    },
  };
}
