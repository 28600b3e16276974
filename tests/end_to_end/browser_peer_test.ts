/** The example page in Chromium, a peer as any other: real roles, and a peer in a program. */

import { deepEqual, equal, ok } from "node:assert/strict";
import type { Node, ReceivedMessage } from "../../src/mod.ts";
import { BrowserHome } from "../support/browser_home.ts";
import { chromiumPath } from "../support/chromium.ts";
import type { DashboardPage } from "../support/dashboard_page.ts";

const ignore = chromiumPath === undefined;
const note = ignore ? " (SKIPPED: Chromium is not installed)" : "";
const CONNECTED = /^Connected to the server Qm/;

Deno.test(
  `A page pairs by link and talks with a peer in a program${note}`,
  { ignore },
  async (t) => {
    await using home = await BrowserHome.open();
    const [page, bob, link] = await Promise.all([
      home.page(),
      home.peer("bob"),
      home.pairingLink(),
    ]);
    const taken = new Taken(bob);
    let last = page;

    await page.says("#state", /^Not paired/);
    const peerId = await page.text("#peer-id");
    await t.step("it pairs, and each writes to the other", async () => {
      await submit(page, "#pair", { "#link": link });
      await page.says("#state", CONNECTED);
      await write(page, bob, "from the page");
      await page.says("#messages", /delivered/);
      await home.within(taken.count(1), "the page's message");
      equal(taken.all[0]?.from.toString(), peerId);
      await send(bob, peerId, "from the program");
      await page.says("#messages", /from the program/);
    });

    await t.step(
      "when it is seen again, or the network is back, it looks after its links",
      async () => {
        const [seen, online] = await callsOf(page, [
          `document.dispatchEvent(new Event("visibilitychange"))`,
          `dispatchEvent(new Event("online"))`,
        ]);
        ok(seen?.includes("send"), "the server is asked");
        ok(online?.includes("close"), "signaling connects anew");
        await send(bob, peerId, "all the same");
        await page.says("#messages", /all the same/);
      },
    );

    await t.step("loaded anew it is the same peer, and has its messages once", async () => {
      await page.browser.loaded(async () => void await page.browser.run("void location.reload()"));
      await page.says("#state", CONNECTED);
      equal(await page.text("#peer-id"), peerId);
      await send(bob, peerId, "after the reload");
      await page.says("#messages", /after the reload/);
      deepEqual(await received(page), ["from the program", "all the same", "after the reload"]);
    });

    await t.step("what is sent while it is away comes once and in order", async () => {
      await page.browser.navigate("about:blank");
      const waiting = Array.from({ length: 5 }, (_, index) => `waiting ${index}`);
      // One is larger than what a store takes as one value.
      waiting.push(`waiting ${"x".repeat(300_000)}`);
      for (const text of waiting) await home.within(send(bob, peerId, text), "the mailbox");
      // Browsers may show it as it was, with a node that has closed.
      await page.back();
      await page.says("#messages", /waiting x/);
      await send(bob, peerId, "the last");
      await page.says("#messages", /the last/);
      deepEqual((await received(page)).slice(3), [...waiting, "the last"]);
    });

    await t.step("what it has taken over outlives a crash of the browser, both ways", async () => {
      await send(bob, peerId, "just before");
      await page.says("#messages", /just before/);
      await home.stopServer();
      for (const text of ["queued 1", "queued 2"]) await write(page, bob, text);
      await page.browser.kill();
      const again = last = await home.page();
      await again.says("#messages", /queued 2/);
      equal(await again.text("#peer-id"), peerId);
      await home.startServer();
      await home.within(taken.count(3), "what was queued");
      await write(again, bob, "the end");
      await home.within(taken.count(4), "the last message");
      deepEqual(taken.texts, ["from the page", "queued 1", "queued 2", "the end"]);
      equal((await received(again)).filter((text) => text === "just before").length, 1);
    });

    await t.step("one tab has the peer; another goes on when that is left", async () => {
      // Without somebody's gesture browsers open no windows.
      const expression = "globalThis.other = open(location.href); 0";
      await last.browser.command("Runtime.evaluate", { expression, userGesture: true });
      const other = `other.document.querySelector("#state").innerText`;
      await last.eventually("the other waits", `/^Open in another tab/.test(${other})`);
      await last.browser.run(`dispatchEvent(new PageTransitionEvent("pagehide"))`);
      await last.says("#state", /^The page was left/);
      await last.eventually("the other goes on", `/^Connected/.test(${other})`);
      await last.browser.run("other.close()");
      // As when the browser shows the first again from its cache.
      await last.browser.loaded(async () => {
        const back = `new PageTransitionEvent("pageshow", { persisted: true })`;
        await last.browser.run(`void dispatchEvent(${back})`);
      });
      await last.says("#state", CONNECTED);
    });

    await t.step("a page whose data are deleted says so", async () => {
      const { origin } = new URL(home.url);
      await last.browser.command("Storage.clearDataForOrigin", { origin, storageTypes: "all" });
      await last.says("#state", /is gone, as when the data of a site are deleted/);
    });

    // While the server is away a browser complains by itself.
    for (const each of [page, last]) each.assertClean([/WebSocket connection to 'ws:.* failed/]);
  },
);

/** What a peer was given. */
class Taken {
  readonly all: ReceivedMessage[] = [];
  #grown = Promise.withResolvers<void>();

  constructor(node: Node) {
    node.on("message", (message) => {
      this.all.push(message);
      this.#grown.resolve();
      this.#grown = Promise.withResolvers();
    });
  }

  get texts(): string[] {
    return this.all.map(({ data }) => new TextDecoder().decode(data));
  }

  async count(count: number): Promise<void> {
    while (this.all.length < count) await this.#grown.promise;
  }
}

/** Resolves when a server, or the page, has it. */
async function send(from: Node, to: string, text: string): Promise<void> {
  await (await from.send(to, "chat", new TextEncoder().encode(text))).accepted;
}

async function write(page: DashboardPage, to: Node, text: string): Promise<void> {
  await submit(page, "#write", { "#to": to.peerId.toString(), "#text": text });
  await page.until("the message is kept", `document.querySelector("#text").value === ""`);
}

/** Fills a form in and submits it. */
async function submit(
  page: DashboardPage,
  form: string,
  fields: Readonly<Record<string, string>>,
): Promise<void> {
  await page.until(form, `document.querySelector("${form}").checkVisibility()`);
  await page.browser.run(`(() => {
    for (const [field, value] of Object.entries(${JSON.stringify(fields)})) {
      document.querySelector(field).value = value;
    }
    document.querySelector("${form}").requestSubmit();
  })()`);
}

/** Which methods of WebSockets each of these statements calls, before it returns. */
async function callsOf(page: DashboardPage, statements: readonly string[]): Promise<string[][]> {
  const calls = await page.browser.run(`(() => {
    const { send, close } = WebSocket.prototype;
    const calls = [];
    for (const method of [send, close]) {
      WebSocket.prototype[method.name] = function (...args) {
        calls.push(method.name);
        return method.apply(this, args);
      };
    }
    const heard = [${statements.map((each) => `(${each}, calls.splice(0))`).join(", ")}];
    Object.assign(WebSocket.prototype, { send, close });
    return heard;
  })()`);
  return Array.isArray(calls) ? calls : [];
}

/** The texts of the messages to the page, in the order that it shows. */
async function received(page: DashboardPage): Promise<string[]> {
  const items = `[...document.querySelectorAll("#messages li")]`;
  const texts = await page.browser.run(
    `${items}.filter((item) => item.firstChild.textContent.startsWith("from "))
      .map((item) => item.lastChild.textContent)`,
  );
  return Array.isArray(texts) ? texts.map(String) : [];
}
