import assert from "node:assert/strict";
import { createHash, createHmac } from "node:crypto";
import { fromHex, toHex, utf8 } from "../../../src/base/bytes.ts";
import {
  type CredentialSettings,
  parseStaticUser,
  parseTimeLimited,
  RelayUsers,
  timeLimitedPassword,
} from "../../../src/protocol/turn/credentials.ts";

Deno.test("2-AU-55 RelayUsers make the key and the USERHASH of RFC 8489 B.1", () => {
  const credentials = credentialsOf({
    realm: "example.org",
    users: [{ username: "マトリックス", password: "The\u00adM\u00aatr\u2168" }],
  });
  const account = credentials.byUsername("マトリックス");
  assert.equal(account?.user, "マトリックス");
  assert.equal(
    toHex(account.keys("sha-256")[0]!),
    createHash("sha256").update("マトリックス:example.org:TheMatrIX").digest("hex"),
  );
  const hash = fromHex("4a3cf38fef6992bda952c6780417da0f24819415569e60b205c46e41407f1704");
  assert.equal(credentials.byUserHash(hash), account);
  hash[0]! ^= 1;
  assert.equal(credentials.byUserHash(hash), undefined);
});

Deno.test("2-AU-57 RelayUsers make the MD5 key of RFC 8489 section 9.2.2", () => {
  const users = [{ username: "user", password: "pass" }];
  const account = credentialsOf({ realm: "realm", users }).byUsername("user");
  assert.equal(toHex(account!.keys("md5")[0]!), "8493fbc53ba582fb4c044c456bdc40eb");
});

Deno.test("2-AU-46 RelayUsers know nobody who is not listed", () => {
  const credentials = credentialsOf({ users: [{ username: "user", password: "pass" }] });
  for (const name of ["", "User", "user ", "1900000000:user", "__proto__"]) {
    assert.equal(credentials.byUsername(name), undefined, name);
  }
  assert.equal(credentials.isEmpty, false);
  assert.equal(credentialsOf({}).isEmpty, true);
});

Deno.test("2-AU-58 a username with an expiry has the password that the secret gives it", () => {
  const username = "1900000000:3f2a9c0d11223344";
  const account = credentialsOf({ restSecrets: ["s3cret"] }).byUsername(username);
  const password = createHmac("sha1", "s3cret").update(username).digest("base64");
  assert.equal(timeLimitedPassword(username, utf8("s3cret")), password);
  assert.equal(account?.expiresAt, 1_900_000_001);
  assert.equal(account.user, "3f2a9c0d11223344");
  for (const [algorithm, hash] of [["md5", "md5"], ["sha-256", "sha256"]] as const) {
    const key = createHash(hash).update(`${username}:cairn:${password}`).digest("hex");
    assert.equal(toHex(account.keys(algorithm)[0]!), key);
  }
});

/** `looks like a time` is what decides; the rest is the user. */
const TIME_LIMITED: [username: string, user: string | undefined, expiry: number | undefined][] = [
  ["1900000000:alice", "alice", 1_900_000_000],
  ["alice:1900000000", "alice", 1_900_000_000],
  ["1900000000", "1900000000", 1_900_000_000],
  ["1900000000:", "", 1_900_000_000],
  ["1900000000:alice:2000000000", "alice:2000000000", 1_900_000_000],
  ["1900000000:1800000000", "1800000000", 1_900_000_000],
  ["123:1900000000", "123", 1_900_000_000],
  ["123:456", undefined, undefined],
  ["alice", undefined, undefined],
  ["alice:-1900000000", undefined, undefined],
  ["19000000000000:alice", undefined, undefined],
  ["1e9:alice", undefined, undefined],
  ["", undefined, undefined],
];

for (const [username, user, expiry] of TIME_LIMITED) {
  Deno.test(`2-AU-59 the username "${username}" is ${expiry ? "time-limited" : "no time-limited one"}`, () => {
    assert.deepEqual(parseTimeLimited(username), expiry && { user, expiry });
    const account = credentialsOf({ restSecrets: ["s3cret"] }).byUsername(username);
    assert.equal(account?.user, user);
  });
}

Deno.test("2-AU-60 every secret vouches for time-limited usernames", () => {
  const keysOf = (...restSecrets: string[]) =>
    credentialsOf({ restSecrets }).byUsername("1900000000:a")!.keys("md5");
  const keys = [...keysOf("new"), ...keysOf("old")];
  assert.deepEqual(keysOf("new", "old"), keys);
  assert.notDeepEqual(keys[0], keys[1]);
});

Deno.test("RelayUsers keep the keys of the usernames used last, and no more", () => {
  const credentials = credentialsOf({ restSecrets: ["s3cret"] });
  const first = credentials.byUsername("1900000000:first");
  for (let i = 0; i < 999; i++) credentials.byUsername(`1900000000:${i}`);
  assert.equal(credentials.byUsername("1900000000:first"), first);
  for (let i = 0; i < 1_000; i++) credentials.byUsername(`1900000001:${i}`);
  assert.notEqual(credentials.byUsername("1900000000:first"), first);
});

Deno.test("a user listed before its time-limited namesake is the one that is meant", () => {
  const users = [{ username: "1900000000", password: "pass" }];
  const account = credentialsOf({ users, restSecrets: ["s3cret"] }).byUsername("1900000000");
  assert.equal(account?.expiresAt, Infinity);
});

Deno.test("parseStaticUser() splits at the first colon", () => {
  assert.deepEqual(parseStaticUser("user:pa:ss"), { username: "user", password: "pa:ss" });
  for (const text of ["", "user", ":pass", "user:"]) assert.equal(parseStaticUser(text), undefined);
});

const REFUSED: [settings: Partial<CredentialSettings>, message: RegExp][] = [
  [{ users: [user("a", "1"), user("a", "2")] }, /"a" is listed twice/],
  [{ users: [user("", "1")] }, /name of a relay user is empty/],
  [{ users: [user("a", "")] }, /password of the relay's user "a" is empty/],
  [{ users: [user("u".repeat(509), "1")] }, /name of a relay user is empty, too long/],
  [{ realm: "" }, /realm is empty/],
  [{ realm: "r".repeat(764) }, /realm is empty, too long/],
];

for (const [settings, message] of REFUSED) {
  Deno.test(`RelayUsers are refused: ${message}`, () => {
    assert.throws(() => credentialsOf(settings), { code: "invalid-option", message });
  });
}

function user(username: string, password: string) {
  return { username, password };
}

function credentialsOf(settings: Partial<CredentialSettings>): RelayUsers {
  return new RelayUsers({ realm: "cairn", users: [], restSecrets: [], ...settings });
}
