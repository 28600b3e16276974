import { deepEqual, equal, notDeepEqual } from "node:assert/strict";
import { MailboxChoice } from "../../../src/roles/peer/mailbox_choice.ts";
import { bytesFor, identityFor } from "../../support/identities.ts";
import { assertNoKeyUsedTwice } from "../../support/key_use.ts";
import { bundlesOf, FakeMailbox } from "../../support/mailbox_server.ts";
import { connect, type Connection, CourierScene, sessionsOf } from "./courier_scene.ts";

const SECOND = 1_000;

/** Alice is paired with two mailboxes, both of which know Bob. */
class TwoMailboxes implements AsyncDisposable {
  readonly home = new FakeMailbox();
  readonly cabin = new FakeMailbox();
  readonly choice: MailboxChoice;
  readonly #links = new Map<string, Connection>();

  private constructor(readonly scene: CourierScene) {
    this.choice = new MailboxChoice({
      outbox: scene.alice.outbox,
      host: scene.time,
      servers: () => this.#servers(),
      onGone: () => this.#poke(),
    });
  }

  static async open(): Promise<TwoMailboxes> {
    const both = new TwoMailboxes(await CourierScene.open());
    const { scene, home, cabin } = both;
    for (const [name, mailbox] of [["home", home], ["cabin", cabin]] as const) {
      mailbox.storeId = bytesFor(`store of ${name}`).slice(0, 16);
      mailbox.bundle = bundlesOf(await scene.bob.publish());
      mailbox.status = scene.mailbox.status;
    }
    return both;
  }

  async up(name: "home" | "cabin"): Promise<void> {
    const connection = await connect(this.scene.alice, this[name], this.scene.time, {
      label: name,
      servers: () => this.#servers(),
      mailboxes: this.choice,
      leftToOthers: () => this.#poke(),
    });
    this.#links.set(name, connection);
    this.choice.linkUp(identityFor(name).peerId);
    await this[name].heard.untilLine("ready");
  }

  async down(name: string): Promise<void> {
    const connection = this.#links.get(name);
    this.#links.delete(name);
    connection?.pair.cable.cut();
    await connection?.conversation.close();
    this.choice.linkDown(identityFor(name).peerId);
  }

  async send(...texts: string[]): Promise<void> {
    await this.scene.send(...texts);
    this.#poke();
  }

  #servers(): string[] {
    return ["home", "cabin"].map((name) => identityFor(name).peerId.toString());
  }

  #poke(): void {
    const { peerId } = this.scene.bob;
    for (const { conversation } of this.#links.values()) conversation.poke(peerId);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const name of [...this.#links.keys()]) await this.down(name);
    this.choice.close();
    await this.scene[Symbol.asyncDispose]();
  }
}

Deno.test("Courier of one of two mailboxes takes everything to a recipient, the other nothing", async () => {
  await using both = await TwoMailboxes.open();
  await both.up("home");
  await both.up("cabin");
  await both.send("1", "2", "3");
  await both.scene.alice.events.untilLine("accepted 3");
  const counts = [both.home.requests.length, both.cabin.requests.length].sort();
  deepEqual(counts, [0, 3]);
});

Deno.test("Courier takes over what lacks a receipt, in order, when the other mailbox is gone", async () => {
  await using both = await TwoMailboxes.open();
  const { scene, home, cabin } = both;
  await both.up("home");
  await both.send("1", "2");
  await scene.alice.events.untilLine("accepted 2");
  home.receipt(home.accepted[0]!.msgId);
  await scene.alice.events.untilLine("delivered 1");
  await both.up("cabin");
  await both.down("home");
  await both.send("3");
  await scene.settle();
  equal(cabin.requests.length, 0, "it may come back at once");

  scene.time.pass(6 * SECOND);
  await cabin.heard.untilLine("took 2");
  notDeepEqual(sessionsOf(home.requests), sessionsOf(cabin.requests));
  assertNoKeyUsedTwice([...home.requests, ...cabin.requests]);
  const { texts } = await scene.read([...home.accepted, ...cabin.accepted]);
  deepEqual(texts, ["1", "2", "3"], "what both mailboxes bring is shown once");

  // The other one comes back, with a receipt for what it had.
  await both.up("home");
  home.receipt(home.accepted[1]!.msgId);
  await scene.alice.events.untilLine("delivered 2");
  deepEqual(await scene.kept(), ["3"]);
  await both.send("4");
  await cabin.heard.untilLine("took 3");
  equal(home.requests.length, 2, "what was taken over stays where it is");
});

