/** Long-term credentials: statements 39 to 60 of docs/relay_checklist.md. */

import { deepStrictEqual, match, notStrictEqual, ok, strictEqual } from "node:assert/strict";
import { concatBytes, fromBase64, toBase64, u16, utf8 } from "../../../src/base/bytes.ts";
import { AttributeType, encodePasswordAlgorithm } from "../../../src/protocol/stun/attributes.ts";
import { hmacSha1 } from "../../../src/protocol/crypto/hmac.ts";
import { longTermKey, userHash } from "../../../src/protocol/stun/integrity.ts";
import { type Attribute, Method, type StunMessage } from "../../../src/protocol/stun/message.ts";
import { RelayUsers } from "../../../src/protocol/turn/credentials.ts";
import { NONCE_COOKIE } from "../../../src/protocol/turn/nonces.ts";
import {
  type ActingClient,
  errorOf,
  isSuccess,
  lifetime,
  nonceOf,
  PASSWORD_ALGORITHMS,
  REALM,
  type RequestOptions,
  REST_SECRETS,
  TurnScene,
  UDP,
} from "./turn_scene.ts";

const HOUR = 3_600;

const allocate = (client: ActingClient, options: RequestOptions) =>
  client.request(Method.Allocate, [UDP], options);

/** A request with one of its credentials' attributes changed or left out. */
const replacing = (type: number, value: Uint8Array | undefined): RequestOptions => ({
  credentials: (own) =>
    own.flatMap(([t, v]): Attribute[] => t !== type ? [[t, v]] : value ? [[t, value]] : []),
});

function isChallenge(answer: StunMessage | undefined, code = 401): boolean {
  return errorOf(answer) === code && answer?.integrityKind === undefined &&
    answer?.get(AttributeType.Realm)?.length === REALM.length && nonceOf(answer) !== "" &&
    toBase64(answer.get(AttributeType.PasswordAlgorithms)!) === toBase64(PASSWORD_ALGORITHMS) &&
    !answer.has(AttributeType.Username) && !answer.has(AttributeType.UserHash);
}

Deno.test("2-AU-39 A request without integrity is challenged", () => {
  const scene = new TurnScene();
  for (const method of [Method.Allocate, Method.Refresh, Method.CreatePermission]) {
    ok(isChallenge(scene.client().ask(method)));
  }
});

Deno.test("2-AU-39 A challenge is at most 88 bytes", () => {
  const client = new TurnScene().client();
  const answer = client.ask(Method.Allocate);
  ok(answer!.bytes.length <= 88, `${answer!.bytes.length} bytes`);
});

Deno.test("2-AU-40 A nonce belongs to its source, port and transport", () => {
  const scene = new TurnScene();
  const sources = [
    scene.client("203.0.113.7:1"),
    scene.client("203.0.113.7:2"),
    scene.client("203.0.113.8:1"),
    scene.client("203.0.113.7:1", "tcp"),
    scene.client("203.0.113.7:1", "tls"),
  ];
  const nonces = sources.map((client) => nonceOf(client.ask(Method.Allocate)));
  strictEqual(new Set(nonces).size, nonces.length);
  sources.forEach((client, i) => {
    client.nonce = nonces[(i + 1) % nonces.length];
    strictEqual(errorOf(client.allocate()), 438);
  });
});

Deno.test("2-AU-41 A nonce announces its features however a client counts bits", () => {
  const nonce = nonceOf(new TurnScene().client().ask(Method.Allocate));
  match(nonce, /^obMatJos2/);
  strictEqual(nonce.length, 29);
  const [high, middle, low] = fromBase64(nonce.slice(9, 13));
  // Both features from the left (RFC text) and from the right (its vectors); nothing between.
  strictEqual(high! & 0b1100_0000, 0b1100_0000);
  strictEqual(low! & 0b11, 0b11);
  deepStrictEqual([high! & 0x3f, middle, low! & 0xfc], [0, 0, 0]);
});

