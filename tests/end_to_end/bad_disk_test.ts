import { deepEqual, equal, match, ok } from "node:assert/strict";
import { fromUtf8, utf8 } from "../../src/base/bytes.ts";
import { Node, PeerId } from "../../src/mod.ts";
import { copyFolder } from "../support/folder_copies.ts";
import { freePort } from "../support/free_port.ts";
import { canMount, SmallDisk, startOn, usedFolder } from "./bad_folders.ts";
import {
  badInputTest,
  type Ended,
  eventually,
  recordOf,
  SECRETS,
  sentenceOf,
  serverArgs,
  textsOf,
} from "./bad_input_scene.ts";

const FULL = "The disk that holds the data folder is full";
const LARGE = 300_000;
/** So many messages each of two sends. */
const COUNT = 80;

badInputTest({
  name: "A server whose disk fills up refuses what it cannot keep, lives, and delivers what it has",
  ignore: !canMount,
  async story(scene) {
    const disk = scene.use(await SmallDisk.mount(`${scene.folder}/disk`, "24m"));
    const server = await scene.server(`${disk.path}/server`);
    const { alice, bob } = await scene.paired(server, "alice", "bob");
    const bobId = await bob.id();
    await alice.sends(bobId, "accepted");

    // The server keeps 16 MiB for what must go on.
    await disk.fillUp(12 * 1_048_576);
    const kept = ["accepted"];
    // What it knows of its disk may be a second old.
    let ended = await alice.run("send", bobId, "is there room?");
    for (; ended.code === 0; ended = await alice.run("send", bobId, "is there room?")) {
      kept.push("is there room?");
    }
    assertRefusedByServer(ended, bobId);
    await disk.fillUp();
    assertRefusedByServer(await alice.run("send", bobId, "refused on a full disk"), bobId);
    await server.assertHealthy("degraded");
    deepEqual(await server.queues(), { [bobId]: kept.length });

    deepEqual(await bob.reads(kept.length), kept);
    deepEqual(await eventually(scene.deadline, () => server.queues(), isEmpty), {});
    await scene.stop(server.process);
    const restarted = await scene.server(`${disk.path}/server`);
    alice.server = bob.server = restarted;
    assertRefusedByServer(await alice.run("send", bobId, "refused after a restart"), bobId);

    await disk.makeRoom();
    await alice.sends(bobId, "room again");
    deepEqual(await bob.reads(4), [
      "is there room?",
      "refused on a full disk",
      "refused after a restart",
      "room again",
    ]);
    await assertNothingWaits(bob.run("listen", "--count", "1", "--timeout", "1"));
    deepEqual(await eventually(scene.deadline, () => restarted.queues(), isEmpty), {});
  },
});

badInputTest({
  name: "A sender whose disk is full says so, keeps what it has taken, and repeats nothing",
  ignore: !canMount,
  async story(scene) {
    const server = await scene.server(`${scene.folder}/server`);
    const disk = scene.use(await SmallDisk.mount(`${scene.folder}/disk`, "4m"));
    const [alice, bob] = [scene.peer("disk/alice", server), scene.peer("bob", server)];
    await Promise.all([alice.pair(), bob.pair()]);
    const bobId = await bob.id();
    await alice.sends(bobId, "before");

    // Room for nothing; to take the message and not to encrypt it; and for the reserve again.
    const expected = ["before"];
    for (const leave of [0, LARGE + 200_000, 0]) {
      await disk.fillUp(leave);
      const text = `with ${leave} bytes`.padEnd(LARGE, ".");
      await Deno.writeTextFile(`${scene.folder}/text`, text);
      const ended = await alice.run("send", bobId, "--file", `${scene.folder}/text`);
      match(ended.stderr, new RegExp(`^error: ${FULL}`, "m"));
      equal(ended.code, 1);
      // A message that has an id goes out by itself; one without must be sent again.
      if (ended.stdout === "") ok(/: free some space and try again$/.test(ended.stderr));
      else {
        match(ended.stderr, /waits in the outbox: free some space, and it goes out at the next/);
        expected.push(text);
      }
      await disk.makeRoom();
    }
    ok(expected.length > 1, "one of them was taken");

    await alice.sends(bobId, "after");
    expected.push("after");
    deepEqual((await bob.reads(expected.length)).map(short), expected.map(short));
    await assertNothingWaits(bob.run("listen", "--count", "1", "--timeout", "1"));
  },
});

