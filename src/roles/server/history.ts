/** How a server fared: numbers read every ten seconds, kept in memory for an hour and for a week. */

/** What is read at one moment, or became of it in one step of ten minutes. */
export interface HistorySample {
  /** Unix milliseconds: when it was read; of a step when it began. */
  readonly at: number;
  /** Of a step the highest, as of what follows. */
  readonly connectedPeers: number;
  readonly waitingMessages: number;
  readonly storedBytes: number;
  readonly relayPairs: number;
  /** Room on the disk, of a step the least; `Infinity` where the system does not say. */
  readonly freeBytes: number;
  /** Carried by the personal relay since the sample before, of a step in all of it. */
  readonly relayedBytes: number;
}

/** Which samples are asked for. */
export type HistoryRange = "hour" | "week";

/** Milliseconds from one sample to the next. */
export const HISTORY_STEPS: Readonly<Record<HistoryRange, number>> = {
  hour: 10_000,
  week: 600_000,
};
const HOUR_SAMPLES = 360;
const WEEK_SAMPLES = 1_008;

/** Keeps the latest 360 samples, and 1,008 steps of ten minutes. */
export class History {
  readonly #hour: HistorySample[] = [];
  readonly #week: HistorySample[] = [];

  add(sample: HistorySample): void {
    append(this.#hour, sample, HOUR_SAMPLES);
    const begin = sample.at - sample.at % HISTORY_STEPS.week;
    const step = this.#week.at(-1);
    if (step?.at === begin) this.#week[this.#week.length - 1] = merged(step, sample);
    else append(this.#week, { ...sample, at: begin }, WEEK_SAMPLES);
  }

  /** The oldest first; the last of a week is a step that may not be over. */
  samples(range: HistoryRange): readonly HistorySample[] {
    return range === "hour" ? this.#hour : this.#week;
  }
}

function append(samples: HistorySample[], sample: HistorySample, limit: number): void {
  samples.push(sample);
  if (samples.length > limit) samples.shift();
}

function merged(step: HistorySample, sample: HistorySample): HistorySample {
  return {
    at: step.at,
    connectedPeers: Math.max(step.connectedPeers, sample.connectedPeers),
    waitingMessages: Math.max(step.waitingMessages, sample.waitingMessages),
    storedBytes: Math.max(step.storedBytes, sample.storedBytes),
    relayPairs: Math.max(step.relayPairs, sample.relayPairs),
    freeBytes: Math.min(step.freeBytes, sample.freeBytes),
    relayedBytes: step.relayedBytes + sample.relayedBytes,
  };
}
