/** Several callers who each make four small changes durable, together or each for itself. */

import { GroupCommit, type KvOperation } from "../src/roles/group_commit.ts";

const folder = await Deno.makeTempDir({ prefix: "cairn-bench-" });
globalThis.addEventListener("unload", () => {
  kv.close();
  Deno.removeSync(folder, { recursive: true });
});
const kv = await Deno.openKv(`${folder}/bench.kv`);
const commit = new GroupCommit(kv);
const value = new Uint8Array(1_024);

for (const callers of [1, 8, 64]) {
  const group = `${callers} at once, 1 KiB and three small records each`;
  Deno.bench(`${callers}: one atomic each`, { group, baseline: true }, async () => {
    await Promise.all(Array.from({ length: callers }, (_, caller) => atomic(changes(caller))));
  });
  Deno.bench(`${callers}: GroupCommit`, { group }, async () => {
    await Promise.all(
      Array.from({ length: callers }, (_, caller) => commit.commit(changes(caller))),
    );
  });
}

/** The same few keys again and again, so that the file does not grow. */
function changes(caller: number): KvOperation[] {
  return [
    { type: "set", key: ["body", caller], value },
    { type: "set", key: ["queue", caller], value: { size: value.length, at: caller } },
    { type: "set", key: ["id", caller], value: { hash: new Uint8Array(32) } },
    { type: "set", key: ["pair", caller], value: { lastAccepted: caller } },
  ];
}

async function atomic(operations: readonly KvOperation[]): Promise<void> {
  const transaction = kv.atomic();
  for (const operation of operations) {
    if (operation.type === "set") transaction.set(operation.key, operation.value);
  }
  await transaction.commit();
}
