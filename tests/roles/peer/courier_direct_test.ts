import { deepEqual, equal } from "node:assert/strict";
import { untilHolds } from "../../support/rested.ts";
import { CourierScene } from "./courier_scene.ts";

Deno.test("Courier gives a mailbox nothing for a peer that a link of its own serves", async () => {
  await using scene = await CourierScene.open();
  scene.servedDirectly = true;
  await scene.send("one");
  const { conversation } = await scene.connect();
  await scene.send("two");
  await scene.settle();
  deepEqual(scene.mailbox.requests, []);
  deepEqual(await scene.kept(), ["one", "two"]);

  scene.servedDirectly = false;
  conversation.poke(scene.bob.peerId);
  await accepted(scene, 2);
  scene.servedDirectly = true;
  await scene.send("three");
  await scene.settle();
  equal(scene.mailbox.requests.length, 2);
  deepEqual((await scene.read()).texts, ["one", "two"]);
});

function accepted(scene: CourierScene, count: number): Promise<void> {
  return untilHolds(
    () => scene.mailbox.accepted.length >= count,
    () => `${count} messages in the mailbox`,
    () => scene.settle(),
  );
}
