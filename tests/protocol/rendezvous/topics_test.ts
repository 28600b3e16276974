import { deepEqual, equal, notEqual } from "node:assert/strict";
import { toHex } from "../../../src/base/bytes.ts";
import { PeerId } from "../../../src/protocol/crypto/peer_id.ts";
import { sha256 } from "../../../src/protocol/crypto/primitives.ts";
import { utf8 } from "../../../src/base/bytes.ts";
import {
  contactTopic,
  rankServers,
  rendezvousTopics,
} from "../../../src/protocol/rendezvous/topics.ts";

/** Secret and answer of the reference implementation's known values. */
const SECRET = Uint8Array.from({ length: 32 }, (_, index) => index + 1);
const AT = 1_700_000_000;
const TOPIC = "211e00d9ea20364053d7d5ab17446ae29c6a6516e9bee1f1725019cb5b384f29";

Deno.test("rendezvousTopics() follows the reference's formula and is alone in mid-epoch", () => {
  deepEqual(rendezvousTopics(SECRET, AT), [TOPIC]);
});

Deno.test("rendezvousTopics() adds the neighbour within 2,100 s of either end of an epoch", () => {
  const position = 11_806;
  const start = AT - position;
  const end = start + 86_400;
  deepEqual(rendezvousTopics(SECRET, start + 2_100), [TOPIC]);
  deepEqual(rendezvousTopics(SECRET, start + 2_099).length, 2);
  equal(rendezvousTopics(SECRET, start + 2_099)[0], TOPIC);
  deepEqual(rendezvousTopics(SECRET, end - 2_100), [TOPIC]);
  const late = rendezvousTopics(SECRET, end - 2_099);
  equal(late[0], TOPIC);
  deepEqual(rendezvousTopics(SECRET, end), [late[1], TOPIC]);
});

Deno.test("rendezvousTopics() copes with offsets that wrap around 2^64", () => {
  for (let seed = 0; seed < 64; seed++) {
    const secret = sha256(Uint8Array.of(seed));
    const topics = rendezvousTopics(secret, AT);
    equal(topics.length >= 1 && topics.every((topic) => topic.length === 64), true);
  }
});

Deno.test("contactTopic() depends on the acceptor alone", () => {
  const a = PeerId.ofPublicKey(new Uint8Array(32).fill(1));
  const b = PeerId.ofPublicKey(new Uint8Array(32).fill(2));
  equal(contactTopic(a), contactTopic(PeerId.fromBytes(a.bytes)));
  notEqual(contactTopic(a), contactTopic(b));
});

Deno.test("rankServers() agrees whatever the order, and a lost server moves only its own", () => {
  const digest = (text: string) => toHex(sha256(utf8(text)));
  const servers = ["wss://a", "wss://b", "wss://c"];
  for (let topic = 0; topic < 50; topic++) {
    const ranked = rankServers(servers, `t${topic}`, digest);
    deepEqual(rankServers([...servers].reverse(), `t${topic}`, digest), ranked);
    const [best, ...others] = ranked;
    deepEqual(rankServers(servers.filter((each) => each !== best), `t${topic}`, digest), others);
  }
});
