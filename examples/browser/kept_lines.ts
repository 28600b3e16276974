/// <reference lib="dom" />
/**
 * What the page shows, in a database of its own: cairn forgets a message when its handler has
 * returned, so the handler waits until the message is on disk here.
 */

const LINES = "lines";
const BY_ID = "id";
const MOST = 200;

/** One message, from somebody or to somebody. */
export interface Line {
  readonly id: string;
  readonly from?: string;
  readonly to?: string;
  readonly text: string;
  readonly state: string;
}

const database = await opened();

/** The kept lines, the oldest first. */
export async function lines(): Promise<Line[]> {
  const found: Line[] = await answerOf(
    database.transaction(LINES).objectStore(LINES).getAll(),
  );
  return found;
}

/** Keeps a line. After a crash cairn may show a message again, under the same id: once is enough. */
export async function keep(line: Line): Promise<void> {
  await change(async (stored) => {
    if (await answerOf(stored.index(BY_ID).getKey(line.id)) !== undefined) return;
    const number = Number(await answerOf(stored.add(line)));
    stored.delete(IDBKeyRange.upperBound(number - MOST));
  });
}

/** Changes the line with this id, if it is kept. */
export async function update(id: string, changed: (line: Line) => Line): Promise<void> {
  await change(async (stored) => {
    const key = await answerOf(stored.index(BY_ID).getKey(id));
    if (key === undefined) return;
    const line: Line = await answerOf(stored.get(key));
    stored.put(changed(line), key);
  });
}

/** Resolves when the disk has what `work` did. */
function change(work: (stored: IDBObjectStore) => Promise<void>): Promise<void> {
  return new Promise((resolve, reject) => {
    const transaction = database.transaction(LINES, "readwrite", { durability: "strict" });
    transaction.oncomplete = () => resolve();
    transaction.onabort = () => reject(transaction.error);
    work(transaction.objectStore(LINES)).catch(reject);
  });
}

async function opened(): Promise<IDBDatabase> {
  const request = indexedDB.open("cairn-example", 1);
  request.onupgradeneeded = () => {
    const stored = request.result.createObjectStore(LINES, { autoIncrement: true });
    stored.createIndex(BY_ID, "id", { unique: true });
  };
  return await answerOf(request);
}

function answerOf<T>(request: IDBRequest<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}
