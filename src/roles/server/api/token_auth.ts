import { createHash } from "node:crypto";
import type { MiddlewareHandler } from "hono";
import { equalSecret, toBase64Url, utf8 } from "../../../base/bytes.ts";
import { CairnError } from "../../../base/errors.ts";
import { type Host, systemHost } from "../../../base/host.ts";
import { isDiskFull, mapDiskFull } from "../../disk_space.ts";
import { problem } from "./problem.ts";

const TOKEN_FILE = "mgmt_token";
const TOKEN_BYTES = 32;

/** What a request says about itself. */
export type Credential = "none" | "wrong" | "right";

/** Compares the request's bearer token with `token` in a time that tells nothing about either. */
export function tokenCheck(token: string): (authorization: string | undefined) => Credential {
  const expected = digest(token);
  return (authorization) => {
    if (authorization === undefined) return "none";
    const [scheme, presented, ...rest] = authorization.split(" ");
    const isBearer = scheme?.toLowerCase() === "bearer" && rest.length === 0;
    const equal = equalSecret(digest(presented ?? ""), expected);
    return isBearer && equal ? "right" : "wrong";
  };
}

/** Lets only requests with the right token through. */
export function requireToken(
  check: (authorization: string | undefined) => Credential,
): MiddlewareHandler {
  return async (context, next) => {
    if (check(context.req.header("authorization")) === "right") return await next();
    context.header("www-authenticate", 'Bearer realm="cairn"');
    return problem(context, 401, "unauthorized", "A valid bearer token is required");
  };
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
    if (!/^[\x21-\x7e]+$/.test(given)) {
      throw new CairnError(
        "invalid-option",
        "The management token has spaces or characters that a header cannot carry: choose another",
      );
    }
    return { token: given, path: null, created: false };
  }
  const path = `${folderPath}/${TOKEN_FILE}`;
  try {
    const stored = await readToken(path);
    if (stored !== undefined) return { token: stored, path, created: false };
    const token = toBase64Url(host.random(TOKEN_BYTES));
    await createToken(path, token);
    return { token, path, created: true };
  } catch (error) {
    if (isDiskFull(error)) throw mapDiskFull(error);
    throw new CairnError(
      "data-folder-unusable",
      `The management token in ${path} cannot be read or written: check who owns the file`,
      { cause: error },
    );
  }
}

/** `undefined` when there is none, or one that a crash left empty. */
async function readToken(path: string): Promise<string | undefined> {
  let text: string;
  try {
    text = (await Deno.readTextFile(path)).trim();
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw error;
  }
  if (text !== "") return text;
  await Deno.remove(path);
  return undefined;
}

async function createToken(path: string, token: string): Promise<void> {
  const file = await Deno.open(path, { createNew: true, write: true, mode: 0o600 });
  try {
    await file.write(utf8(`${token}\n`));
    await file.sync();
  } finally {
    file.close();
  }
}

function digest(text: string): Uint8Array {
  return createHash("sha256").update(text).digest();
}
