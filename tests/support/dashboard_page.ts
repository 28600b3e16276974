import { deepEqual, equal, ok } from "node:assert/strict";
import { Chromium } from "./chromium.ts";
import { within } from "./deadline.ts";

/** Keys that a person without a mouse has. */
const KEYS = {
  Tab: { code: "Tab", key: "Tab", windowsVirtualKeyCode: 9 },
  Enter: { code: "Enter", key: "Enter", windowsVirtualKeyCode: 13, text: "\r" },
  Escape: { code: "Escape", key: "Escape", windowsVirtualKeyCode: 27 },
} as const;

/** More Tabs than the page has places. */
const MOST_TABS = 80;

/** The dashboard in a headless browser, with all that went wrong in it. */
export class DashboardPage implements AsyncDisposable {
  /** Errors on the console, exceptions, and what the content security policy forbade. */
  readonly complaints: string[] = [];
  /** Where requests went. */
  readonly requested: URL[] = [];

  private constructor(
    readonly browser: Chromium,
    private readonly url: string,
    private readonly deadline: AbortSignal,
  ) {
    browser.onEvent = (method, params) => this.#hear(method, params);
  }

  /** Shows the dashboard at `url`, in a browser with a profile of its own or the one that is named. */
  static async open(
    url: string,
    deadline: AbortSignal,
    profile?: string,
  ): Promise<DashboardPage> {
    const browser = await Chromium.open("about:blank", { ...(profile && { profile }) });
    const page = new DashboardPage(browser, url, deadline);
    for (const domain of ["Runtime", "Log", "Network"]) {
      await page.browser.command(`${domain}.enable`);
    }
    await page.browser.navigate(url);
    return page;
  }

  /** Signs in with the fields of the page. */
  async signIn(token: string): Promise<void> {
    await this.until("the form", `document.activeElement.id === "token"`);
    await this.type(token);
    await this.press("Enter");
  }

  /** Goes back, as by the button of the browser; what is shown then may not be loaded anew. */
  async back(): Promise<void> {
    const { currentIndex, entries } = await this.browser.command("Page.getNavigationHistory");
    ok(Array.isArray(entries));
    const { id: entryId } = entries[Number(currentIndex) - 1];
    await this.browser.command("Page.navigateToHistoryEntry", { entryId });
  }

  /** Waits until an expression holds in the page, looked at whenever the page changes. */
  async until(what: string, expression: string): Promise<void> {
    const script = `new Promise((resolve) => {
      const holds = () => { try { return ${expression}; } catch { return false; } };
      const check = () => { if (holds()) { observer.disconnect(); resolve(); } };
      const observer = new MutationObserver(check);
      const every = { subtree: true, childList: true, attributes: true, characterData: true };
      observer.observe(document, every);
      document.addEventListener("focusin", check);
      check();
    })`;
    const holds = async () => {
      for (;;) {
        try {
          return await this.browser.run(script);
        } catch (error) {
          // The page was loaded anew meanwhile.
          if (!/navigated|context/.test(String(error))) throw error;
          this.deadline.throwIfAborted();
        }
      }
    };
    await within(this.deadline, holds(), () => `${what} on the page`);
  }

  /** Waits until an expression holds that no change of this page shows, as it is of another. */
  async eventually(what: string, expression: string): Promise<void> {
    const script = `new Promise((resolve) => {
      const check = () => { try { if (${expression}) return resolve(); } catch {} setTimeout(check, 50); };
      check();
    })`;
    await within(this.deadline, this.browser.run(script), () => `${what} on the page`);
  }

  /** Waits until an element says something. */
  async says(selector: string, text: RegExp): Promise<void> {
    await this.until(`${text} in ${selector}`, `${text}.test(${seen(selector)})`);
  }

  /** What an element says to who sees the page; `""` where there is none. */
  async text(selector: string): Promise<string> {
    return String(await this.browser.run(seen(selector)));
  }

  /** Goes on by Tab until the element in focus is called so, as a screen reader would call it. */
  async tabTo(name: RegExp): Promise<void> {
    for (let count = 0; count < MOST_TABS; count++) {
      if (name.test(await this.focused())) return;
      await this.press("Tab");
    }
    throw new Error(`No Tab leads to ${name}; the last was ${await this.focused()}`);
  }

  /** The accessible name of what has the focus. */
  async focused(): Promise<string> {
    return String(
      await this.browser.run(`(() => {
        const at = document.activeElement;
        return at.getAttribute("aria-label") ?? at.labels?.[0]?.innerText ?? at.innerText ?? "";
      })()`),
    );
  }

  async press(key: keyof typeof KEYS): Promise<void> {
    for (const type of ["keyDown", "keyUp"]) {
      await this.browser.command("Input.dispatchKeyEvent", { type, ...KEYS[key] });
    }
  }

  async type(text: string): Promise<void> {
    await this.browser.command("Input.insertText", { text });
  }

  /** Shows it as on a screen of this size and colour. */
  async as(width: number, height: number, colour: "light" | "dark"): Promise<void> {
    await this.browser.command("Emulation.setDeviceMetricsOverride", {
      ...{ width, height, deviceScaleFactor: 1, mobile: width < 600 },
    });
    await this.browser.command("Emulation.setEmulatedMedia", {
      features: [
        { name: "prefers-color-scheme", value: colour },
        { name: "prefers-reduced-motion", value: "reduce" },
      ],
    });
  }

  /** A picture of the whole page, PNG. */
  async picture(): Promise<Uint8Array<ArrayBuffer>> {
    const height = Number(await this.browser.run("document.documentElement.scrollHeight"));
    const width = Number(await this.browser.run("innerWidth"));
    const { data } = await this.browser.command("Page.captureScreenshot", {
      captureBeyondViewport: true,
      clip: { x: 0, y: 0, width, height, scale: 1 },
    });
    return Uint8Array.fromBase64(String(data));
  }

  /** Asserts that nothing was complained about, and that no other host was asked for anything. */
  assertClean(expected: readonly RegExp[] = []): void {
    deepEqual(this.complaints.filter((text) => !expected.some((known) => known.test(text))), []);
    ok(this.requested.length > 0);
    const own = new URL(this.url).origin;
    for (const { origin, protocol, href } of this.requested) {
      if (protocol !== "data:") equal(origin, own, href);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.browser[Symbol.asyncDispose]();
  }

  #hear(method: string, params: Readonly<Record<string, unknown>>): void {
    if (method === "Runtime.exceptionThrown") this.complaints.push(JSON.stringify(params));
    if (method === "Runtime.consoleAPICalled") this.complaints.push(JSON.stringify(params.args));
    if (method === "Log.entryAdded") this.complaints.push(JSON.stringify(params.entry));
    if (method === "Network.requestWillBeSent") {
      const { request } = params;
      const url = typeof request === "object" && request !== null && "url" in request
        ? String(request.url)
        : "";
      this.requested.push(new URL(url));
    }
  }
}

/** An expression: the text of an element that is not hidden. */
function seen(selector: string): string {
  const found = `document.querySelector(${JSON.stringify(selector)})`;
  return `(${found}?.checkVisibility() ? ${found}.innerText : "")`;
}
