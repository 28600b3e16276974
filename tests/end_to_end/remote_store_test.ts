/** A server whose store another machine keeps, and which no two may use at a time. */

import { deepEqual, equal, match } from "node:assert/strict";
import { Denokv } from "../support/denokv.ts";
import { KvConnectServer } from "../support/kv_connect.ts";
import {
  type BadInputScene,
  badInputTest,
  LOOPBACK,
  sentenceOf,
  serverArgs,
} from "./bad_input_scene.ts";
import { freePort } from "../support/free_port.ts";

/** What keeps the store: the server of these tests, and denokv itself where it is installed. */
const KEEPERS: readonly Keeper[] = [
  {
    name: "a KV Connect server",
    ignore: false,
    start: (scene) => Promise.resolve(scene.use(new KvConnectServer())),
  },
  {
    name: "denokv",
    ignore: !await Denokv.isInstalled(),
    start: async (scene) => scene.use(await Denokv.start(scene.folder)),
  },
];

for (const { name, ignore, start } of KEEPERS) {
  badInputTest({
    name:
      `With CAIRN_KV_URL the store is kept by ${name}: nothing is lost when the machine changes`,
    ignore,
    async story(scene) {
      const store = await start(scene);
      const env = { CAIRN_KV_URL: store.url, DENO_KV_ACCESS_TOKEN: store.token };
      let server = await scene.server(`${scene.folder}/one`, env);
      const { alice, bob } = await scene.paired(server, "alice", "bob");
      const bobId = await bob.id();
      await alice.sends(bobId, "kept elsewhere");
      const files = await Array.fromAsync(Deno.readDir(`${scene.folder}/one`));
      deepEqual(files.map(({ name }) => name).toSorted(), ["lock", "remote_store.json"]);
      await scene.stop(server.process);

      const { id } = server;
      server = await scene.server(`${scene.folder}/two`, env);
      equal(server.id, id);
      bob.server = server;
      deepEqual(await bob.reads(1), ["kept elsewhere"]);
    },
  });

  badInputTest({
    name: `A second server on the store of ${name} is refused, a killed one starts again at once`,
    ignore,
    async story(scene) {
      const store = await start(scene);
      const env = { CAIRN_KV_URL: store.url, DENO_KV_ACCESS_TOKEN: store.token };
      const first = await scene.server(`${scene.folder}/one`, env);
      const second = await scene.run(serverArgs(`${scene.folder}/two`, freePort()), env);
      match(
        sentenceOf(second),
        /^The store http:\/\/127\.0\.0\.1:\d+ is in use by another cairn server/,
      );
      await first.assertHealthy();

      await first.process.kill();
      await scene.ended(first.process);
      const again = await scene.server(`${scene.folder}/one`, env);
      equal(again.id, first.id);
    },
  });
}

badInputTest({
  name: "What is wrong about a remote store is said before anything is opened",
  async story(scene) {
    const args = serverArgs(`${scene.folder}/server`, freePort());
    const store = scene.use(new KvConnectServer());
    const noToken = await scene.run(args, { CAIRN_KV_URL: store.url });
    match(sentenceOf(noToken, 2), /asks for an access token: set DENO_KV_ACCESS_TOKEN$/);
    const plain = await scene.run(args, { CAIRN_KV_URL: "http://kv.example.com" });
    match(sentenceOf(plain, 2), /^CAIRN_KV_URL: .* expected the path of a folder, or an https:/);
    const wrong = await scene.run(args, {
      CAIRN_KV_URL: store.url,
      DENO_KV_ACCESS_TOKEN: "another token",
    });
    match(sentenceOf(wrong), /cannot be reached: check CAIRN_KV_URL, DENO_KV_ACCESS_TOKEN/);
    const nobody = await scene.run(args, {
      CAIRN_KV_URL: `http://${LOOPBACK}:${freePort()}`,
      DENO_KV_ACCESS_TOKEN: "any token",
    });
    match(sentenceOf(nobody), /cannot be reached/);
  },
});

badInputTest({
  name: "CAIRN_KV_URL as a path keeps the store in another folder, which is locked",
  async story(scene) {
    const fast = `${scene.folder}/fast`;
    const server = await scene.server(`${scene.folder}/one`, { CAIRN_KV_URL: `${fast}/cairn.kv` });
    await Deno.stat(`${fast}/cairn.kv`);
    const second = await scene.run(serverArgs(`${scene.folder}/two`, freePort()), {
      CAIRN_KV_URL: fast,
    });
    match(sentenceOf(second), /^The data folder .*fast is in use by another cairn process/);
    await scene.stop(server.process);
    await Deno.writeTextFile(`${scene.folder}/two/cairn.kv`, "the store of another server");
    const again = await scene.server(`${scene.folder}/two`, { CAIRN_KV_URL: fast });
    equal(again.id, server.id);
    const warning = again.process.log.all.find((line) => line.includes("is not used"));
    match(warning ?? "", /The store in .*two is not used: CAIRN_KV_URL names another one/);
  },
});

interface Keeper {
  readonly name: string;
  readonly ignore: boolean;
  readonly start: (
    scene: BadInputScene,
  ) => Promise<{ readonly url: string; readonly token: string }>;
}