badInputTest({
  name: "A reader whose disk is full says so and gets its messages when there is room",
  ignore: !canMount,
  async story(scene) {
    const server = await scene.server(`${scene.folder}/server`);
    const disk = scene.use(await SmallDisk.mount(`${scene.folder}/disk`, "4m"));
    const [alice, bob] = [scene.peer("alice", server), scene.peer("disk/bob", server)];
    await Promise.all([alice.pair(), bob.pair()]);
    const bobId = await bob.id();
    const reader = bob.listen();
    await eventually(scene.deadline, () => server.connected(), (ids) => ids.includes(bobId));
    await disk.fillUp();
    const texts = ["one", "two", "three"].map((text) => text.padEnd(LARGE, "."));
    for (const text of texts) {
      await Deno.writeTextFile(`${scene.folder}/text`, text);
      const ended = await alice.run("send", bobId, "--file", `${scene.folder}/text`);
      equal(ended.code, 0, ended.stderr);
    }
    await scene.logged(reader, new RegExp(FULL));
    deepEqual(await server.queues(), { [bobId]: 3 });
    deepEqual(reader.output.all, []);

    await disk.makeRoom();
    const lines = await reader.output.first(3);
    deepEqual(textsOf(lines).map(short), texts.map(short));
    deepEqual(await eventually(scene.deadline, () => server.queues(), isEmpty), {});
    await scene.stop(reader);
    equal(reader.output.all.length, 3);
  },
});

for (const kind of ["server", "peer"] as const) {
  badInputTest({
    name: `A ${kind} that starts on a full disk says so, and starts when there is room`,
    ignore: !canMount,
    async story(scene) {
      const disk = scene.use(await SmallDisk.mount(`${scene.folder}/disk`, "1m"));
      const folder = `${disk.path}/data`;
      // With so little room another part of the start fails each time.
      for (const leave of [0, 4_096, 12_288, 28_672, 45_056, 61_440, 81_920]) {
        await disk.fillUp(leave);
        const said = sentenceOf(await startOn(scene, kind, folder));
        equal(said, `${FULL}: free some space and try again`, `${leave} bytes left`);
        await disk.makeRoom();
        await Deno.remove(folder, { recursive: true });
      }
      if (kind === "peer") equal((await startOn(scene, kind, folder)).code, 0);
      else await scene.stop((await scene.server(folder)).process);
    },
  });
}

for (const kind of ["server", "peer"] as const) {
  badInputTest({
    name: `A ${kind} does not take a full disk for a damaged store`,
    ignore: !canMount,
    async story(scene) {
      const disk = scene.use(await SmallDisk.mount(`${scene.folder}/disk`, "8m"));
      const used = await usedFolder(scene, kind);
      const folder = `${disk.path}/data`;
      await copyFolder(used, folder);
      let started = 0;
      for (const leave of [0, 4_096, 32_768, 65_536, 131_072, 262_144]) {
        await disk.fillUp(leave);
        const process = kind === "server"
          ? scene.start(serverArgs(folder, freePort()), { env: { CAIRN_PSK: SECRETS.psk } })
          : scene.start(["peer", "id", "--data-dir", folder]);
        const isUp = Promise.withResolvers<undefined>();
        scene.logged(process, /accepts links/).then(() => isUp.resolve(undefined), () => {});
        const ended = await Promise.race([scene.ended(process), isUp.promise]);
        if (ended === undefined) {
          await scene.stop(process);
          started++;
        } else if (ended.code === 0) started++;
        else equal(sentenceOf(ended), `${FULL}: free some space and try again`, `${leave} left`);
        await disk.makeRoom();
      }
      ok(started > 0, "there was room enough at last");
      if (kind === "peer") equal((await startOn(scene, kind, folder)).code, 0);
      else await scene.stop((await scene.server(folder)).process);
    },
  });
}

