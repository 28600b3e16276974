import assert from "node:assert/strict";
import { type LogDirective, parseLogFilter } from "../../src/base/log_filter.ts";

const REST_SHOWS_ERRORS: LogDirective = { target: [], level: "error" };

Deno.test("parseLogFilter() takes a level for everything", () => {
  assert.deepEqual(parseLogFilter("info"), [{ target: [], level: "info" }]);
  assert.deepEqual(parseLogFilter("off"), [{ target: [], level: "off" }]);
  assert.deepEqual(parseLogFilter(" WARN "), [{ target: [], level: "warn" }]);
  assert.deepEqual(parseLogFilter("warning"), [{ target: [], level: "warn" }]);
});

Deno.test("parseLogFilter() takes a level for a target, and the rest shows errors", () => {
  assert.deepEqual(parseLogFilter("cairn_signal=debug"), [
    REST_SHOWS_ERRORS,
    { target: ["cairn", "signal"], level: "debug" },
  ]);
  assert.deepEqual(parseLogFilter("cairn_relay::alloc_table=trace"), [
    REST_SHOWS_ERRORS,
    { target: ["cairn", "relay", "alloc_table"], level: "trace" },
  ]);
  assert.deepEqual(parseLogFilter("cairn::server"), [
    REST_SHOWS_ERRORS,
    { target: ["cairn", "server"], level: "trace" },
  ]);
});

Deno.test("parseLogFilter() lets a later directive replace an earlier one for the same target", () => {
  assert.deepEqual(parseLogFilter("warn,cairn_relay=trace,,info,cairn::relay=off"), [
    { target: [], level: "info" },
    { target: ["cairn", "relay"], level: "off" },
  ]);
});

Deno.test("parseLogFilter() refuses what is not a filter, a misspelt level above all", () => {
  for (
    const text of [
      "",
      " , ",
      "inf",
      "debugg",
      "cairn_signal=",
      "=debug",
      "cairn_signal=loud",
      "a=b=c",
    ]
      .concat(["cairn signal=info", "cairn_signal=debug/regex", "cairn[span]=info", "::a=info"])
  ) assert.equal(parseLogFilter(text), undefined, text);
});
