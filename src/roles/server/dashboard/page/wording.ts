/** Numbers and times in words. */

const UNITS = ["B", "KiB", "MiB", "GiB", "TiB"];

export function bytesText(bytes: number): string {
  const power = bytes < 1 ? 0 : Math.min(UNITS.length - 1, Math.floor(Math.log2(bytes) / 10));
  const value = bytes / 1024 ** power;
  return `${Number(value.toFixed(value >= 100 ? 0 : 1))} ${UNITS[power]}`;
}

export function countText(count: number): string {
  return count.toLocaleString("en");
}

export function messagesText(count: number): string {
  return `${countText(count)} ${count === 1 ? "message" : "messages"}`;
}

/** Seconds as `m:ss`. */
export function countdownText(seconds: number): string {
  const left = Math.max(0, Math.ceil(seconds));
  return `${Math.floor(left / 60)}:${String(left % 60).padStart(2, "0")}`;
}

/** Seconds as the largest unit that fits, as in `3 hours`. */
export function durationText(seconds: number): string {
  const units = [["day", 86_400], ["hour", 3_600], ["minute", 60]] as const;
  const [unit, length] = units.find(([, length]) => seconds >= length) ?? ["second", 1];
  const count = Math.max(0, Math.floor(seconds / length));
  return `${count} ${unit}${count === 1 ? "" : "s"}`;
}

/** Unix seconds as a time of today, or a day. */
export function momentText(at: number, now: number): string {
  const [moment, today] = [new Date(at * 1000), new Date(now * 1000)];
  if (moment.toDateString() === today.toDateString()) return clockText(at);
  const isThisYear = moment.getFullYear() === today.getFullYear();
  return isThisYear ? dayText(at) : `${dayText(at)} ${moment.getFullYear()}`;
}

/** Unix seconds as `12 Nov`. */
export function dayText(at: number): string {
  return new Date(at * 1000).toLocaleDateString("en-GB", { day: "numeric", month: "short" });
}

/** Unix seconds as `14:03`. */
export function clockText(at: number): string {
  return new Date(at * 1000).toLocaleTimeString("en-GB", { hour: "2-digit", minute: "2-digit" });
}

/** A Peer ID, short enough to read. */
export function shortId(peerId: string): string {
  return `${peerId.slice(0, 6)}…${peerId.slice(-4)}`;
}

/** `042137` as people read it to one another. */
export function spacedDigits(sas: string): string {
  return `${sas.slice(0, 3)} ${sas.slice(3)}`;
}

const MECHANISMS: Readonly<Record<string, string>> = {
  psk: "by pre-shared key",
  pin: "by PIN",
  link: "by link",
  approved: "by approval",
};

/** How a peer was paired. */
export function mechanismText(mechanism: string): string {
  return MECHANISMS[mechanism] ?? `by ${mechanism}`;
}
