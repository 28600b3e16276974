import { deepEqual, equal, notDeepEqual } from "node:assert/strict";
import { verifyLinkKey } from "../../src/protocol/crypto/identity.ts";
import { LinkKeys } from "../../src/roles/link_keys.ts";
import { identityFor } from "../support/identities.ts";
import { DAY_MS, TestHost } from "./server/mailbox_scene.ts";

const alice = identityFor("alice");

Deno.test("LinkKeys certify one static key for thirty days", () => {
  const host = new TestHost();
  const keys = new LinkKeys(alice, host);
  const { pair, certificate } = keys.current();
  equal(certificate.expiry, (host.now() + 30 * DAY_MS) / 1000);
  equal(verifyLinkKey(certificate, pair.publicKey, host.now()).toString(), `${alice.peerId}`);
  host.pass(20 * DAY_MS);
  deepEqual(keys.current().pair, pair, "a process keeps its key for long");
});

Deno.test("LinkKeys make a new key ten days before the certificate expires", () => {
  const host = new TestHost();
  const keys = new LinkKeys(alice, host);
  const first = keys.current();
  host.pass(20 * DAY_MS + 1_000);
  const second = keys.current();
  notDeepEqual(second.pair, first.pair);
  equal(second.certificate.expiry, (host.now() + 30 * DAY_MS) / 1000);
  verifyLinkKey(second.certificate, second.pair.publicKey, host.now());
  host.pass(90 * DAY_MS);
  const third = keys.current();
  verifyLinkKey(third.certificate, third.pair.publicKey, host.now());
});

Deno.test("LinkKeys never show a certificate that reaches more than thirty days ahead", () => {
  const host = new TestHost();
  const keys = new LinkKeys(alice, host);
  keys.current();
  for (const back of [1_000, 3_600_000, 400 * DAY_MS]) {
    host.wall -= back;
    const { pair, certificate } = keys.current();
    equal(certificate.expiry, Math.floor(host.now() / 1000) + 30 * 86_400);
    verifyLinkKey(certificate, pair.publicKey, host.now());
  }
});
