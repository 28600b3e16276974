import {
  ALL_SERVICES,
  foldName,
  isShared,
  type LocalMessage,
  type LocalRecord,
  type Question,
  recordKey,
  SERVICE,
} from "./local_record.ts";

/** RFC 6762 section 3. */
export const MDNS_PORT = 5353;
/** Milliseconds; RFC 6762 sections 6 and 7.2. */
const SHARED_DELAY = { least: 20, spread: 100 } as const;
const TRUNCATED_DELAY = { least: 400, spread: 100 } as const;
const BETWEEN_MULTICASTS = 1_000;
/** Seconds that an asker who knows nothing of mDNS may keep an answer (section 6.7). */
const LEGACY_TTL = 10;
/** Queries that wait for their answer; what comes beyond is not answered. */
const MAX_WAITING = 32;
const MAX_QUESTIONS = 32;

/** Address and port from which a message came, as text and number. */
export interface Sender {
  readonly address: string;
  readonly port: number;
}

/** An answer that is to leave. */
export interface Reply {
  /** `undefined`: everybody is told. */
  readonly to: Sender | undefined;
  readonly answers: readonly LocalRecord[];
  readonly additionals: readonly LocalRecord[];
  /** What an asker that knows only unicast DNS finds its answer by. */
  readonly query?: { readonly id: number; readonly questions: readonly Question[] };
}

interface Waiting {
  readonly due: number;
  readonly asker: Sender;
  readonly message: LocalMessage;
  /** Keys of the answers that the asker has. */
  readonly known: Set<string>;
}

/**
 * Answers queries on one network: when, with what, and to whom (RFC 6762 sections 5 to 7). Who
 * calls it keeps the time, in milliseconds of a monotonic clock.
 */
export class Responder {
  #records: readonly LocalRecord[] = [];
  readonly #waiting: Waiting[] = [];
  /** When each record was last told to everybody. */
  readonly #told = new Map<string, number>();

  /** What there is to answer with from here on. */
  set records(records: readonly LocalRecord[]) {
    this.#records = records;
    this.#told.clear();
  }

  /** When {@linkcode replies} is to be called next. */
  get due(): number | undefined {
    return this.#waiting.length === 0
      ? undefined
      : Math.min(...this.#waiting.map(({ due }) => due));
  }

  /** Takes a query; `chance` is uniform in [0, 1). */
  take(message: LocalMessage, asker: Sender, now: number, chance: number): void {
    if (message.isResponse || message.questions.length > MAX_QUESTIONS) return;
    // A datagram may say that it came from port 0, to which nothing can be sent.
    if (asker.port === 0) return;
    const known = message.records.filter((record) => this.#isFresh(record)).map(recordKey);
    if (message.questions.length === 0) {
      for (const waiting of this.#waiting) {
        if (isSame(waiting.asker, asker)) known.forEach((key) => waiting.known.add(key));
      }
      return;
    }
    const answers = this.#answers(message.questions);
    if (answers.length === 0 || this.#waiting.length >= MAX_WAITING) return;
    const { least, spread } = message.isTruncated
      ? TRUNCATED_DELAY
      : answers.some(isShared)
      ? SHARED_DELAY
      : { least: 0, spread: 0 };
    const due = now + least + spread * chance;
    this.#waiting.push({ due, asker, message, known: new Set(known) });
  }

  /** The answers that are due. */
  replies(now: number): Reply[] {
    const due = this.#waiting.filter((waiting) => waiting.due <= now);
    for (const waiting of due) this.#waiting.splice(this.#waiting.indexOf(waiting), 1);
    return due.flatMap((waiting) => this.#reply(waiting, now));
  }

  /** Notes that everybody has been told all records. */
  announced(now: number): void {
    for (const record of this.#records) this.#told.set(recordKey(record), now);
  }

  #reply({ asker, message, known }: Waiting, now: number): Reply[] {
    const { id, questions } = message;
    const answers = this.#answers(questions).filter((record) => !known.has(recordKey(record)));
    if (answers.length === 0) return [];
    // Whoever asks from another port understands unicast DNS alone (section 6.7).
    if (asker.port !== MDNS_PORT) {
      const short = (records: readonly LocalRecord[]) =>
        records.map((record) => ({ ...record, ttl: Math.min(record.ttl, LEGACY_TTL) }));
      return [{
        to: asker,
        answers: short(answers),
        additionals: short(this.#additionals(answers)),
        // Those without an answer would make a short query's answer a long one.
        query: { id, questions: questions.filter((each) => this.#answers([each]).length > 0) },
      }];
    }
    const isForAskerAlone = questions.every(({ isUnicast }) => isUnicast) &&
      answers.every((record) => this.#isToldLately(record, now));
    if (isForAskerAlone) {
      return [{ to: asker, answers, additionals: this.#additionals(answers) }];
    }
    const untold = answers.filter((record) =>
      now - (this.#told.get(recordKey(record)) ?? -Infinity) >= BETWEEN_MULTICASTS
    );
    if (untold.length === 0) return [];
    const additionals = this.#additionals(untold);
    for (const record of [...untold, ...additionals]) this.#told.set(recordKey(record), now);
    return [{ to: undefined, answers: untold, additionals }];
  }

  #answers(questions: readonly Question[]): LocalRecord[] {
    return this.#records.filter((record) =>
      questions.some(({ name, type }) =>
        foldName(name) === foldName(record.name) && (type === record.type || type === "ANY")
      )
    );
  }

  /** What the asker would ask for next (RFC 6763 section 12). */
  #additionals(answers: readonly LocalRecord[]): LocalRecord[] {
    const isOfInstance = answers.some(({ type, name }) =>
      type === "SRV" || type === "PTR" && foldName(name) === SERVICE
    );
    return isOfInstance
      ? this.#records.filter((record) => !answers.includes(record) && record.name !== ALL_SERVICES)
      : [];
  }

  /** Whether an answer that the asker has is good for half its time at least. */
  #isFresh(record: LocalRecord): boolean {
    const key = recordKey(record);
    const own = this.#records.find((each) => recordKey(each) === key);
    return own !== undefined && record.ttl >= own.ttl / 2;
  }

  /** Within the last quarter of its time (section 5.4). */
  #isToldLately(record: LocalRecord, now: number): boolean {
    const told = this.#told.get(recordKey(record));
    return told !== undefined && now - told < record.ttl * 1000 / 4;
  }
}

function isSame(one: Sender, other: Sender): boolean {
  return one.address === other.address && one.port === other.port;
}
