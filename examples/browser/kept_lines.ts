/// <reference lib="dom" />
/** What the page shows, kept in its own storage: cairn forgets a message that was handed over. */

const KEY = "cairn-example-lines";
const MOST = 200;

/** One message, from somebody or to somebody. */
export interface Line {
  readonly id: string;
  readonly from?: string;
  readonly to?: string;
  readonly text: string;
  readonly state: string;
}

export function lines(): Line[] {
  return JSON.parse(localStorage.getItem(KEY) ?? "[]");
}

/** Keeps a line. After a crash cairn may show a message again, under the same id. */
export function keep(line: Line): void {
  const kept = lines();
  if (kept.some(({ id }) => id === line.id)) return;
  store([...kept, line]);
}

/** Changes the line with this id, if it is kept. */
export function update(id: string, change: (line: Line) => Line): void {
  store(lines().map((line) => line.id === id ? change(line) : line));
}

function store(kept: readonly Line[]): void {
  localStorage.setItem(KEY, JSON.stringify(kept.slice(-MOST)));
}
