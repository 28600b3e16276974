/** A client's side of the long-term credential mechanism (RFC 8489 section 9.2). */

import { fromBase64, utf8 } from "../../base/bytes.ts";
import {
  AttributeType,
  decodePasswordAlgorithms,
  decodeText,
  encodePasswordAlgorithm,
} from "../stun/attributes.ts";
import { type Integrity, longTermKey, type PasswordAlgorithm } from "../stun/integrity.ts";
import type { Attribute, StunMessage } from "../stun/message.ts";
import { opaqueString } from "./opaque_string.ts";

const NONCE_COOKIE = "obMatJos2";
/** Bit 0 of the security features, from either end: the RFC contradicts itself about which. */
const PASSWORD_ALGORITHMS_FEATURE = [0x80, 0, 1] as const;

/** What a server's challenge says, and what answers it. */
interface Session {
  readonly attributes: readonly Attribute[];
  readonly integrity: Integrity;
}

/** Signs requests once the server has said how. */
export class ClientAuthentication {
  readonly #username: string;
  readonly #password: string;
  #session: Session | undefined;
  #realm: string | undefined;

  /** Both as the user typed them. */
  constructor(username: string, password: string) {
    this.#username = opaqueString(username) ?? username;
    this.#password = opaqueString(password) ?? password;
  }

  /** The server's realm; `undefined` before its first challenge. */
  get realm(): string | undefined {
    return this.#realm;
  }

  /** What goes into a request; nothing before the first challenge. */
  get attributes(): readonly Attribute[] {
    return this.#session?.attributes ?? [];
  }

  /** What a request is signed with; nothing before the first challenge. */
  get integrity(): Integrity | undefined {
    return this.#session?.integrity;
  }

  /** Whether a response is signed with the key that requests are. */
  hasSigned(response: StunMessage): boolean {
    const { integrity } = this;
    return integrity !== undefined && response.verify(integrity);
  }

  /**
   * Takes REALM and NONCE of a 401 or 438. Returns whether they can be answered: not where they are
   * missing, nor where the nonce promises algorithms that somebody removed (section 9.2.5).
   */
  takeChallenge(response: StunMessage): boolean {
    const realm = response.get(AttributeType.Realm);
    const nonce = response.get(AttributeType.Nonce);
    const realmText = realm && decodeText(realm);
    if (realm === undefined || realmText === undefined || nonce === undefined) return false;
    const offered = response.get(AttributeType.PasswordAlgorithms);
    if (offered === undefined && promisesAlgorithms(nonce)) return false;
    const algorithm = choose(offered);
    if (algorithm === undefined) return false;
    this.#realm = realmText;
    const attributes: Attribute[] = [
      [AttributeType.Username, utf8(this.#username)],
      [AttributeType.Realm, realm.slice()],
      [AttributeType.Nonce, nonce.slice()],
    ];
    if (offered !== undefined) {
      attributes.push(
        [AttributeType.PasswordAlgorithms, offered.slice()],
        [AttributeType.PasswordAlgorithm, encodePasswordAlgorithm(algorithm)],
      );
    }
    const key = longTermKey(algorithm, this.#username, realmText, this.#password);
    const kind = offered === undefined ? "sha1" : "sha256";
    this.#session = { attributes, integrity: { kind, key } };
    return true;
  }
}

/** The strongest algorithm that both sides know; without a list it is MD5 (section 9.2.4). */
function choose(offered: Uint8Array | undefined): PasswordAlgorithm | undefined {
  if (offered === undefined) return "md5";
  const algorithms = decodePasswordAlgorithms(offered) ?? [];
  return algorithms.includes("sha-256") ? "sha-256" : algorithms[0];
}

function promisesAlgorithms(nonce: Uint8Array): boolean {
  const text = decodeText(nonce);
  if (text === undefined || !text.startsWith(NONCE_COOKIE)) return false;
  const encoded = text.slice(NONCE_COOKIE.length, NONCE_COOKIE.length + 4);
  if (!/^[A-Za-z0-9+/]{4}$/.test(encoded)) return false;
  const features = fromBase64(encoded);
  return PASSWORD_ALGORITHMS_FEATURE.some((bit, i) => (features[i]! & bit) !== 0);
}
