import { equalSecret, utf8 } from "../../base/bytes.ts";

/**
 * True when the `Authorization` header holds one of `tokens` as a bearer token (RFC 6750, section
 * 2.1). All are compared, in a time that shows no more than their lengths.
 */
export function hasBearerToken(header: string | undefined, tokens: readonly string[]): boolean {
  const given = /^Bearer +(.+)$/i.exec(header ?? "")?.[1];
  if (given === undefined) return false;
  const bytes = utf8(given);
  return tokens.filter((token) => equalSecret(bytes, utf8(token))).length > 0;
}
