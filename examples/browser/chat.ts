/// <reference lib="dom" />
import { BrowserNode } from "../../src/browser.ts";
import { keep, type Line, lines, update } from "./kept_lines.ts";

const CHANNEL = "chat";

const state = byId("state", HTMLElement);
const pair = byId("pair", HTMLFormElement);
const link = byId("link", HTMLInputElement);
const write = byId("write", HTMLFormElement);
const to = byId("to", HTMLInputElement);
const text = byId("text", HTMLInputElement);
const peers = byId("peers", HTMLDataListElement);
const messages = byId("messages", HTMLElement);

const node = await BrowserNode.create().catch((error) => {
  state.textContent = sentenceOf(error);
  throw error;
});
byId("peer-id", HTMLElement).textContent = node.peerId.toString();

node.on("message", async ({ id, from, channel, data }) => {
  if (channel !== CHANNEL) return;
  await keep({ id, from: from.toString(), text: new TextDecoder().decode(data), state: "" });
  await showLines();
});
node.on("delivered", ({ id }) => showState(id, "delivered"));
node.on("refused", ({ id, error }) => showState(id, sentenceOf(error)));
node.on("roster", showRoster);
for (const name of ["state", "peerFound", "peerLost"] as const) node.on(name, showServer);

pair.onsubmit = async (event) => {
  event.preventDefault();
  state.textContent = "Pairing …";
  try {
    await node.pairWithLink(link.value.trim());
    pair.reset();
    showServer();
  } catch (error) {
    state.textContent = sentenceOf(error);
  }
};

write.onsubmit = async (event) => {
  event.preventDefault();
  try {
    const sent = await node.send(to.value.trim(), CHANNEL, new TextEncoder().encode(text.value));
    await keep({ id: sent.id, to: to.value.trim(), text: text.value, state: "waits in this page" });
    text.value = "";
    await showLines();
    await sent.accepted;
    await showState(sent.id, "the server has it");
  } catch (error) {
    state.textContent = sentenceOf(error);
  }
};

// The node has closed with the page that the browser kept.
addEventListener("pageshow", (event) => {
  if ("persisted" in event && event.persisted) location.reload();
});

await showLines();
showServer();
await node.start();

function showServer(): void {
  const [server] = node.pairings();
  pair.hidden = server !== undefined;
  write.hidden = server === undefined;
  if (!server) state.textContent = "Not paired with a server yet";
  else if (server.connected) state.textContent = `Connected to the server ${server.peerId}`;
  else state.textContent = node.lastFailure?.message ?? `Looking for the server ${server.peerId}`;
}

function showRoster(): void {
  peers.replaceChildren(
    ...node.roster().filter(({ known }) => known).map(({ peerId, name }) => {
      const option = document.createElement("option");
      option.value = peerId.toString();
      option.label = name ?? "";
      return option;
    }),
  );
}

async function showLines(): Promise<void> {
  messages.replaceChildren(...(await lines()).map(elementOf));
}

/** A message may be delivered before its acceptance was heard of. */
async function showState(id: string, state: string): Promise<void> {
  await update(id, (line) => line.state === "delivered" ? line : { ...line, state });
  await showLines();
}

function elementOf(line: Line): HTMLElement {
  const item = document.createElement("li");
  const about = document.createElement("small");
  about.textContent = line.from === undefined
    ? `to ${line.to} · ${line.state}`
    : `from ${line.from}`;
  item.append(about, line.text);
  return item;
}

function sentenceOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

function byId<Kind extends Element>(id: string, kind: new () => Kind): Kind {
  const found = document.getElementById(id);
  if (found instanceof kind) return found;
  throw new TypeError(`The page has no ${kind.name} with the id ${id}`);
}
