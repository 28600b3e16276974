import assert from "node:assert/strict";
import { createHash, X509Certificate } from "node:crypto";

const PATHS = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"];
const FLAGS = [
  ..."--headless --no-sandbox --disable-gpu --disable-quic --no-first-run".split(" "),
  ..."--disable-background-networking --disable-component-update --disable-sync".split(" "),
  "--remote-debugging-port=0",
];
const START_WITHIN_MS = 90_000;
const END_WITHIN_MS = 60_000;

/** Where the browser is on this machine, if it is. */
export const chromiumPath = PATHS.find((path) => {
  try {
    return Deno.statSync(path).isFile;
  } catch {
    return false;
  }
});

/** Makes the browser accept one key, known by its hash, as that of any host. */
function trustFlags(certificate: string | undefined): string[] {
  if (certificate === undefined) return [];
  const key = new X509Certificate(certificate).publicKey.export({ type: "spki", format: "der" });
  const hash = createHash("sha256").update(key).digest("base64");
  return [`--ignore-certificate-errors-spki-list=${hash}`];
}

/** Whether a certificate can be made known to the browser (Debian package libnss3-tools). */
export const canTrust = await new Deno.Command("certutil", {
  args: ["-H"],
  stdout: "null",
  stderr: "null",
}).output().then(() => true, () => false);

interface Answer {
  readonly id?: number;
  readonly method?: string;
  readonly params?: Readonly<Record<string, unknown>>;
  readonly result?: Readonly<Record<string, unknown>>;
  readonly error?: { readonly message: string };
}

/** A headless browser with one page, spoken to by the Chrome DevTools Protocol. */
export class Chromium {
  readonly #child: Deno.ChildProcess;
  /** Its own profile, if it was given none. */
  readonly #folder: string | undefined;
  readonly #errors: ReadableStreamDefaultReader<string>;
  readonly #socket: WebSocket;
  readonly #pending = new Map<number, (answer: Answer) => void>();
  #lastId = 0;
  #isKilled = false;
  #session: string | undefined;
  #onLoad = () => {};
  /** Hears what the page's domains tell that {@linkcode Chromium.command} has enabled. */
  onEvent: (method: string, params: Readonly<Record<string, unknown>>) => void = () => {};

  private constructor(
    child: Deno.ChildProcess,
    folder: string | undefined,
    errors: ReadableStreamDefaultReader<string>,
    socket: WebSocket,
  ) {
    this.#child = child;
    this.#folder = folder;
    this.#errors = errors;
    this.#socket = socket;
    socket.onmessage = ({ data }) => {
      const answer: Answer = JSON.parse(data);
      if (answer.method === "Page.loadEventFired") this.#onLoad();
      if (answer.id === undefined) return this.onEvent(answer.method ?? "", answer.params ?? {});
      this.#pending.get(answer.id)?.(answer);
      this.#pending.delete(answer.id);
    };
  }

  /**
   * Starts it and shows `url`. Of certificates of no known authority it believes `certificate`
   * (PEM) for pages, and the one in the file `trusted` also for TURN over TLS. What a `profile` has
   * stored is there again, and left there; without one it begins with nothing.
   */
  static async open(
    url: string,
    options: { certificate?: string; trusted?: string; profile?: string } = {},
  ): Promise<Chromium> {
    assert.ok(chromiumPath);
    const { profile } = options;
    const folder = profile ?? await Deno.makeTempDir({ prefix: "cairn-chromium-" });
    if (options.trusted !== undefined) await trust(options.trusted, folder);
    const child = new Deno.Command(chromiumPath, {
      args: [
        ...FLAGS,
        ...trustFlags(options.certificate),
        `--user-data-dir=${folder}`,
        "about:blank",
      ],
      ...(options.trusted !== undefined && { env: { HOME: folder } }),
      stdin: "null",
      stdout: "null",
      stderr: "piped",
    }).spawn();
    const errors = child.stderr.pipeThrough(new TextDecoderStream()).getReader();
    const timer = setTimeout(() => child.kill("SIGKILL"), START_WITHIN_MS);
    let said = "";
    let address: string | undefined;
    while (address === undefined) {
      const { done, value } = await errors.read();
      assert.ok(!done, `Chromium does not start:\n${said}`);
      said += value;
      address = /DevTools listening on (ws:\S+)\s/.exec(said)?.[1];
    }
    clearTimeout(timer);
    const socket = new WebSocket(address);
    await new Promise((resolve) => socket.onopen = resolve);
    const browser = new Chromium(child, profile ? undefined : folder, errors, socket);
    void browser.#readErrors();
    const { targetId } = await browser.#ask("Target.createTarget", { url: "about:blank" });
    const { sessionId } = await browser.#ask("Target.attachToTarget", { targetId, flatten: true });
    assert.ok(typeof sessionId === "string");
    browser.#session = sessionId;
    await browser.#ask("Page.enable", {});
    await browser.navigate(url);
    return browser;
  }

