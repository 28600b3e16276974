import type { Context } from "hono";
import { CairnError } from "../../../base/errors.ts";
import { type Host, systemHost } from "../../../base/host.ts";
import { RateLimit } from "../../../base/rate_limit.ts";
import { bearerCheck } from "../../bearer_check.ts";
import { isDiskFull, mapDiskFull } from "../../disk_full.ts";
import { keepSecret } from "../../secret_file.ts";
import { addressKey, plainAddress } from "../../signal/client_address.ts";
import { Refusal } from "./problem.ts";
import type { ApiEnv } from "./route.ts";

const TOKEN_FILE = "mgmt_token";
/** What a header can carry as one word. */
const TOKEN = /^[\x21-\x7e]+$/;

/** Wrong tokens of one address: then the next is told to wait. */
const WRONG_TOKENS = { burst: 10, perSecond: 1 / 6 };

/** Whether the holder of the token asks. */
export class TokenGate {
  readonly #isRight: (authorization?: string) => boolean;
  readonly #wrong = new RateLimit(WRONG_TOKENS);
  readonly #host: Host;
  readonly #onWrong: () => void;

  /** `onWrong` hears of every wrong token. */
  constructor(token: string, host: Host, onWrong: () => void = () => {}) {
    this.#isRight = bearerCheck(token);
    this.#host = host;
    this.#onWrong = onWrong;
  }

  /**
   * Returns when the request carries the right token; the time it takes tells nothing about it.
   * The right one never waits: else whoever shares an address with its holder, as behind a proxy,
   * could keep the holder out. What keeps a guesser out is the length of the token.
   *
   * @throws {Refusal} 401, or 429 when its address has sent too many wrong ones.
   */
  admit(context: Context<ApiEnv>): void {
    const authorization = context.req.header("authorization");
    if (this.#isRight(authorization)) return;
    if (authorization !== undefined) {
      this.#onWrong();
      if (!this.#wrong.take(sourceOf(context), this.#host.monotonic())) {
        context.header("retry-after", String(Math.ceil(1 / WRONG_TOKENS.perSecond)));
        throw new Refusal(
          429,
          "too-many-attempts",
          "Too many wrong tokens came from this address; wait a little",
        );
      }
    }
    context.header("www-authenticate", 'Bearer realm="cairn"');
    throw new Refusal(401, "unauthorized", "A valid bearer token is required");
  }
}

function sourceOf(context: Context<ApiEnv>): string {
  const address = plainAddress(context.env?.incoming?.socket.remoteAddress ?? "");
  return address === undefined ? "unknown" : addressKey(address);
}

/** The token of the management API and, when it lies in the data folder, where. */
export interface ManagementToken {
  readonly token: string;
  readonly path: string | null;
  /** Whether it was made by this call. */
  readonly created: boolean;
}

/**
 * The configured token, else the one in the data folder, else a new one of 32 random bytes, created
 * there for this user only.
 *
 * @throws {CairnError} `invalid-option` when the configured one is unusable, `data-folder-unusable`
 * when the file is.
 */
export async function ensureManagementToken(
  folderPath: string,
  configured?: string,
  host: Host = systemHost,
): Promise<ManagementToken> {
  const given = configured?.trim();
  if (given) {
    if (!TOKEN.test(given)) {
      throw new CairnError(
        "invalid-option",
        "The management token has spaces or characters that a header cannot carry: choose another",
      );
    }
    return { token: given, path: null, created: false };
  }
  const path = `${folderPath}/${TOKEN_FILE}`;
  try {
    const { secret, created } = await keepSecret(path, host);
    if (!TOKEN.test(secret)) {
      throw new CairnError(
        "data-folder-unusable",
        `The file ${path} holds no token that a header can carry: remove the file, and another ` +
          "one is made",
      );
    }
    return { token: secret, path, created };
  } catch (error) {
    if (error instanceof CairnError) throw error;
    if (isDiskFull(error)) throw mapDiskFull(error);
    throw new CairnError(
      "data-folder-unusable",
      `The management token in ${path} cannot be read or written: check who owns the file`,
      { cause: error },
    );
  }
}
