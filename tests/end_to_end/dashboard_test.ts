/** The dashboard in Chromium, in front of a real server with real peers. */

import { deepEqual, equal, match } from "node:assert/strict";
import { DashboardHome, ignore, note, TOKEN } from "../support/dashboard_home.ts";
import type { DashboardPage } from "../support/dashboard_page.ts";

/** What a peer would be called to get into the page. */
const HOSTILE = `<img src=x onerror="document.title='owned'"><b>Eve</b>`;
/** The browser itself reports such an answer. */
const WRONG_TOKEN_REPORTED = /Failed to load resource.*(?:401|429)/;

Deno.test(`The dashboard is for who has the token, until signed out${note}`, {
  ignore,
}, async () => {
  await using home = await DashboardHome.open();
  const page = await home.page();
  await page.signIn("token-of-somebody-else");
  await page.says("#sign-in-problem", /not the token/);
  await page.until("the wrong token in focus", `document.activeElement.id === "token"`);
  equal(await page.text("#dashboard"), "");
  const guesses = beginToGuess(home);
  await guesses.refused;
  await page.signIn("token-of-somebody-else");
  await page.says("#sign-in-problem", /^Too many wrong tokens came from this address/);
  await guesses.end();

  await page.signIn(TOKEN);
  await page.says("#contact", /^Live$/);
  await page.says("#overview", /Healthy/);
  await page.says("#server", new RegExp(home.server.peerId.toString()));
  await page.browser.loaded(async () => void await page.browser.run("void location.reload()"));
  await page.says("#contact", /^Live$/);

  await page.browser.run(`sessionStorage.setItem("cairn-management-token", "of yesterday")`);
  await page.browser.run("void location.reload()");
  await page.says("#sign-in-problem", /^The server does not take this token any more$/);
  await page.signIn(TOKEN);
  await page.says("#contact", /^Live$/);

  await page.tabTo(/^Sign out$/);
  await page.browser.loaded(() => page.press("Enter"));
  await page.until("the form", `document.activeElement.id === "token"`);
  equal(await page.browser.run("sessionStorage['cairn-management-token']"), undefined);
  equal(await page.browser.run("document.cookie + localStorage.length"), "0");
  page.assertClean([WRONG_TOKEN_REPORTED]);
});

Deno.test(`A peer is paired by PIN, named and unpaired with the keyboard alone${note}`, {
  ignore,
}, async () => {
  await using home = await DashboardHome.open();
  const page = await home.page();
  const phone = await home.peer("phone");
  const phoneId = phone.peerId.toString();
  await page.signIn(TOKEN);
  await page.says("#no-peers", /No peer is paired/);

  await page.tabTo(/^Make a PIN$/);
  await page.press("Enter");
  await page.says("dialog .outcome", /^Waiting for a peer to use the PIN$/);
  match(await page.text("dialog"), /Expires in [45]:\d\d/);
  const pin = await page.text("dialog .secret");
  const command = `cairn peer pair --pin ${pin} --signal ${home.signalUrl}`;
  equal(await page.text("dialog .offered code"), command);
  await home.within(phone.pairWithPin(pin), "pairing");
  await page.says("dialog .outcome", /^Paired with Qm/);
  equal(await page.text("dialog .secret"), "", "a PIN that is used is not shown");
  await page.until("the name in focus", `document.activeElement.matches("dialog input")`);
  await page.type("Anna’s phone");
  await page.press("Enter");

  await page.says(".peer h3", /^Anna’s phone$/);
  await page.says(".peer", new RegExp(`Online since[^]*${phoneId}[^]*Paired .* by PIN`));
  await page.says("#offer-list", /Paired with Anna’s phone/);
  await page.until("no dialog", `!document.querySelector("dialog")`);
  equal(await page.focused(), "Make a PIN", "the focus is back where it was");
  await page.says("#event-list", /was paired by PIN/);

  await page.tabTo(/^Rename Anna’s phone$/);
  await page.press("Enter");
  await page.until("the dialog", `document.activeElement.value === "Anna’s phone"`);
  await page.type("Phone");
  await page.press("Enter");
  await page.says(".peer h3", /^Phone$/);

  await page.tabTo(/^Unpair Phone$/);
  await page.press("Enter");
  await page.says("dialog", /Unpair Phone\?/);
  equal(await page.focused(), "Cancel");
  await page.press("Escape");
  await page.until("no dialog", `!document.querySelector("dialog")`);
  equal(await page.focused(), "Unpair Phone");
  await page.press("Enter");
  await page.tabTo(/^Unpair$/);
  await page.press("Enter");
  await page.says("#no-peers", /No peer is paired/);
  await page.says("#notice", /Phone is unpaired/);
  equal(await page.focused(), "Peers");
  await page.says("#event-list", /Phone was unpaired/);
  page.assertClean();
});

