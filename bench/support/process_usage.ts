/** What Linux says about a process, for measuring servers from outside. */

const TICKS_PER_SECOND = 100;

/** CPU seconds that all threads of a process have used; steps of 10 ms. */
export function cpuSeconds(pid: number): number {
  const stat = Deno.readTextFileSync(`/proc/${pid}/stat`);
  // The name before it, in parentheses, may hold blanks.
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND;
}

/** Bytes of a process that are in memory. */
export function residentBytes(pid: number): number {
  return statusBytes(pid, "VmRSS");
}

/** The most bytes of a process that were ever in memory. */
export function peakResidentBytes(pid: number): number {
  return statusBytes(pid, "VmHWM");
}

function statusBytes(pid: number, field: string): number {
  const status = Deno.readTextFileSync(`/proc/${pid}/status`);
  const kibibytes = new RegExp(`^${field}:\\s+(\\d+) kB$`, "m").exec(status)?.[1];
  return Number(kibibytes) * 1_024;
}
