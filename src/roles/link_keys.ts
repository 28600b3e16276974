import type { Host } from "../base/host.ts";
import {
  certifyLinkKey,
  type Identity,
  type LinkCertificate,
} from "../protocol/crypto/identity.ts";
import { type KeyPair, x25519KeyPair } from "../protocol/crypto/primitives.ts";

const LIFETIME_SECONDS = 30 * 86_400;
const RENEW_BEFORE_SECONDS = 10 * 86_400;

/** A static key of the link layer with the identity's certificate for it. */
export interface LinkKey {
  readonly pair: KeyPair;
  readonly certificate: LinkCertificate;
}

/** Makes the process's static link key, and a new one well before the certificate expires. */
export class LinkKeys {
  #current: LinkKey | undefined;

  constructor(private readonly identity: Identity, private readonly host: Host) {}

  current(): LinkKey {
    const now = Math.floor(this.host.now() / 1000);
    const left = this.#current ? this.#current.certificate.expiry - now : 0;
    // A clock that jumped back would make the certificate look too long for the remote.
    if (!this.#current || left < RENEW_BEFORE_SECONDS || left > LIFETIME_SECONDS) {
      const pair = x25519KeyPair(this.host.random(32));
      const certificate = certifyLinkKey(this.identity, pair.publicKey, now + LIFETIME_SECONDS);
      this.#current = { pair, certificate };
    }
    return this.#current;
  }
}
