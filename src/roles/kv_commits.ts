import type { KvOperation } from "./group_commit.ts";
import { excessOf, sumOf, weigh } from "./kv_weight.ts";

/** What belongs together stays together, in commits that Deno KV takes. */
export function* inCommits(parts: Iterable<readonly KvOperation[]>): Generator<KvOperation[]> {
  let group: KvOperation[] = [];
  let total = weigh([]);
  for (const part of parts) {
    const weight = weigh(part);
    const sum = sumOf(total, weight);
    const isFull = group.length > 0 && excessOf(sum) !== undefined;
    if (isFull) yield group;
    total = isFull ? weight : sum;
    if (isFull) group = [];
    group.push(...part);
  }
  if (group.length > 0) yield group;
}