  /** Shows another page, to the end of its loading. */
  async navigate(url: string): Promise<void> {
    await this.loaded(async () => void await this.#ask("Page.navigate", { url }));
  }

  /** Does what makes a page load, and waits for that. */
  async loaded(cause: () => Promise<void>): Promise<void> {
    const loaded = new Promise<void>((resolve) => this.#onLoad = resolve);
    await cause();
    await loaded;
  }

  /** A command of the protocol to the page, and its answer. */
  async command(
    method: string,
    params: object = {},
  ): Promise<Readonly<Record<string, unknown>>> {
    return await this.#ask(method, params);
  }

  /** Runs `script`, an expression, in the page, and returns what it, or its promise, becomes. */
  async run(script: string): Promise<unknown> {
    const { result, exceptionDetails } = await this.#ask("Runtime.evaluate", {
      expression: script,
      awaitPromise: true,
      returnByValue: true,
    });
    assert.equal(exceptionDetails, undefined, JSON.stringify(exceptionDetails));
    assert.ok(typeof result === "object" && result !== null);
    return "value" in result ? result.value : undefined;
  }

  /** Ends it at once and unasked, as a power cut does; only for one with a profile. */
  async kill(): Promise<void> {
    const closed = new Promise((resolve) => this.#socket.onclose = resolve);
    this.#child.kill("SIGKILL");
    await closed;
    await this.#child.status;
    await this.#errors.cancel();
    this.#isKilled = true;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#isKilled) return;
    const timer = setTimeout(() => this.#child.kill("SIGKILL"), END_WITHIN_MS);
    const closed = new Promise((resolve) => this.#socket.onclose = resolve);
    this.#session = undefined;
    // It may be killed before it answers.
    await Promise.race([this.#ask("Browser.close", {}), closed]);
    await closed;
    await this.#child.status;
    clearTimeout(timer);
    await this.#errors.cancel();
    if (this.#folder === undefined) return;
    // Processes of its own may still write for a moment.
    for (let attempt = 0; attempt < 100; attempt++) {
      const isGone = await Deno.remove(this.#folder, { recursive: true }).then(
        () => true,
        (error) => error instanceof Deno.errors.NotFound,
      );
      if (isGone) return;
    }
  }

  async #readErrors(): Promise<void> {
    while (!(await this.#errors.read()).done);
  }

  async #ask(method: string, params: object): Promise<Readonly<Record<string, unknown>>> {
    const id = ++this.#lastId;
    const answered = new Promise<Answer>((resolve) => this.#pending.set(id, resolve));
    const sessionId = this.#session;
    this.#socket.send(JSON.stringify({ id, method, params, ...(sessionId && { sessionId }) }));
    const { result = {}, error } = await answered;
    assert.equal(error, undefined, `${method}: ${error?.message}`);
    return result;
  }
}

/** Makes the certificate known in the database of the user whose home is `home`. */
async function trust(certPath: string, home: string): Promise<void> {
  const database = `${home}/.pki/nssdb`;
  await Deno.mkdir(database, { recursive: true });
  for (
    const args of [
      ["-N", "--empty-password"],
      ["-A", "-n", "test", "-t", "P,,", "-i", certPath],
    ]
  ) {
    const { success } = await new Deno.Command("certutil", {
      args: [...args, "-d", `sql:${database}`],
      stdout: "null",
      stderr: "null",
    }).output();
    assert.ok(success, "certutil takes the certificate");
  }
}
