import { equalBytes } from "../base/bytes.ts";
import { CairnError } from "../base/errors.ts";
import type { Host } from "../base/host.ts";
import { certifyX3dhKey, Identity } from "../protocol/crypto/identity.ts";
import { sha256, x25519KeyPair } from "../protocol/crypto/primitives.ts";
import type { SessionIdentity } from "../protocol/session/session.ts";
import type { KvStore } from "./kv_store.ts";

const KEY = ["identity"];

/** Secrets of a peer as they lie in its data folder. */
interface StoredIdentity {
  readonly seed: Uint8Array;
  readonly x3dhSecret: Uint8Array;
  /** SHA-256 of both: a damaged key would work as the key of another peer. */
  readonly check: Uint8Array;
}

/** A peer's long-term keys. */
export interface OwnIdentity {
  readonly identity: Identity;
  readonly session: SessionIdentity;
}

/** Loads the identity of a data folder; makes it at the first start, durably. */
export async function loadIdentity(kv: KvStore, host: Host): Promise<OwnIdentity> {
  let stored = (await kv.get<StoredIdentity>(KEY)).value;
  if (!stored) {
    const [seed, x3dhSecret] = [host.random(32), host.random(32)];
    stored = { seed, x3dhSecret, check: sha256(seed, x3dhSecret) };
    const result = await kv.atomic()
      .check({ key: KEY, versionstamp: null }).set(KEY, stored).commit();
    if (!result.ok) throw new CairnError("data-folder-in-use", "Another process made an identity");
  }
  if (!equalBytes(sha256(stored.seed, stored.x3dhSecret), stored.check)) {
    throw new Error("The identity is damaged");
  }
  const identity = Identity.fromSeed(stored.seed);
  const x3dhPair = x25519KeyPair(stored.x3dhSecret);
  return {
    identity,
    session: {
      peerId: identity.peerId,
      identityKey: identity.publicKey,
      x3dhPair,
      x3dhCertificate: certifyX3dhKey(identity, x3dhPair.publicKey),
    },
  };
}
