import assert from "node:assert/strict";
import { EventLoopLag, MetricsRegistry } from "../../src/roles/metrics.ts";

Deno.test("MetricsRegistry writes Prometheus's text format", () => {
  const registry = new MetricsRegistry();
  const frames = registry.counter("frames_total", "Frames\nin a \\ line");
  const dropped = registry.counter("dropped_total", "Dropped", "reason", ["rate", 'a"b\\c']);
  registry.gauge("open", "Open now", () => 1.5);
  registry.gauge("absent", "Not there", () => undefined);
  frames.add();
  frames.add("", 2);
  dropped.add("rate");
  dropped.add("new");
  assert.equal(
    registry.text(),
    `# HELP frames_total Frames\\nin a \\\\ line
# TYPE frames_total counter
frames_total 3
# HELP dropped_total Dropped
# TYPE dropped_total counter
dropped_total{reason="rate"} 1
dropped_total{reason="a\\"b\\\\c"} 0
dropped_total{reason="new"} 1
# HELP open Open now
# TYPE open gauge
open 1.5
# HELP absent Not there
# TYPE absent gauge
`,
  );
});

Deno.test("A histogram counts each value under every bound that it does not exceed", () => {
  const registry = new MetricsRegistry();
  const commits = registry.histogram("commit_seconds", "Time of commits", [0.25, 1]);
  for (const value of [0.25, 0.5, 0.125, 4]) commits.observe(value);
  assert.equal(
    registry.text(),
    `# HELP commit_seconds Time of commits
# TYPE commit_seconds histogram
commit_seconds_bucket{le="0.25"} 2
commit_seconds_bucket{le="1"} 3
commit_seconds_bucket{le="+Inf"} 4
commit_seconds_sum 4.875
commit_seconds_count 4
`,
  );
});

Deno.test("MetricsRegistry refuses a name twice, and one that is none", () => {
  const registry = new MetricsRegistry();
  registry.counter("one", "");
  assert.throws(() => registry.gauge("one", "", () => 1), TypeError);
  assert.throws(() => registry.counter("No name", ""), TypeError);
});

Deno.test("EventLoopLag tells by how much a timer came late, once", async () => {
  let now = 0;
  const { promise, resolve } = Promise.withResolvers<void>();
  const lag = new EventLoopLag(() => {
    if (now > 0) resolve();
    return now;
  });
  try {
    now = 2_500;
    await promise;
    assert.equal(lag.takeWorst(), 2);
    assert.equal(lag.takeWorst(), 0);
  } finally {
    lag.close();
  }
});