Deno.test("2-AU-42 A signed request that does not say by whom gets a bare 400", () => {
  const scene = new TurnScene();
  for (const type of [AttributeType.Username, AttributeType.Realm, AttributeType.Nonce]) {
    const answer = allocate(scene.client(), replacing(type, undefined));
    strictEqual(errorOf(answer), 400);
    ok(!answer!.has(AttributeType.Realm) && !answer!.has(AttributeType.Nonce));
    strictEqual(answer!.integrityKind, undefined);
  }
});

Deno.test("2-AU-43 A client that chooses no algorithm uses MD5 and SHA-1", () => {
  const client = new TurnScene().client();
  const answer = client.allocate();
  ok(isSuccess(answer));
  strictEqual(answer?.integrityKind, "sha1");
  ok(client.trusts(answer));
});

Deno.test("2-AU-44 A choice repeats the offer, and is one of it", () => {
  const scene = new TurnScene();
  const codeWith = (type: number, value: Uint8Array | undefined) => {
    const client = scene.client();
    client.sha256 = true;
    return errorOf(allocate(client, replacing(type, value)));
  };
  strictEqual(codeWith(AttributeType.PasswordAlgorithm, undefined), 400);
  strictEqual(codeWith(AttributeType.PasswordAlgorithms, undefined), 400);
  strictEqual(codeWith(AttributeType.PasswordAlgorithms, Uint8Array.of(0, 2, 0, 0)), 400);
  strictEqual(codeWith(AttributeType.PasswordAlgorithms, Uint8Array.of(0, 1, 0, 0)), 400);
  strictEqual(codeWith(AttributeType.PasswordAlgorithm, Uint8Array.of(0, 3, 0, 0)), 400);
  strictEqual(
    codeWith(AttributeType.PasswordAlgorithm, encodePasswordAlgorithm("md5")),
    401,
    "the key is another one",
  );
});

Deno.test("2-AU-45 A client of RFC 8489 uses SHA-256 throughout", () => {
  const client = new TurnScene().client();
  client.sha256 = true;
  const answer = client.allocate();
  ok(isSuccess(answer));
  strictEqual(answer?.integrityKind, "sha256");
  ok(client.trusts(answer));
});

Deno.test("2-AU-45 The two families do not mix: another key is a wrong key", () => {
  const client = new TurnScene().client();
  const key = longTermKey("sha-256", "user", REALM, "pass");
  strictEqual(errorOf(allocate(client, { key })), 401);
});

Deno.test("2-AU-46 An unknown user is answered like a wrong password", () => {
  const scene = new TurnScene();
  const unknown = scene.client().as("nobody", "pass").allocate();
  const wrong = scene.client().as("user", "wrong").allocate();
  ok(isChallenge(unknown) && isChallenge(wrong));
  strictEqual(unknown!.bytes.length, wrong!.bytes.length);
  const hash = userHash("nobody", REALM);
  ok(isChallenge(allocate(scene.client(), withHash(hash))));
  ok(isChallenge(allocate(scene.client(), withHash(hash.subarray(1)))), "no hash at all");
});

Deno.test("2-AU-46 An unknown user costs an HMAC like a known one", () => {
  const scene = new TurnScene({
    settings: {
      failureRate: { burst: 1e6, perSecond: 1e6 },
      challengeRate: { burst: 1e6, perSecond: 1e6 },
    },
  });
  const padding: Attribute = [0xfffe, new Uint8Array(60_000)];
  const attempt = (username: string) => {
    const client = scene.client().as(username, "wrong");
    client.nonce = nonceOf(client.ask(Method.Allocate));
    const bytes = client.signed(Method.Allocate, [UDP, padding]);
    return () => {
      const start = performance.now();
      client.receive(bytes);
      return performance.now() - start;
    };
  };
  const attempts = [attempt("user"), attempt("nobody")];
  // In turn, so that what else the machine does slows neither down alone; the quickest counts.
  const times = Array.from({ length: 60 }, () => attempts.map((each) => each()));
  const [known, unknown] = [0, 1].map((who) => Math.min(...times.map((pair) => pair[who]!)));
  ok(known !== undefined && unknown !== undefined);
  ok(unknown > known / 3 && known > unknown / 3, `${known} ms and ${unknown} ms`);
});

