import { deepEqual, equal, ok, rejects } from "node:assert/strict";
import type { PeerId } from "../../../src/protocol/crypto/peer_id.ts";
import { LocalLook, type LocalSearch, openLocally } from "../../../src/roles/mdns/local_look.ts";
import { FakeTime, turns } from "../../support/fake_time.ts";
import { identityFor } from "../../support/identities.ts";

const home = identityFor("home").peerId;

/** A network on which a test says what is found. */
class TestSearch implements LocalSearch {
  readonly looks = new Set<(url: string) => void>();
  asked = 0;

  look(_server: PeerId | undefined, onUrl: (url: string) => void): () => void {
    this.asked++;
    this.looks.add(onUrl);
    return () => this.looks.delete(onUrl);
  }

  find(url: string): void {
    for (const onUrl of this.looks) onUrl(url);
  }

  watch(): () => void {
    return () => {};
  }

  close(): Promise<void> {
    return Promise.resolve();
  }
}

Deno.test("Local look: nothing is asked while another way may still lead to the server", () => {
  using time = new FakeTime();
  const search = new TestSearch();
  const look = new LocalLook(search, { server: home, hasOtherWays: true, onUrl: () => {} });
  time.pass(999);
  look[Symbol.dispose]();
  time.pass(60_000);
  equal(search.asked, 0);
});

Deno.test("Local look: is over when who is there has answered, and hears of others until its end", () => {
  using time = new FakeTime();
  const search = new TestSearch();
  const urls: string[] = [];
  let isOver = false;
  const look = new LocalLook(search, {
    server: home,
    hasOtherWays: true,
    onUrl: (url) => urls.push(url),
    onOver: () => isOver = true,
  });
  time.pass(1_000);
  equal(search.asked, 1);
  search.find("ws://one/link");
  time.pass(4_000);
  ok(!isOver && !look.isOver);
  time.pass(1_000);
  ok(isOver && look.isOver);
  search.find("ws://two/link");
  look[Symbol.dispose]();
  search.find("ws://three/link");
  deepEqual(urls, ["ws://one/link", "ws://two/link"]);
});

Deno.test("Local look: the first address at which the server answers is taken", async () => {
  using time = new FakeTime();
  const search = new TestSearch();
  const { signal } = new AbortController();
  const opened = openLocally(
    search,
    { server: home, signal },
    (url) =>
      url.includes("liar") ? Promise.reject(new Error("another peer")) : Promise.resolve(url),
  );
  time.pass(1);
  search.find("ws://liar/link");
  await turns();
  search.find("ws://home/link");
  equal(await opened, "ws://home/link");
  equal(search.looks.size, 0);
});

Deno.test("Local look: where nobody answers, it fails with what went wrong; so it does when given up", async () => {
  using time = new FakeTime();
  const search = new TestSearch();
  const giveUp = new AbortController();
  const open = () => Promise.reject(new Error("another peer"));
  const options = { server: home, signal: giveUp.signal };
  const lies = openLocally(search, options, open);
  time.pass(1);
  search.find("ws://liar/link");
  await turns();
  time.pass(5_000);
  await rejects(lies, (error: AggregateError) => `${error.errors}` === "Error: another peer");
  const nothing = openLocally(search, options, open);
  giveUp.abort();
  await rejects(nothing, AggregateError);
  equal(search.looks.size, 0);
});