Deno.test("Courier does not believe a mailbox that gave up what another one took over", async () => {
  await using both = await TwoMailboxes.open();
  const { scene, home, cabin } = both;
  await both.up("home");
  await both.send("1");
  await scene.alice.events.untilLine("accepted 1");
  await both.down("home");
  await both.up("cabin");
  scene.time.pass(6 * SECOND);
  await cabin.heard.untilLine("took 1");
  await both.up("home");
  home.receipt(home.accepted[0]!.msgId, "expired");
  await home.heard.untilLine("receipt ack");
  deepEqual(await scene.kept(), ["1"]);
});

Deno.test("Courier of a mailbox without room leaves everything to one that has some", async () => {
  await using both = await TwoMailboxes.open();
  const { scene, home, cabin } = both;
  await both.up("home");
  await both.send("1");
  await scene.alice.events.untilLine("accepted 1");
  await both.up("cabin");
  home.refuse = () => "recipient queue full (1 messages)";
  await both.send("2");
  await cabin.heard.untilLine("took 2");
  assertNoKeyUsedTwice([...home.requests, ...cabin.requests]);
  const { texts } = await scene.read([...home.accepted, ...cabin.accepted]);
  deepEqual(texts, ["1", "2"]);
  home.refuse = () => undefined;
  const before = home.requests.length;
  await both.send("3");
  await cabin.heard.untilLine("took 3");
  equal(home.requests.length, before, "it is not asked again at once");
});

Deno.test("Courier of two mailboxes without room stays with one, and says that messages wait", async () => {
  await using both = await TwoMailboxes.open();
  const { scene, home, cabin } = both;
  await both.up("home");
  await both.up("cabin");
  for (const mailbox of [home, cabin]) mailbox.refuse = () => "quota exceeded";
  await both.send("1");
  await scene.alice.events.untilLine("refused 1: refused");
  await both.send("2");
  await scene.settle();
  equal([home, cabin].map(({ requests }) => requests.length).sort()[0], 1, "once each, then one");
  deepEqual(await scene.kept(), ["1", "2"]);
});

Deno.test("Courier gives back what the mailbox that took over does not know the recipient of", async () => {
  await using both = await TwoMailboxes.open();
  const { scene, home, cabin } = both;
  cabin.refuse = () => "recipient is not a paired peer";
  await both.up("home");
  await both.send("1");
  await scene.alice.events.untilLine("accepted 1");
  await both.down("home");
  await both.up("cabin");
  scene.time.pass(6 * SECOND);
  await cabin.heard.untilLine("refused 1");
  await scene.settle();
  await both.up("home");
  await both.send("2");
  await scene.alice.events.untilLine("accepted 2");
  const { texts } = await scene.read(home.accepted);
  deepEqual(texts, ["1", "2"]);
});

Deno.test("Courier waits the longer for a mailbox, the more it would have to take over", async () => {
  await using both = await TwoMailboxes.open();
  const { scene, cabin } = both;
  await both.up("home");
  await both.send(...Array.from({ length: 40 }, (_, index) => `${index}`));
  await scene.alice.events.untilLine("accepted 40");
  await both.up("cabin");
  await both.down("home");
  scene.time.pass(6 * SECOND);
  await scene.settle();
  equal(cabin.requests.length, 0);
  scene.time.pass(2 * SECOND);
  await cabin.heard.untilLine("took 40");
});