Deno.test(`Who asks is approved by its digits, or refused; a link pairs, too${note}`, {
  ignore,
}, async () => {
  await using home = await DashboardHome.open();
  const page = await home.page();
  const [tablet, stranger, laptop] = [
    await home.peer("tablet"),
    await home.peer("stranger"),
    await home.peer("laptop"),
  ];
  await page.signIn(TOKEN);
  await page.says("#no-requests", /Nobody asks/);

  const shown = Promise.withResolvers<string>();
  const paired = tablet.askToPair(home.server.peerId, shown.resolve, home.deadline);
  const sas = await home.within(shown.promise, "six digits");
  await page.says(".request", new RegExp(`${sas.slice(0, 3)} ${sas.slice(3)}`));
  await page.says(".request", new RegExp(tablet.peerId.toString()));
  await page.says("#notice", /^A peer asks to be paired$/);
  await page.until("the number in the title", `document.title === "(1) cairn server"`);
  await press(page, ".request .primary");
  await home.within(paired, "the approved pairing");
  await page.says(".peer", new RegExp(tablet.peerId.toString()));
  await page.says("#no-requests", /Nobody asks/);

  const refused = stranger.askToPair(home.server.peerId, () => {}, home.deadline)
    .then(() => "paired", (error) => error.code);
  await page.says(".request", new RegExp(stranger.peerId.toString()));
  await press(page, ".request .danger");
  equal(await home.within(refused, "the refusal"), "pairing-failed");
  await page.says("#event-list", /was refused/);

  await press(page, "#make-link");
  await page.until("the code", `document.querySelector(".code-image").naturalWidth > 0`);
  const link = await page.text("dialog .link");
  match(link, /^cairn:\/\/pair\?/);
  await home.within(laptop.pairWithLink(link), "pairing by link");
  await page.says("dialog .outcome", /^Paired with Qm/);
  await page.press("Escape");

  await press(page, "#make-pin");
  await page.says("dialog .outcome", /Waiting/);
  await press(page, "dialog .buttons button");
  await page.says("dialog .outcome", /was withdrawn/);
  await page.press("Escape");
  await page.until("no dialog", `!document.querySelector("dialog")`);

  await page.browser.run(`document.getElementById("approve-id").focus()`);
  await page.type("5Hb7...");
  await page.press("Enter");
  await page.says("#approve-problem", /whole Peer ID/);
  await page.browser.run(`document.getElementById("approve-id").select()`);
  await page.type(stranger.peerId.toString());
  await page.press("Enter");
  await page.says("#approve-problem", /may pair/);
  await home.within(stranger.pairApproved(home.server.peerId), "the approved pairing");
  await page.until("three peers", `document.querySelectorAll(".peer").length === 3`);
  // The short id that was refused, and what the browser says of it.
  page.assertClean([/Failed to load resource.*422/]);
});

