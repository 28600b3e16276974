import assert from "node:assert/strict";
import { countTests } from "../../tasks/test_count.ts";

/** As `deno test --junit-path` of Deno 2.9.6 wrote it, shortened. */
const REPORT = `<?xml version="1.0" encoding="UTF-8"?>
<testsuites name="deno test" tests="7" failures="3" errors="0" time="0.013">
    <testsuite name="./a_test.ts" tests="7" disabled="1" errors="0" failures="3">
        <testcase name="A works" classname="./a_test.ts" time="0.003" line="3" col="6">
        </testcase>
        <testcase name="&quot;B&quot; fails" classname="./a_test.ts" time="0.001" line="4" col="6">
            <failure message="Uncaught">AssertionError
    at a_test.ts:4:37</failure>
        </testcase>
        <testcase name="C fails in a step" classname="./a_test.ts" time="0.001" line="5" col="6">
            <failure message="1 test step failed">1 test step failed.</failure>
        </testcase>
        <testcase name="D is skipped" classname="./a_test.ts" time="0.000" line="6" col="6">
            <skipped/>
        </testcase>
        <testcase name="a &gt; b is a test" classname="./a_test.ts" time="0.000" line="7" col="6">
        </testcase>
        <testcase name="A works &gt; one" classname="./a_test.ts" time="0.000" line="3" col="45">
        </testcase>
        <testcase name="C fails in a step &gt; one" classname="./a_test.ts" time="0.001" line="5">
            <failure message="Uncaught Error: x">Error: x</failure>
        </testcase>
    </testsuite>
</testsuites>`;

Deno.test("countTests() counts whole tests and names those that failed", () => {
  assert.deepEqual(countTests(REPORT), {
    passed: 2,
    failed: 2,
    skipped: 1,
    failures: ['"B" fails (./a_test.ts)', "C fails in a step (./a_test.ts)"],
  });
});

Deno.test("countTests() counts nothing in a report that was never written", () => {
  assert.deepEqual(countTests(""), { passed: 0, failed: 0, skipped: 0, failures: [] });
});
