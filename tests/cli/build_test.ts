import assert from "node:assert/strict";
import { VERSION } from "../../src/version.ts";

const BUILD = new URL("../../tasks/build.ts", import.meta.url);

Deno.test("deno task build makes a cairn that runs, and says which of the two it made", async () => {
  await withBuilt([], async (cairn, said) => {
    assert.match(said, /: a program that needs nothing installed|: a portable file that runs with/);
    await itRuns(cairn);
  });
});

Deno.test("The portable cairn runs with Deno on the path", async () => {
  await withBuilt(["--portable"], async (cairn, said) => {
    assert.match(said, /: a portable file that runs with Deno, or with Node and npm/);
    await itRuns(cairn);
  });
});

Deno.test("The portable cairn asks npm for Deno where there is none, or one that is too old", async () => {
  await withBuilt(["--portable"], async (cairn, _said, folder) => {
    const bin = `${folder}/bin`;
    await Deno.mkdir(bin);
    const askedFile = `${folder}/asked`;
    await program(`${bin}/npx`, `echo "$@" > ${askedFile}\necho ${Deno.execPath()}`);
    const onlyNpm = { PATH: bin, HOME: folder };
    assert.equal(await versionOf(cairn, onlyNpm), `cairn ${VERSION}\n`);
    assert.match(await Deno.readTextFile(askedFile), /^-y deno@2\.9\.6 eval /);

    await Deno.remove(askedFile);
    await program(`${bin}/deno`, "echo deno 2.8.4");
    const elsewhere = { ...onlyNpm, XDG_CACHE_HOME: `${folder}/cache` };
    assert.equal(await versionOf(cairn, elsewhere), `cairn ${VERSION}\n`);
    await Deno.stat(askedFile);
  });
});

Deno.test("The portable cairn asks npm once, and again when the Deno that it found is gone", async () => {
  await withBuilt(["--portable"], async (cairn, _said, folder) => {
    const [bin, cache] = [`${folder}/bin`, `${folder}/cache`];
    await Deno.mkdir(bin);
    const asked = `${folder}/asked`;
    const found = `${folder}/found`;
    // The only program of /bin that it needs; there may be a Deno there, too.
    await Deno.symlink("/bin/mkdir", `${bin}/mkdir`);
    await program(`${bin}/npx`, `echo asked >> ${asked}\necho ${found}`);
    const env = { PATH: bin, HOME: folder, XDG_CACHE_HOME: cache };
    const times = async () => (await Deno.readTextFile(asked)).split("\n").length - 1;
    await Deno.symlink(Deno.execPath(), found);
    for (const _run of [1, 2]) assert.equal(await versionOf(cairn, env), `cairn ${VERSION}\n`);
    assert.equal(await times(), 1);

    await Deno.writeTextFile(`${cache}/cairn/deno-2.9.6`, "/no/such/deno\n");
    assert.equal(await versionOf(cairn, env), `cairn ${VERSION}\n`);
    assert.equal(await times(), 2);

    // Nor does it run what is no program, or what another user says.
    const remembered = `${cache}/cairn/deno-2.9.6`;
    await Deno.writeTextFile(remembered, `${folder}\n`);
    assert.equal(await versionOf(cairn, env), `cairn ${VERSION}\n`);
    assert.equal(await times(), 3);
    if (Deno.uid() === 0) {
      await program(`${folder}/evil`, "echo evil");
      await Deno.writeTextFile(remembered, `${folder}/evil\n`);
      await Deno.chown(remembered, 65_534, 65_534);
    } else {
      await Deno.writeTextFile(remembered, "");
    }
    assert.equal(await versionOf(cairn, env), `cairn ${VERSION}\n`);
    assert.equal(await times(), 4);

    // Nowhere to remember it: it runs all the same.
    await Deno.remove(cache, { recursive: true });
    await Deno.writeTextFile(cache, "");
    assert.equal(await versionOf(cairn, env), `cairn ${VERSION}\n`);
    assert.equal(await versionOf(cairn, { PATH: bin }), `cairn ${VERSION}\n`);
    assert.equal(await times(), 6);
  });
});

Deno.test("The portable cairn says what it needs where there is neither Deno nor npm", async () => {
  await withBuilt(["--portable"], async (cairn, _said, folder) => {
    const { code, stderr } = await new Deno.Command(cairn, {
      args: ["--version"],
      clearEnv: true,
      env: { PATH: folder },
      stdin: "null",
    }).output();
    assert.equal(code, 1);
    assert.match(new TextDecoder().decode(stderr), /cairn needs Deno 2\.9\.6 or newer, or Node/);
  });
});

async function withBuilt(
  args: readonly string[],
  use: (cairn: string, said: string, folder: string) => Promise<void>,
): Promise<void> {
  const folder = await Deno.makeTempDir({ prefix: "cairn-build-test-" });
  try {
    const cairn = `${folder}/cairn`;
    const { success, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
      args: ["run", "-A", BUILD.href, "--output", cairn, ...args],
      stdin: "null",
    }).output();
    assert.ok(success, new TextDecoder().decode(stderr));
    await use(cairn, new TextDecoder().decode(stdout), folder);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

/** It prints its version, and a role starts and ends in order. */
async function itRuns(cairn: string): Promise<void> {
  assert.equal(await versionOf(cairn, {}), `cairn ${VERSION}\n`);
  const child = new Deno.Command(cairn, {
    args: ["signal", "--listen-addr", "127.0.0.1:0"],
    env: { RUST_LOG: "info", CAIRN_LOG_FORMAT: "json" },
    stdin: "null",
    stdout: "null",
    stderr: "piped",
  }).spawn();
  const log = child.stderr.pipeThrough(new TextDecoderStream()).getReader();
  const first = (await log.read()).value ?? "";
  child.kill("SIGTERM");
  let rest = "";
  for (let part = await log.read(); !part.done; part = await log.read()) rest += part.value;
  assert.equal((await child.status).code, 0, first + rest);
}

async function versionOf(cairn: string, env: Record<string, string>): Promise<string> {
  const { stdout, stderr } = await new Deno.Command(cairn, {
    args: ["--version"],
    clearEnv: env.PATH !== undefined,
    env,
    stdin: "null",
  }).output();
  const text = new TextDecoder().decode(stdout);
  assert.notEqual(text, "", new TextDecoder().decode(stderr));
  return text;
}

async function program(path: string, text: string): Promise<void> {
  await Deno.writeTextFile(path, `#!/bin/sh\n${text}\n`);
  await Deno.chmod(path, 0o755);
}