Deno.test(`What waits is seen as it comes, and purged; a name stays text${note}`, {
  ignore,
}, async () => {
  await using home = await DashboardHome.open();
  const page = await home.page();
  await page.signIn(TOKEN);
  await page.says("#contact", /^Live$/);
  const [alice, bob] = [await home.peer("alice"), await home.peer("bob")];
  for (const peer of [alice, bob]) {
    await home.within(peer.pairWithLink(home.server.pairing.createLink().uri), "pairing");
  }
  const [aliceId, bobId] = [alice.peerId.toString(), bob.peerId.toString()];
  await page.until("both", `document.querySelectorAll(".peer .online").length === 2`);

  await page.tabTo(new RegExp("^Rename"));
  const held = await page.focused();
  deepEqual((await home.ask("PATCH", `peers/${bobId}`, { name: HOSTILE })).name, HOSTILE);
  await page.says("#peer-list", /<img src=x onerror=/);
  match(await page.focused(), /^Rename/);
  await page.browser.run(`document.activeElement.setAttribute("data-same", "yes")`);

  await bob.close();
  await page.says("#peer-list", /Offline, last seen/);
  await page.says("#event-list", /<b>Eve<\/b> went offline/);
  await (await alice.send(bobId, "", new Uint8Array(2_000))).accepted;
  await (await alice.send(bobId, "", new Uint8Array(2_000))).accepted;
  await page.says("#peer-list", /2 of 10,000 messages wait/);
  equal(await page.browser.run(`document.activeElement.dataset.same`), "yes", held);

  await page.browser.run(`document.querySelector('[aria-label^="Purge"]:not([hidden])').click()`);
  await page.says("dialog", /<b>Eve<\/b>[^]*2 messages/);
  await press(page, "dialog .danger");
  await page.says("#notice", /^2 messages dropped$/);
  await page.until("nothing", `!document.querySelector("#peer-list .some")`);
  await page.says("#event-list", /2 messages for <img[^]* dropped/);
  deepEqual(await home.ask("GET", "queues"), { queues: [] });

  equal(await page.browser.run(`document.querySelectorAll("main img, main b").length`), 0);
  match(String(await page.browser.run("document.title")), /^cairn server$/);
  await page.says("#event-list", new RegExp(aliceId.slice(-4)));
  page.assertClean();
});

Deno.test(`The page says that contact is lost, and is up to date when it is back${note}`, {
  ignore,
}, async () => {
  await using home = await DashboardHome.open();
  const page = await home.page();
  await page.signIn(TOKEN);
  await page.says("#contact", /^Live$/);
  await home.server.close();
  await page.says("#contact", /^Contact with the server was lost at \d\d:\d\d. Trying again…$/);
  await home.server.start();
  await page.says("#contact", /^Live$/);
  const peer = await home.peer("peer");
  await home.within(peer.pairWithLink(home.server.pairing.createLink().uri), "pairing");
  await page.says(".peer", new RegExp(peer.peerId.toString()));
  // Whatever a browser calls it when a server goes while it is asked.
  page.assertClean([
    /ERR_(?:CONNECTION_\w+|EMPTY_RESPONSE|INCOMPLETE_CHUNKED_ENCODING|SOCKET_NOT_CONNECTED)|503/,
  ]);
});

/**
 * Guesses tokens without a pause, for as the server forgives a guess every few seconds, others are
 * refused only while somebody goes on; `refused` resolves with the first that is told to wait.
 */
function beginToGuess(home: DashboardHome): { refused: Promise<void>; end(): Promise<void> } {
  const refused = Promise.withResolvers<void>();
  let isOver = false;
  const guess = async () => {
    for (let count = 0; !isOver; count++) {
      const headers = { authorization: `Bearer guess-${count}` };
      const response = await fetch(`${home.url}peers`, { headers, signal: home.deadline });
      await response.body?.cancel();
      if (response.status === 429) refused.resolve();
    }
  };
  const guessing = guess();
  guessing.catch(refused.reject);
  return {
    refused: refused.promise,
    end() {
      isOver = true;
      return guessing;
    },
  };
}

/** Presses a button by its place. */
async function press(page: DashboardPage, selector: string): Promise<void> {
  await page.until(`something at ${selector}`, `document.querySelector(${quoted(selector)})`);
  await page.browser.run(`document.querySelector(${quoted(selector)}).click()`);
}

function quoted(text: string): string {
  return JSON.stringify(text);
}
