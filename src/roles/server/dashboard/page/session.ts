/// <reference lib="dom" />

/** The name under which the token is kept for this tab alone. */
const KEY = "cairn-management-token";

/** An answer that is not a success: one sentence for people, as the server says it. */
export class Refused extends Error {
  constructor(readonly status: number, message: string) {
    super(message);
  }
}

/**
 * Asks the server with the management token. The token goes with each request in a header that no
 * page of another origin can make a browser send, so nothing has to be done against forged requests.
 */
export class Session {
  #token = sessionStorage.getItem(KEY);
  /** Called when the server does not take the token any more. */
  onSignedOut: () => void = () => {};

  get isSignedIn(): boolean {
    return this.#token !== null;
  }

  /** @throws {Refused} 401 for a wrong token, 429 after too many of them. */
  async signIn(token: string): Promise<void> {
    if (!/^[\x21-\x7e]+$/.test(token)) throw new Refused(401, "This cannot be the token");
    const answer = await fetch("health", { headers: { authorization: `Bearer ${token}` } });
    if (!answer.ok) throw await refusalOf(answer);
    this.#token = token;
    sessionStorage.setItem(KEY, token);
  }

  signOut(): void {
    this.#token = null;
    sessionStorage.removeItem(KEY);
  }

  /** Asks for JSON. @throws {Refused} */
  async ask<Answer>(path: string, init: RequestInit = {}): Promise<Answer> {
    const headers = { accept: "application/json", ...init.headers };
    return await (await this.open(path, { ...init, headers })).json();
  }

  /** Asks with a body of JSON, or without one. @throws {Refused} */
  async send<Answer>(method: string, path: string, body?: unknown): Promise<Answer> {
    return await this.ask(path, {
      method,
      ...(body !== undefined && {
        headers: { "content-type": "application/json" },
        body: JSON.stringify(body),
      }),
    });
  }

  /** @throws {Refused} when the answer is not a success. */
  async open(path: string, init: RequestInit): Promise<Response> {
    const authorization = `Bearer ${this.#token}`;
    const answer = await fetch(path, { ...init, headers: { ...init.headers, authorization } });
    if (answer.ok) return answer;
    if (answer.status === 401 && this.isSignedIn) this.onSignedOut();
    throw await refusalOf(answer);
  }
}

async function refusalOf(answer: Response): Promise<Refused> {
  const said: unknown = await answer.json().catch(() => undefined);
  const sentence = typeof said === "object" && said !== null && "error" in said
    ? String(said.error)
    : `The server answered with ${answer.status}`;
  return new Refused(answer.status, sentence);
}

/** What went wrong, for people. */
export function sentenceOf(error: unknown): string {
  return error instanceof Refused ? error.message : "The server does not answer";
}
