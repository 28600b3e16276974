import { createHash } from "node:crypto";
import { equalSecret } from "../base/bytes.ts";

/**
 * Tells whether an `Authorization` header carries `token` as bearer token (RFC 6750, section 2.1).
 * The time that it takes tells nothing about the token, nor about its length.
 */
export function bearerCheck(token: string): (authorization?: string) => boolean {
  const expected = digest(token);
  return (authorization = "") => {
    const [scheme, presented = "", ...rest] = authorization.split(" ");
    const equal = equalSecret(digest(presented), expected);
    return equal && scheme?.toLowerCase() === "bearer" && rest.length === 0;
  };
}

function digest(text: string): Uint8Array {
  return createHash("sha256").update(text).digest();
}
