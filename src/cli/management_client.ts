/** Asks the management API of a running server, for the verbs of `cairn server`. */

import { getLogger } from "@logtape/logtape";
import { CairnError } from "../base/errors.ts";
import { CLI_AGENT } from "../roles/server/api/route.ts";
import { VERSION } from "../version.ts";
import { findServerDataDir } from "./data_dir.ts";
import { OPTIONS } from "./options.ts";
import type { Settings } from "./settings.ts";
import { escapeControls } from "./standard_output.ts";

const logger = getLogger(["cairn", "cli"]);

const ANSWER_WITHIN_MS = 10_000;
/** A server that is silent for so long in the middle of an answer is given up. */
const SILENT_MS = 120_000;

/** What an answer must look like; a zod schema is one. */
export interface Shape<T> {
  safeParse(value: unknown):
    | { readonly success: true; readonly data: T }
    | { readonly success: false };
}

/** A request to the management API. */
export interface ManagementRequest {
  /** Default `GET`. */
  readonly method?: "GET" | "POST" | "PATCH" | "DELETE";
  /** Sent as JSON. */
  readonly body?: unknown;
}

/** The running server as its operator's programs reach it. */
export class ManagementClient {
  readonly #url: string;
  readonly #token: string;
  readonly #howToSetUrl: string;

  /** @throws {CairnError} when there is no token to ask with. */
  constructor(settings: Settings) {
    this.#url = settings.value(OPTIONS.mgmtUrl) ?? localManagement(settings);
    this.#token = settings.value(OPTIONS.mgmtToken) ?? readTokenFile(findServerDataDir(settings));
    this.#howToSetUrl = settings.howToSet(OPTIONS.mgmtUrl);
  }

  /**
   * The JSON answer to a request; `path` begins with a slash and is encoded.
   * @throws {CairnError} `unreachable`, or `refused` with the reason that the server gives.
   */
  async ask<T>(path: string, shape: Shape<T>, request: ManagementRequest = {}): Promise<T> {
    const response = await this.#send(path, request);
    let answer: unknown;
    try {
      answer = await response.json();
    } catch (cause) {
      throw this.#notCairn(cause);
    }
    const parsed = shape.safeParse(answer);
    if (parsed.success) return parsed.data;
    throw this.#notCairn();
  }

  /**
   * The answer as it comes, for as long as `signal` allows: an event stream, an image.
   * @throws {CairnError} as {@linkcode ask}.
   */
  async open(path: string, accept: string, signal: AbortSignal): Promise<Response> {
    return await this.#send(path, {}, { accept, signal });
  }

  /**
   * The bytes of a long answer, as they come.
   * @throws {CairnError} as {@linkcode ask}, and `unreachable` when it breaks off.
   */
  async *stream(
    path: string,
    accept: string,
    request: ManagementRequest = {},
  ): AsyncGenerator<Uint8Array, void> {
    const silence = new AbortController();
    const listen = () => setTimeout(() => silence.abort(), SILENT_MS);
    let timer = listen();
    try {
      const response = await this.#send(path, request, { accept, signal: silence.signal });
      for await (const bytes of response.body ?? []) {
        clearTimeout(timer);
        yield bytes;
        timer = listen();
      }
    } catch (cause) {
      if (cause instanceof CairnError) throw cause;
      throw new CairnError(
        "unreachable",
        "The server stopped sending before the end; its log says why",
        { cause },
      );
    } finally {
      clearTimeout(timer);
      silence.abort();
    }
  }

  async #send(
    path: string,
    { method = "GET", body }: ManagementRequest,
    { accept = "application/json", signal = AbortSignal.timeout(ANSWER_WITHIN_MS) } = {},
  ): Promise<Response> {
    const url = `${this.#url}${path}`;
    let response: Response;
    try {
      response = await fetch(url, {
        method,
        headers: {
          accept,
          authorization: `Bearer ${this.#token}`,
          "user-agent": `${CLI_AGENT}${VERSION}`,
          ...(body !== undefined && { "content-type": "application/json" }),
        },
        ...(body !== undefined && { body: JSON.stringify(body) }),
        signal,
        redirect: "error",
      });
    } catch (cause) {
      logger.debug("Asking {url} failed", { url, cause });
      throw new CairnError(
        "unreachable",
        `No server answers at ${this.#url}; start cairn server, or say where it is with ` +
          this.#howToSetUrl,
        { cause },
      );
    }
    if (response.ok) return response;
    throw new CairnError("refused", await this.#refusal(response));
  }

  async #refusal(response: Response): Promise<string> {
    const problem: unknown = await response.json().catch(() => undefined);
    if (response.status === 401) {
      return `The server at ${this.#url} refuses the management token; give the right one in ` +
        "CAIRN_MGMT_TOKEN";
    }
    const said = typeof problem === "object" && problem !== null && "error" in problem
      ? problem.error
      : undefined;
    return typeof said === "string"
      ? escapeControls(said)
      : `The server at ${this.#url} answers with status ${response.status}`;
  }

  #notCairn(cause?: unknown): CairnError {
    return new CairnError(
      "refused",
      `What answers at ${this.#url} is not a cairn server of this version; say where it is with ` +
        this.#howToSetUrl,
      { cause },
    );
  }
}

function localManagement(settings: Settings): string {
  const bind = settings.value(OPTIONS.mgmtBind);
  const host = bind === "0.0.0.0" ? "127.0.0.1" : bind === "::" ? "::1" : bind;
  const port = settings.value(OPTIONS.mgmtPort);
  return `http://${host.includes(":") ? `[${host}]` : host}:${port}`;
}

function readTokenFile(dataDir: string): string {
  const path = `${dataDir}/mgmt_token`;
  try {
    return Deno.readTextFileSync(path).trim();
  } catch (cause) {
    throw new CairnError(
      "refused",
      `Cannot read the management token from "${path}"; give it in CAIRN_MGMT_TOKEN, or name ` +
        "the server's data folder with --data-dir",
      { cause },
    );
  }
}
