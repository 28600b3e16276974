/** The passphrase of a backup as somebody at a terminal gives it. */

import { deepEqual, doesNotMatch, equal, match } from "node:assert/strict";
import { fileURLToPath } from "node:url";
import { runCairn } from "./run_cairn.ts";

const MAIN = fileURLToPath(new URL("../../main.ts", import.meta.url));
const TERMINAL = fileURLToPath(new URL("../support/terminal.py", import.meta.url));
const PASSPHRASE = "neun grüne Äpfel";
const ENTER = "\r";
const ERASE = "\x7f";
const CONTROL_C = "\x03";
const DEADLINE = 300_000;

const hasPython = await new Deno.Command("python3", {
  args: ["-c", "import pty, termios; pty.openpty()"],
})
  .output().then(({ success }) => success, () => false);
const ignore = !hasPython || Deno.build.os === "windows";
const note = ignore ? " (skipped: there is no Python 3 with a pty)" : "";

Deno.test(`A passphrase is typed at a terminal, twice, and never shown${note}`, {
  ignore,
}, async () => {
  await withPeer(async (folder, file) => {
    const typed = `${PASSPHRASE}x${ERASE}${ENTER}`;
    const made = await atTerminal(
      ["Passphrase: ", typed, "Once more: ", `${PASSPHRASE}${ENTER}`],
      ["peer", "backup", file, "--data-dir", folder],
    );
    equal(made.code, 0, made.shown);
    match(made.shown, /^Passphrase: \r\nOnce more: \r\nBackup of peer Qm/);
    doesNotMatch(made.shown, /Äpfel/);

    const verify = ["peer", "restore", file, "--verify"];
    const checked = await atTerminal(["Passphrase: ", `${PASSPHRASE}${ENTER}`], verify);
    equal(checked.code, 0, checked.shown);
    match(checked.shown, /^Passphrase: \r\nWhole and right: peer Qm/);
    const wrong = await atTerminal(["Passphrase: ", `another passphrase${ENTER}`], verify);
    equal(wrong.code, 1, wrong.shown);
  });
});

Deno.test(`What is pasted for both questions answers both${note}`, { ignore }, async () => {
  await withPeer(async (folder, file) => {
    const pasted = `${PASSPHRASE}${ENTER}`.repeat(2);
    const backup = ["peer", "backup", file, "--data-dir", folder];
    const made = await atTerminal(["Passphrase: ", pasted], backup);
    equal(made.code, 0, made.shown);
    match(made.shown, /Backup of peer Qm/);
  });
});

Deno.test(`Two passphrases that differ, or Ctrl-C, make no backup${note}`, { ignore }, async () => {
  await withPeer(async (folder, file) => {
    const backup = ["peer", "backup", file, "--data-dir", folder];
    const first = ["Passphrase: ", `${PASSPHRASE}${ENTER}`];
    const slip = await atTerminal(
      [...first, "Once more: ", `${PASSPHRASE}!${ENTER}`],
      backup,
    );
    match(slip.shown, /error: The two are not the same: run the command again/);
    const stopped = await atTerminal([...first, "Once more: ", CONTROL_C], backup);
    match(stopped.shown, /error: Interrupted before there was a passphrase/);
    deepEqual([slip.code, stopped.code], [2, 1]);
    const names = await Array.fromAsync(Deno.readDir(file.replace(/[^/]+$/, "")));
    deepEqual(names.map(({ name }) => name), ["peer"]);
  });
});

async function withPeer(story: (folder: string, file: string) => Promise<void>): Promise<void> {
  const base = await Deno.makeTempDir({ prefix: "cairn-terminal-" });
  try {
    const folder = `${base}/peer`;
    equal((await runCairn(["peer", "id", "--data-dir", folder])).code, 0);
    await story(folder, `${base}/peer.age`);
  } finally {
    await Deno.remove(base, { recursive: true });
  }
}

/** Runs cairn on a terminal at which `answers` are typed, each behind its question. */
async function atTerminal(answers: readonly string[], args: readonly string[]) {
  const cairn = [Deno.execPath(), "run", "--quiet", "-A", "--unstable-kv", "--unstable-net", MAIN];
  const { code, stdout, stderr } = await new Deno.Command("python3", {
    args: [TERMINAL, ...answers, "--", ...cairn, ...args],
    env: { NO_COLOR: "1" },
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
    signal: AbortSignal.timeout(DEADLINE),
  }).output();
  const decoder = new TextDecoder();
  return { code, shown: decoder.decode(stdout) + decoder.decode(stderr) };
}
