import { deepEqual, equal, rejects } from "node:assert/strict";
import { openDataFolder } from "../../src/roles/data_folder.ts";

Deno.test("The key of an encrypted store is never replaced, also when the store is gone", async () => {
  const path = await Deno.makeTempDir({ prefix: "cairn-seal-" });
  const passphrase = "seven blue plums in a bowl";
  const open = (given?: string) => openDataFolder({ path, kind: "server", passphrase: given });
  try {
    const first = await open(passphrase);
    await first.kv.set(["text"], "secret");
    await first.close();
    const key = await Deno.readFile(`${path}/store.key`);
    await Deno.mkdir(`${path}/away`);
    for (const name of ["cairn.kv", "store.json"]) {
      await Deno.rename(`${path}/${name}`, `${path}/away/${name}`);
    }
    await rejects(open(), { code: "data-folder-unusable", message: /the key of an encrypted/ });
    await rejects(open("another passphrase"), { code: "data-folder-unusable" });
    const second = await open(passphrase);
    await second.close();
    deepEqual(await Deno.readFile(`${path}/store.key`), key);

    for (const name of ["cairn.kv", "store.json"]) {
      await Deno.rename(`${path}/away/${name}`, `${path}/${name}`);
    }
    const again = await open(passphrase);
    equal((await again.kv.get(["text"])).value, "secret");
    await again.close();
  } finally {
    await Deno.remove(path, { recursive: true });
  }
});