badInputTest({
  name: "A server whose disk fills up under traffic refuses, lives, loses nothing and recovers",
  ignore: !canMount,
  async story(scene) {
    const disk = scene.use(await SmallDisk.mount(`${scene.folder}/disk`, "32m"));
    const server = await scene.server(`${disk.path}/server`);
    const open = async (name: string, receive: boolean) => {
      const storagePath = `${scene.folder}/${name}`;
      const node = await Node.create({ storagePath, serverUrl: server.linkUrl, receive });
      scene.use({ [Symbol.asyncDispose]: () => node.close() });
      await node.start();
      return node;
    };
    const join = async (name: string, receive: boolean) => {
      const node = await open(name, receive);
      await node.pairWithPsk(SECRETS.psk, PeerId.parse(server.id)!);
      return node;
    };
    const [alice, carol] = [await join("alice", false), await join("carol", false)];
    const bob = await join("bob", true);
    const bobId = bob.peerId;
    await bob.close();
    const refusals = [alice, carol].map((node) =>
      new Promise<void>((resolve) => {
        node.on("refused", ({ error, dropped }) => {
          if (!dropped && error.message.includes("disk is full")) resolve();
        });
      })
    );
    const isFilling = Promise.withResolvers<void>();
    const send = async (node: Node, name: string) => {
      for (let n = 1; n <= COUNT; n++) {
        if (n === COUNT / 10) await isFilling.promise;
        const text = `${name} ${n} `.padEnd(n % 3 === 0 ? 60_000 : 2_000, ".");
        await node.send(bobId, "", utf8(text));
      }
    };
    const sending = [send(alice, "alice"), send(carol, "carol")];
    await eventually(
      scene.deadline,
      () => server.queues(),
      (queues) => (queues[`${bobId}`] ?? 0) > 10,
    );
    await disk.fillUp(12 * 1_048_576);
    isFilling.resolve();
    await Promise.all([...sending, ...refusals]);
    await disk.fillUp();
    const accepted = (await server.queues())[`${bobId}`] ?? 0;
    ok(accepted > 10 && accepted < 2 * COUNT, `${accepted} accepted`);

    const came: string[] = [];
    const back = await open("bob", true);
    back.on("message", ({ data }) => void came.push(fromUtf8(data).slice(0, 10).split(".")[0]!));
    await eventually(scene.deadline, () => Promise.resolve(came.length), (n) => n >= accepted);
    await server.assertHealthy("degraded");
    await disk.makeRoom();
    // A sender that starts again offers at once what it would offer again in a while.
    await Promise.all([alice.close(), carol.close()]);
    for (const name of ["alice", "carol"]) await open(name, false);
    await eventually(scene.deadline, () => Promise.resolve(came.length), (n) => n >= 2 * COUNT);
    for (const name of ["alice", "carol"]) {
      const expected = Array.from({ length: COUNT }, (_, n) => `${name} ${n + 1} `);
      deepEqual(came.filter((text) => text.startsWith(name)), expected);
    }
    deepEqual(await eventually(scene.deadline, () => server.queues(), isEmpty), {});
  },
});

badInputTest({
  name: "A peer on a full disk can still be asked who it is and with whom it is paired",
  ignore: !canMount,
  async story(scene) {
    const server = await scene.server(`${scene.folder}/server`);
    const disk = scene.use(await SmallDisk.mount(`${scene.folder}/disk`, "4m"));
    const alice = scene.peer("disk/alice", server);
    await alice.pair();
    const id = await alice.id();
    await disk.fillUp();
    equal(await alice.id(), id);
    match((await alice.run("list")).stdout, new RegExp(`^${server.id}`));
  },
});

function assertRefusedByServer({ code, stdout, stderr }: Ended, recipient: string): void {
  equal(code, 1, stderr);
  match(stdout, /^[0-9a-f-]{36}$/, "the message has its id");
  equal(
    stderr.split("\n").filter((line) => !recordOf(line)).join(),
    `error: The server cannot take messages to ${recipient} now (the mailbox's disk is full); the ` +
      "message waits in the outbox and is offered again while this peer runs",
  );
}

async function assertNothingWaits(listening: Promise<Ended>): Promise<void> {
  const { code, stdout } = await listening;
  deepEqual([code, stdout], [1, ""]);
}

function isEmpty(queues: Record<string, number>): boolean {
  return Object.keys(queues).length === 0;
}

/** Long texts would drown the difference that an assertion shows. */
function short(text: string): string {
  return `${text.slice(0, 40)} ${text.length}`;
}
