import { deepEqual, ok } from "node:assert/strict";
import { systemHost } from "../../src/base/host.ts";
import { concatBytes, toHex } from "../../src/base/bytes.ts";
import { decodeSession } from "../../src/protocol/session/session.ts";
import { CrashScene } from "../support/crash_scene.ts";
import { copyFolder } from "../support/folder_copies.ts";
import { type PeerActor } from "../support/peer_actor.ts";
import { searchFiles, searchStore, searchText, type Secret } from "../support/secret_search.ts";

Deno.test("Nothing that a server stores, logs or tells its operator opens a message or says what is in it", async () => {
  await using scene = await CrashScene.open(["alice", "bob"]);
  const { alice, bob } = scene.peers;
  const words = [random(), random(), random(), random(), random(), random()] as const;
  const channels = [random(), random(), random()] as const;
  const [w1, w2, w3, w4, w5, w6] = words;
  const [c1, c2, c3] = channels;
  const marks = [...words, ...channels]
    .map((value, index): Secret => ({ name: `mark ${index}`, value }));

  await alice.sendAccepted(bob, w1, c1);
  await bob.readAll();
  await bob.sendAccepted(alice, w2, c2);
  await alice.readAll();
  await alice.sendAccepted(bob, w3, c1);
  await bob.readAll();
  const earlier = [...await secretsOf(alice), ...await secretsOf(bob)];
  await alice.sendAccepted(bob, `${w4} `.repeat(5_000), c3);
  await alice.sendAccepted(bob, w5, c3);
  await bob.sendAccepted(alice, `${w6} `.repeat(5_000), c2);
  const secrets = [...marks, ...earlier, ...await secretsOf(alice), ...await secretsOf(bob)];
  ok(secrets.length > 200);

  const answers = await scene.server.everythingItTells(bob.id);
  ok(answers.includes(bob.id.toString()));
  deepEqual(searchText(answers, secrets), []);
  await scene.server.kill();
  deepEqual(await searchFiles(scene.server.folder, secrets), []);
  deepEqual(await searchStore(scene.server.folder, secrets), []);
  const log = scene.server.log();
  ok(log.includes("accepts links"));
  deepEqual(searchText(log, secrets), []);

  await scene.server.start();
  await alice.readAll();
  await bob.readAll();
  deepEqual(searchText(await scene.server.everythingItTells(bob.id), secrets), []);
  await scene.server.kill();
  deepEqual(searchText(scene.server.log(), secrets), []);
  deepEqual(await searchFiles(scene.server.folder, secrets), []);
  deepEqual(await searchStore(scene.server.folder, secrets), []);
  await scene.assertAllArrived();
});

Deno.test("The search finds what a server does store, and what is planted", async () => {
  await using scene = await CrashScene.open(["alice", "bob"]);
  const { alice, bob } = scene.peers;
  await alice.sendAccepted(bob, "hello ".repeat(20_000));
  const [request] = alice.requests();
  ok(request);
  await scene.server.kill();
  const folder = `${scene.folder}/copy`;
  await copyFolder(scene.server.folder, folder);
  const planted = {
    text: random(),
    key: systemHost.random(32),
    hex: systemHost.random(32),
    deep: systemHost.random(32),
  };
  {
    using kv = await Deno.openKv(`${folder}/cairn.kv`);
    await kv.set(["planted", planted.text], {
      key: planted.key,
      hex: toHex(planted.hex),
      deep: new Map([["list", [{ value: planted.deep }]]]),
    });
  }
  const secrets: Secret[] = [
    { name: "a Peer ID", value: alice.id.toString() },
    { name: "the end of a body", value: request.encryptedPayload.slice(-32) },
    { name: "the start of a body", value: request.encryptedPayload.slice(0, 32) },
    { name: "planted text", value: planted.text },
    { name: "planted key", value: planted.key },
    { name: "planted hex", value: planted.hex },
    { name: "planted deep", value: planted.deep },
  ];
  const all = secrets.map(({ name }) => name).sort();
  deepEqual(await searchFiles(folder, secrets), all);
  deepEqual(await searchStore(folder, secrets), all);
  deepEqual(await searchStore(folder, [{ name: "absent", value: random() }]), []);
});

/** Every private key in a peer's folder, and the keys of its sessions. */
async function secretsOf(peer: PeerActor): Promise<Secret[]> {
  const secrets: Secret[] = [];
  const add = (name: string, value: unknown) => {
    ok(value instanceof Uint8Array && value.length === 32, `${name} is a key`);
    secrets.push({ name: `${peer.name}: ${name}`, value });
  };
  const identity = await peer.storedAt(["identity"]);
  add("identity seed", fieldOf(identity, "seed"));
  add("X3DH secret", fieldOf(identity, "x3dhSecret"));
  for (const { key, value } of await peer.stored(["prekey", "signed"])) {
    add(`signed prekey ${String(key[2])}`, fieldOf(value, "secret"));
  }
  for (const { key, value } of await peer.stored(["prekey", "one-time"])) {
    add(`one-time prekey ${String(key[2])}`, value);
  }
  const sessions = new Map<string, Uint8Array[]>();
  for (const { key, value } of await peer.stored(["session"])) {
    const name = `${String(key[1])} ${String(key[2])}`;
    ok(value instanceof Uint8Array);
    sessions.set(name, [...sessions.get(name) ?? [], value]);
  }
  ok(sessions.size > 0, "there is a session");
  for (const parts of sessions.values()) {
    const { ratchet } = decodeSession(concatBytes(...parts));
    add("ratchet key", ratchet.ownPair.secret);
    add("root key", ratchet.rootKey);
    if (ratchet.sendChain) add("sending chain key", ratchet.sendChain);
    if (ratchet.receiveChain) add("receiving chain key", ratchet.receiveChain);
    for (const { messageKey } of ratchet.skipped) add("message key", messageKey);
  }
  return secrets;
}

function fieldOf(value: unknown, name: string): unknown {
  return typeof value === "object" && value !== null ? Reflect.get(value, name) : undefined;
}

/** 32 letters and digits that occur nowhere else. */
function random(): string {
  return toHex(systemHost.random(16));
}
