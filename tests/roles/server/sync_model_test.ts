import { SyncModel } from "../../support/sync_model.ts";

for (const seed of [1, 2, 3]) {
  Deno.test(`Shared bodies are there as long as their owners, and no longer (seed ${seed})`, async () => {
    await using model = await SyncModel.open(seed);
    await model.run(64);
  });
}
