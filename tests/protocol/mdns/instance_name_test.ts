import { equal, match, notEqual, ok } from "node:assert/strict";
import { instanceName, isInstanceOf } from "../../../src/protocol/mdns/instance_name.ts";
import { bytesFor, identityFor } from "../../support/identities.ts";

const nonce = (name: string) => bytesFor(name).slice(0, 8);
const home = identityFor("home").peerId;
const other = identityFor("other").peerId;

Deno.test("mDNS name: who knows the server's Peer ID recognises it, and only that server", () => {
  const name = instanceName(home, nonce("monday"));
  match(name, /^[0-9a-f]{40}$/);
  ok(isInstanceOf(home, name));
  ok(!isInstanceOf(other, name));
});

Deno.test("mDNS name: the names of two starts have nothing in common", () => {
  const [monday, tuesday] = [nonce("monday"), nonce("tuesday")].map((each) =>
    instanceName(home, each)
  );
  notEqual(monday, tuesday);
  notEqual(monday?.slice(16), tuesday?.slice(16));
});

Deno.test("mDNS name: every changed digit, and everything that is no name, is refused", () => {
  const name = instanceName(home, nonce("monday"));
  for (let i = 0; i < name.length; i++) {
    const digit = (parseInt(name[i] ?? "", 16) ^ 1).toString(16);
    ok(!isInstanceOf(home, name.slice(0, i) + digit + name.slice(i + 1)));
  }
  for (const bad of ["", name.slice(1), `${name}0`, name.toUpperCase(), `${name}.local`]) {
    ok(!isInstanceOf(home, bad));
  }
  equal(isInstanceOf(home, name), true);
});
