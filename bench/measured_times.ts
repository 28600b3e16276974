import process from "node:process";

/** `p50 … ms  p99 … ms  max … ms` of times in milliseconds, behind a name. */
export function reportLine(name: string, times: readonly number[]): string {
  const sorted = times.toSorted((a, b) => a - b);
  const at = (share: number) =>
    (sorted[Math.floor(share * (sorted.length - 1))] ?? NaN).toFixed(2).padStart(7);
  return `${name.padEnd(44)} p50 ${at(0.5)} ms  p99 ${at(0.99)} ms  max ${at(1)} ms`;
}

/** CPU time that this process has used so far, all threads together, milliseconds. */
export function cpuMs(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1_000;
}
