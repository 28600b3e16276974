/** How the dashboard looks and what its page may do, in front of an invented server. */

import { deepEqual, equal, match, ok } from "node:assert/strict";
import { TOKEN } from "../roles/server/managed_scene.ts";
import { ignore, note } from "../support/dashboard_home.ts";
import { DashboardPage } from "../support/dashboard_page.ts";
import { inventedServer } from "../support/invented_server.ts";

const WITHIN = 300_000;
/** WCAG 2.2, 1.4.3. */
const LEAST_CONTRAST = 4.5;
const DIALOGS = ["#make-pin", "#make-link", ".peer .buttons button", ".peer .danger"];

/** Every text on the page that is seen, with its contrast to what is behind it. */
const CONTRASTS = `(() => {
  const numbers = (colour) => colour.match(/[\\d.]+/g).map(Number);
  const light = ([red, green, blue]) => [red, green, blue]
    .map((value) => value / 255)
    .map((value) => value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4)
    .reduce((sum, value, at) => sum + value * [0.2126, 0.7152, 0.0722][at], 0);
  const behind = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const colour = numbers(getComputedStyle(at).backgroundColor);
      if (colour[3] !== 0) return colour;
    }
    return [255, 255, 255];
  };
  const texts = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const { parentElement, data } = walker.currentNode;
    if (data.trim() === "" || !parentElement.checkVisibility()) continue;
    const [a, b] = [light(numbers(getComputedStyle(parentElement).color)), light(behind(parentElement))];
    texts.push([data.trim(), (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05)]);
  }
  return texts;
})()`;

/** What can be operated but is called nothing. */
const NAMELESS = `[...document.querySelectorAll("button, input, summary, [tabindex='0'], svg, img")]
  .filter((at) => at.checkVisibility() && !(at.getAttribute("aria-label") || at.textContent.trim() ||
    at.labels?.length || at.getAttribute("aria-labelledby") || at.hasAttribute("alt")))
  .map((at) => at.outerHTML)`;

Deno.test(`The dashboard can be read on every screen, in light and dark${note}`, {
  ignore,
}, async () => {
  await using served = await inventedServer();
  await using page = await opened(served.url);
  equal(await page.browser.run("scrollY"), 0, "signing in leaves the head of the page in sight");
  for (const colour of ["light", "dark"] as const) {
    for (const width of [360, 768, 1280]) {
      await page.as(width, 740, colour);
      // A browser lays out in its own time; what makes the page wider would never let it hold.
      await page.eventually(`a page ${width} wide`, `innerWidth === ${width}`);
      const sideways =
        "document.documentElement.scrollWidth - document.documentElement.clientWidth";
      equal(await page.browser.run(sideways), 0, `${width}`);
    }
    await assertReadable(page, colour);
    for (const selector of DIALOGS) {
      await page.as(360, 740, colour);
      await page.eventually("a narrow page", "innerWidth === 360");
      await page.browser.run(`document.querySelector("${selector}").click()`);
      await page.until("the dialog", `document.querySelector("dialog[open]")`);
      await assertReadable(page, `${selector} ${colour}`);
      const box = `document.querySelector("dialog").getBoundingClientRect()`;
      equal(await page.browser.run(`${box}.left >= 0 && ${box}.right <= 360`), true, selector);
      await page.press("Escape");
      await page.until("no dialog", `!document.querySelector("dialog")`);
    }
    served.scene.pairing.made.length = 0;
  }
  page.assertClean();
});

Deno.test(`The plots say in words and numbers what they show${note}`, { ignore }, async () => {
  await using served = await inventedServer();
  await using page = await opened(served.url);
  const labels = await page.browser.run(
    `[...document.querySelectorAll("#plots svg")].map((at) => at.getAttribute("aria-label"))`,
  );
  match(String(labels), /^Stored over the last hour: 61.3 MiB now, [\d.]+ MiB at most,Waiting/);
  equal(await page.browser.run(`document.querySelectorAll("tbody tr").length`), 12);
  await page.browser.run(`document.getElementById("range-week").click()`);
  await page.until("a week", `/last week/.test(document.querySelector("svg").ariaLabel)`);
  equal(await page.browser.run(`document.getElementById("range-hour").ariaPressed`), "false");
  page.assertClean();
});

Deno.test(
  `The page can neither make HTML of text, nor run what is put in, nor ask elsewhere${note}`,
  {
    ignore,
  },
  async () => {
    await using served = await inventedServer();
    await using page = await opened(served.url);
    const outcome = (script: string) =>
      page.browser.run(
        `(async () => { try { ${script}; return "done" } catch { return "no" } })()`,
      );
    equal(await outcome(`document.body.innerHTML = "<b>x</b>"`), "no");
    equal(await outcome(`await fetch("http://127.0.0.2:1/")`), "no");
    equal(await outcome(`setTimeout("document.title = 'owned'")`), "no");
    const image =
      `document.querySelector("main").append(Object.assign(new Image(), { src: "//x.test/" }))`;
    equal(await outcome(image), "done");
    const handler =
      `document.body.setAttribute("onclick", "document.title = 'owned'"); document.body.click()`;
    equal(await outcome(handler), "no");
    equal(await page.browser.run(`document.title`), "(1) cairn server");
    const forbidden = page.complaints.filter((text) =>
      /Content.Security.Policy|TrustedHTML|TrustedScript/.test(text)
    );
    deepEqual(page.complaints.filter((text) => !forbidden.includes(text)), []);
  },
);

async function opened(url: string): Promise<DashboardPage> {
  const page = await DashboardPage.open(url, AbortSignal.timeout(WITHIN));
  await page.signIn(TOKEN);
  await page.says("#contact", /^Live$/);
  await page.until("the plots", `document.querySelector("svg .line").getAttribute("d").length > 9`);
  return page;
}

async function assertReadable(page: DashboardPage, what: string): Promise<void> {
  const texts = await page.browser.run(CONTRASTS);
  ok(Array.isArray(texts) && texts.length > 80, what);
  const faint = texts.filter(([, contrast]) => contrast < LEAST_CONTRAST);
  deepEqual(faint, [], what);
  deepEqual(await page.browser.run(NAMELESS), [], what);
}
