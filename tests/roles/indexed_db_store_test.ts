/** A peer's store in a page: what Deno KV does is what it has to do. */

import { deepEqual, equal, match } from "node:assert/strict";
import { browserScript } from "../../tasks/browser_script.ts";
import { serveSite } from "../../tasks/site.ts";
import { Chromium, chromiumPath } from "../support/chromium.ts";
import { kvStoreStory } from "../support/kv_store_story.ts";

const ignore = chromiumPath === undefined;
const note = ignore ? " (SKIPPED: Chromium is not installed)" : "";
const LARGE = 1_048_576;

Deno.test(`A store in IndexedDB does what Deno KV does, on disk${note}`, { ignore }, async (t) => {
  const [script, worker] = await Promise.all(
    ["kv_store_page.ts", "peer_worker.ts"].map((name) =>
      browserScript(new URL(`../support/${name}`, import.meta.url))
    ),
  );
  await using site = serveSite({
    "/": `<!doctype html><title>store</title><script type="module" src="page.js"></script>`,
    "/page.js": script ?? "",
    "/worker.js": worker ?? "",
  });
  await using browser = await Chromium.open(site.url);

  // First of all: the browser remembers for some seconds how much room there was.
  await t.step("without room it says so, and can still be emptied", async () => {
    const { origin } = new URL(site.url);
    await browser.command("Storage.overrideQuotaForOrigin", { origin, quotaSize: LARGE / 2 });
    equal(await browser.run(`page.refusal(${LARGE})`), "disk-full");
    deepEqual(await browser.run("page.full()"), ["disk-full", true]);
    await browser.command("Storage.overrideQuotaForOrigin", { origin });
    deepEqual(await browser.run("page.body()"), [0, false]);
  });

  await t.step("the same story", async () => {
    const kv = await Deno.openKv(":memory:");
    const expected = await kvStoreStory(kv);
    kv.close();
    deepEqual(await browser.run("page.story()"), expected);
  });

  await t.step("a commit is made when the disk has it", async () => {
    deepEqual(await browser.run("page.durabilities()"), ["strict", "strict"]);
  });

  await t.step("bodies of any size are there after the page was loaded anew", async () => {
    await browser.run(`page.keepBody(${LARGE})`);
    await browser.navigate(site.url);
    deepEqual(await browser.run("page.body()"), [LARGE, true]);
  });

  await t.step("one page at a time has a peer's place", async () => {
    deepEqual(await browser.run("page.places()"), ["data-folder-in-use", true]);
  });

  await t.step("a worker has a place, too", async () => {
    const said = await browser.run(`new Promise((resolve) => {
      const worker = new Worker("worker.js", { type: "module" });
      worker.onmessage = ({ data }) => resolve(data);
      worker.onerror = ({ message }) => resolve(message);
    })`);
    match(String(said), /^Qm\w{44}$/);
  });

  await t.step("one of a later version, or of another program, is left alone", async () => {
    equal(await browser.run("page.later()"), "data-folder-unusable");
    equal(await browser.run("page.foreign()"), "data-folder-unusable");
  });

  await t.step("one that is taken away says so, and takes nothing more", async () => {
    const inUse = "data-folder-in-use";
    deepEqual(await browser.run("page.stolen()"), [inUse, inUse]);
    const gone = "data-folder-unusable";
    deepEqual(await browser.run("page.deleted()"), [gone, gone]);
    await browser.run("page.toBeCleared()");
    await browser.command("Storage.clearDataForOrigin", {
      origin: new URL(site.url).origin,
      storageTypes: "indexeddb",
    });
    deepEqual(await browser.run("page.cleared()"), [gone, gone]);
  });
});