Deno.test("2-AU-47 A wrong password is challenged; of two tags the stronger one counts", () => {
  const scene = new TurnScene();
  ok(isChallenge(scene.client().as("user", "wrong").allocate()));

  const client = scene.client();
  client.nonce = nonceOf(client.ask(Method.Allocate));
  const good = client.signed(Method.Allocate, [UDP]);
  const withWrongSha256 = concatBytes(good, u16(0x1c), u16(32), new Uint8Array(32));
  withWrongSha256.set(u16(withWrongSha256.length - 20), 2);
  client.receive(withWrongSha256);
  ok(isChallenge(client.answer()));
  client.receive(good);
  ok(isSuccess(client.answer()));
});

Deno.test("2-AU-49 A stale nonce is refused with one that works at once", () => {
  const scene = new TurnScene();
  const client = scene.client();
  client.nonce = "nonsense";
  const answer = client.allocate();
  ok(isChallenge(answer, 438));
  client.nonce = nonceOf(answer);
  ok(isSuccess(client.allocate()));
});

Deno.test("2-AU-49 A wrong password with a stale nonce is a wrong password first", () => {
  const client = new TurnScene().client().as("user", "wrong");
  client.nonce = "nonsense";
  strictEqual(errorOf(client.allocate()), 401);
});

Deno.test("2-AU-50 A nonce whose features were taken out is not accepted", () => {
  const scene = new TurnScene();
  const client = scene.client();
  const nonce = nonceOf(client.ask(Method.Allocate));
  for (const cookie of ["obMatJos2AAAA", "obMatJos2gAAB", "xxxxxxxxxwAAD", ""]) {
    client.nonce = cookie + nonce.slice(NONCE_COOKIE.length);
    strictEqual(errorOf(client.allocate()), 438, cookie);
  }
});

Deno.test("2-AU-51 A nonce is good for an hour, each from its own first minute", () => {
  const scene = new TurnScene();
  const client = scene.client();
  client.allocate(lifetime(HOUR));
  scene.pass(300);
  const later = scene.client("203.0.113.9:1");
  later.nonce = nonceOf(later.ask(Method.Allocate));
  for (let minutes = 5; minutes < 59; minutes += 9) {
    scene.pass(9 * 60);
    ok(isSuccess(client.refresh(HOUR)));
  }
  scene.pass(60);
  const stale = client.refresh(HOUR);
  strictEqual(errorOf(stale), 438);
  ok(isSuccess(later.allocate()), "others go on");
  client.nonce = nonceOf(stale);
  ok(isSuccess(client.refresh(HOUR)));
});

Deno.test("2-AU-51 A nonce from the time before a restart is stale", () => {
  const before = new TurnScene({ seed: 1 });
  const after = new TurnScene({ seed: 2 });
  const client = after.client();
  client.nonce = nonceOf(before.client().ask(Method.Allocate));
  strictEqual(errorOf(client.allocate()), 438);
});

Deno.test("2-AU-52 Every answer after authentication is signed, with either family", () => {
  for (const sha256 of [false, true]) {
    const scene = new TurnScene();
    const client = scene.client();
    client.sha256 = sha256;
    const answers = [
      client.refresh(600),
      client.request(Method.Allocate, []),
      client.request(Method.Allocate, [[AttributeType.RequestedTransport, new Uint8Array(4)]]),
      client.allocate([0x7fff, new Uint8Array()]),
      client.allocate(),
      client.allocate(),
      client.permit("10.0.0.1:80"),
      client.permit("[fc00::1]:80"),
      client.permit("8.8.8.8:80"),
      client.bind(0x4000, "8.8.8.8:80"),
      client.refresh(0),
    ];
    deepStrictEqual(answers.map(errorOf), [
      437,
      400,
      442,
      420,
      undefined,
      437,
      403,
      443,
      undefined,
      undefined,
      undefined,
    ]);
    for (const answer of answers) ok(client.trusts(answer));
  }
});

Deno.test("2-AU-54 USERHASH names a listed user; nobody else can be found by it", () => {
  const scene = new TurnScene();
  const client = scene.client();
  client.sha256 = true;
  const answer = allocate(client, withHash(userHash("user", REALM)));
  ok(isSuccess(answer) && client.trusts(answer));

  const timed = timeLimited(scene.client("203.0.113.7:2"), scene, HOUR);
  ok(isChallenge(allocate(timed, withHash(userHash(timed.username, REALM)))));
});

