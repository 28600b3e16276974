import { freePort } from "../support/free_port.ts";
import { deepEqual, equal, match, ok } from "node:assert/strict";
import { badInputTest, recordOf, SECRETS, sentenceOf, serverArgs } from "./bad_input_scene.ts";

badInputTest({
  name: "A peer with a wrong key is told so and when to try again, and then the right key works",
  async story(scene) {
    const server = await scene.server(`${scene.folder}/server`);
    const alice = scene.peer("alice", server);

    const refused = sentenceOf(await alice.pairBy(SECRETS.wrongPsk));
    match(refused, /^The key was refused; try again in \d+ s; check that both sides were given/);
    equal((await alice.run("list")).stdout, "");

    const second = await alice.pairBy(SECRETS.psk);
    // Where starting a program takes as long as the wait, it is over by now.
    if (second.code !== 0) {
      const tooEarly = sentenceOf(second);
      const [, seconds] = tooEarly.match(/^Too many pairing attempts; try again in (\d+) s$/) ?? [];
      ok(seconds !== undefined && Number(seconds) <= 10, tooEarly);
      // What the server has announced is all that a user has to wait for.
      await new Promise((resolve) => setTimeout(resolve, Number(seconds) * 1000));
      await alice.pair();
    }
    match((await alice.run("list")).stdout, new RegExp(`^${server.id}  paired .* by psk$`));

    const warnings = server.process.log.all.map(recordOf)
      .filter((record) => record?.level === "WARN").map((record) => record?.message);
    deepEqual(warnings, ["A pairing was refused: the peer does not know the key"]);
  },
});

badInputTest({
  name: "A peer that asks a server without a key is told nothing else than with a wrong one",
  async story(scene) {
    const server = await scene.server(`${scene.folder}/server`, { CAIRN_PSK: "" });
    const refused = sentenceOf(await scene.peer("alice", server).pairBy(SECRETS.psk));
    match(refused, /^The key was refused; try again in 2 s; check that both sides were given/);
  },
});

badInputTest({
  name: "A server refuses a key under 12 bytes and has made nothing by then",
  async story(scene) {
    const folder = `${scene.folder}/server`;
    const short = "canary-psk-";
    const args = serverArgs(folder, freePort());
    await Deno.writeTextFile(`${scene.folder}/key`, `${short}\n`);
    const given: [source: string, flags: string[], env: Record<string, string>][] = [
      ["CAIRN_PSK", [], { CAIRN_PSK: short }],
      ["CAIRN_PSK_FILE", [], { CAIRN_PSK_FILE: `${scene.folder}/key` }],
      ["--psk", ["--psk", short], {}],
    ];
    for (const [source, flags, env] of given) {
      const ended = await scene.run([...args, ...flags], env);
      equal(
        sentenceOf(ended, 2),
        `${source}: its value is not right; expected a key of at least 12 bytes on one line; 16 ` +
          "random ones are right",
      );
      ok(!ended.stderr.includes(short), "the key is not shown");
    }
    await assertAbsent(folder);
  },
});

badInputTest({
  name: "A server takes the documented key of 13 bytes with a warning, and none for 16",
  async story(scene) {
    const warningsWith = async (psk: string) => {
      const server = await scene.server(`${scene.folder}/server`, { CAIRN_PSK: psk });
      const alice = scene.peer(`alice with ${psk.length}`, server);
      const { code, stdout, stderr } = await alice.pairBy(psk);
      deepEqual([code, stdout], [0, server.id], stderr);
      await scene.stop(server.process);
      ok(server.process.log.all.every((line) => !line.includes(psk)), "the key is not logged");
      return server.process.log.all.map(recordOf).filter((record) => record?.level === "WARN");
    };
    const [short, ...further] = await warningsWith("my-shared-key");
    equal(short?.message, "The pre-shared key is short; use 16 bytes or more");
    deepEqual(further, []);
    deepEqual(await warningsWith("my-shared-key-16"), []);
  },
});

badInputTest({
  name: "A peer refuses a key under 12 bytes before it says anything to anybody",
  async story(scene) {
    const server = await scene.server(`${scene.folder}/server`);
    const alice = scene.peer("alice", server);
    const short = "canary-psk-";
    for (
      const refused of [
        await alice.pairBy(short),
        await alice.run("pair", "--peer", server.id, "--psk", short),
      ]
    ) {
      match(
        sentenceOf(refused, 2),
        /^(CAIRN_PSK|--psk): its value is not right; expected a key of at least 12 bytes/,
      );
      ok(!refused.stderr.includes(short), "the key is not shown");
    }
    await assertAbsent(alice.folder);
    ok(!server.process.log.all.some((line) => /pairing was refused/.test(line)));
    await alice.pair();
  },
});

async function assertAbsent(path: string): Promise<void> {
  const found = await Deno.stat(path).then(() => true, () => false);
  ok(!found, `${path} was made`);
}
