import assert from "node:assert/strict";
import { getLogger } from "@logtape/logtape";
import { parseLogFilter } from "../../src/base/log_filter.ts";
import { startLogging } from "../../src/cli/logging.ts";

const LEVELS = ["debug", "info", "warn", "error"] as const;

Deno.test("RUST_LOG=info shows everything from info up", () => {
  assert.deepEqual(shown("info"), [
    ..."signal info,signal warn,signal error,relay info,relay warn,relay error".split(","),
  ]);
});

Deno.test("RUST_LOG=cairn_signal=debug shows the details of signal and the errors of the rest", () => {
  assert.deepEqual(shown("cairn_signal=debug"), [
    ..."signal debug,signal info,signal warn,signal error,relay error".split(","),
  ]);
});

Deno.test("RUST_LOG=warn,cairn_relay=trace shows the warnings, and all of the relay", () => {
  assert.deepEqual(shown("warn,cairn_relay=trace"), [
    ..."signal warn,signal error,relay debug,relay info,relay warn,relay error".split(","),
  ]);
});

Deno.test("RUST_LOG=off shows nothing, save what a later directive lets through", () => {
  assert.deepEqual(shown("off"), []);
  assert.deepEqual(shown("off,cairn_relay=error"), ["relay error"]);
});

Deno.test("The JSON log has the message with its values, the category and the properties", () => {
  const [line] = written("info", "json", () => {
    getLogger(["cairn", "server", "mailbox"]).info("Kept {count} for {peer}", {
      count: 3,
      peer: "Qm\n\u001b[31m",
    });
  });
  const { level, message, logger, properties } = JSON.parse(line ?? "");
  assert.equal(level, "INFO");
  assert.equal(logger, "cairn::server::mailbox");
  assert.equal(message, "Kept 3 for Qm\n\u001b[31m");
  assert.deepEqual(properties, { count: 3, peer: "Qm\n\u001b[31m" });
});

Deno.test("The pretty log keeps a record on its line and a remote's escapes from the terminal", () => {
  const lines = written("info", "pretty", () => {
    getLogger(["cairn", "server"]).warn("From {peer}", { peer: "Qm\nforged line\u001b[31m\u009b" });
  });
  assert.equal(lines.length, 1);
  assert.match(
    lines[0] ?? "",
    /warning cairn::server From Qm\\u000aforged line\\u001b\[31m\\u009b$/,
  );
});

Deno.test("The log shows an error with its stack", () => {
  for (const format of ["json", "pretty"] as const) {
    const lines = written("info", format, () => {
      getLogger(["cairn", "cli"]).error("It failed: {error}", { error: new Error("for a reason") });
    });
    assert.match(lines.join("\n"), /It failed: for a reason/, format);
    if (format === "json") assert.match(lines.join("\n"), /logging_test\.ts/);
  }
});

function shown(filter: string): string[] {
  const lines = written(filter, "json", () => {
    for (const role of ["signal", "relay"]) {
      for (const level of LEVELS) getLogger(["cairn", role])[level](`${role} ${level}`);
    }
  });
  return lines.map((line) => JSON.parse(line).message);
}

/** The lines that `act` makes the log write. */
function written(filter: string, format: "json" | "pretty", act: () => void): string[] {
  let text = "";
  startLogging(parseLogFilter(filter) ?? assert.fail(filter), format, (part) => text += part);
  try {
    act();
  } finally {
    startLogging(parseLogFilter("off") ?? [], format);
  }
  return text.split("\n").filter((line) => line !== "");
}