Deno.test("2-AU-56 The machine is given keys; no password is near it", () => {
  const account = new RelayUsers({
    realm: REALM,
    users: [{ username: "user", password: "correct horse" }],
    restSecrets: [],
  });
  ok(!Deno.inspect(account, { depth: 20, showHidden: true }).includes("horse"));
});

Deno.test("2-AU-58 A time-limited credential works until its time", () => {
  const scene = new TurnScene();
  ok(isSuccess(timeLimited(scene.client("203.0.113.7:1"), scene, HOUR).allocate()));
  const expired = timeLimited(scene.client("203.0.113.7:2"), scene, -5);
  ok(isChallenge(expired.allocate()));
  const forged = timeLimited(scene.client("203.0.113.7:3"), scene, HOUR, "no secret of ours");
  ok(isChallenge(forged.allocate()));
});

Deno.test("2-AU-58 What expires during an allocation does not end it, unless that is asked", () => {
  for (const strictExpiry of [false, true]) {
    const scene = new TurnScene({ settings: { strictExpiry } });
    const client = timeLimited(scene.client(), scene, 300);
    ok(isSuccess(client.allocate()));
    scene.pass(400);
    const answers = [
      client.refresh(600),
      client.permit("8.8.8.8:1"),
      client.bind(0x4000, "8.8.8.8:1"),
    ];
    for (const answer of answers) strictEqual(errorOf(answer), strictExpiry ? 401 : undefined);
    const again = timeLimited(scene.client("203.0.113.7:2"), scene, -100);
    ok(isChallenge(again.allocate()));
  }
});

Deno.test("2-AU-59 Both orders of a time-limited username are known", () => {
  const scene = new TurnScene();
  const time = Math.floor(scene.host.now() / 1000) + HOUR;
  for (const [port, username] of [[1, `alice:${time}`], [2, `${time}`], [3, `${time}:alice`]]) {
    const client = scene.client(`203.0.113.7:${port}`);
    client.as(`${username}`, passwordFor(`${username}`, REST_SECRETS[0]!));
    ok(isSuccess(client.allocate()), `${username}`);
  }
});

Deno.test("2-AU-60 Each of several secrets vouches, and signs with the key that was used", () => {
  const scene = new TurnScene();
  REST_SECRETS.forEach((secret, i) => {
    const client = timeLimited(scene.client(`203.0.113.7:${i + 1}`), scene, HOUR, secret);
    const answer = client.allocate();
    ok(isSuccess(answer) && client.trusts(answer));
  });
});

Deno.test("Authentication: a reload lets nobody go on with a password that is gone", () => {
  const scene = new TurnScene();
  const client = scene.allocated();
  scene.server.setCredentials(
    new RelayUsers({
      realm: REALM,
      users: [{ username: "user", password: "another" }],
      restSecrets: [],
    }),
  );
  ok(isChallenge(client.refresh(600)));
  ok(client.allocation, "what runs is not cut off");
  ok(isSuccess(client.as("user", "another").refresh(600)));
});

Deno.test("2-SEC-129 Nonces of one second and source differ from server to server", () => {
  const nonces = [1, 2].map((seed) =>
    nonceOf(new TurnScene({ seed }).client().ask(Method.Allocate))
  );
  notStrictEqual(nonces[0], nonces[1]);
});

/** USERHASH in place of USERNAME. */
function withHash(hash: Uint8Array): RequestOptions {
  return {
    credentials: (own) =>
      own.map(([type, value]): Attribute =>
        type === AttributeType.Username ? [AttributeType.UserHash, hash] : [type, value]
      ),
  };
}

/** The client with a credential that ends in so many seconds. */
function timeLimited(
  client: ActingClient,
  scene: TurnScene,
  seconds: number,
  secret = REST_SECRETS[0]!,
): ActingClient {
  const username = `${Math.floor(scene.host.now() / 1000) + seconds}:alice`;
  return client.as(username, passwordFor(username, secret));
}

function passwordFor(username: string, secret: string): string {
  return toBase64(hmacSha1(utf8(secret), utf8(username)));
}
