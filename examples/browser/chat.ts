/// <reference lib="dom" />
import { BrowserNode, CairnError, type SentMessage } from "../../src/browser.ts";
import { keep, type Line, lines, update } from "./kept_lines.ts";

const CHANNEL = "chat";
/** Milliseconds for which nobody is told that another page has the peer: it may be going. */
const BRIEF = 500;
/** Pixels from the end at which a reader is taken to follow what comes. */
const NEAR = 40;

const state = byId("state", HTMLElement);
const pair = byId("pair", HTMLFormElement);
const link = byId("link", HTMLInputElement);
const write = byId("write", HTMLFormElement);
const to = byId("to", HTMLInputElement);
const text = byId("text", HTMLInputElement);
const peers = byId("peers", HTMLDataListElement);
const messages = byId("messages", HTMLElement);

/** What is shown, by the ids of messages. */
const shown = new Map<string, HTMLElement>();
/** The link to the server is there, and nothing comes back on it. */
let isUnstable = false;
/** Ends when what was written last is on its way, and kept. */
let sending: Promise<unknown> = Promise.resolve();

const node = await opened().catch((error) => {
  state.textContent = sentenceOf(error);
  throw error;
});
byId("peer-id", HTMLElement).textContent = node.peerId.toString();
byId("copy", HTMLElement).onclick = () => navigator.clipboard.writeText(node.peerId.toString());

node.on("message", async ({ id, from, channel, data }) => {
  if (channel !== CHANNEL) return;
  await keep({ id, from: from.toString(), text: new TextDecoder().decode(data), state: "" });
  await showLines();
});
node.on("delivered", ({ id }) => showState(id, "delivered"));
node.on("refused", ({ id, error }) => showState(id, sentenceOf(error)));
node.on("roster", async () => {
  showRoster();
  await showLines();
});
node.on("closed", ({ error }) => {
  state.textContent = error.message;
});
node.on("state", ({ state }) => {
  isUnstable = state === "unstable";
  showServer();
});
for (const name of ["peerFound", "peerLost"] as const) node.on(name, showServer);

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
    const kept = sendAndKeep(to.value.trim(), text.value);
    sending = kept.catch(() => {});
    const sent = await kept;
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

/** One page at a time has the peer: where another one has it, this one waits for its turn. */
async function opened(): Promise<BrowserNode> {
  try {
    return await BrowserNode.create({ storageTimeout: BRIEF });
  } catch (error) {
    if (!(error instanceof CairnError && error.code === "data-folder-in-use")) throw error;
    state.textContent = "Open in another tab or window; this one goes on when that is closed";
    return await BrowserNode.create({ storageTimeout: Infinity });
  }
}

function showServer(): void {
  const [server] = node.pairings();
  pair.hidden = server !== undefined;
  write.hidden = server === undefined;
  const name = server && shortId(server.peerId.toString());
  if (!server) state.textContent = "Not paired with a server yet";
  else if (server.connected && isUnstable) {
    state.textContent = `The server ${name} does not answer; another way is looked for`;
  } else if (server.connected) state.textContent = `Connected to the server ${name}`;
  else state.textContent = node.lastFailure?.message ?? `Looking for the server ${name}`;
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

async function sendAndKeep(to: string, text: string): Promise<SentMessage> {
  const sent = await node.send(to, CHANNEL, text);
  await keep({ id: sent.id, to, text, state: "waits in this page" });
  return sent;
}

/** Lines that are shown already stay the same elements: a screen reader reads what is new. */
async function showLines(): Promise<void> {
  const kept = await lines();
  const isAtEnd = messages.scrollHeight - messages.scrollTop - messages.clientHeight < NEAR;
  const ids = new Set(kept.map(({ id }) => id));
  for (const [id, item] of shown) {
    if (ids.has(id)) continue;
    item.remove();
    shown.delete(id);
  }
  for (const line of kept) {
    const item = shown.get(line.id) ?? elementOf(line);
    const about = aboutOf(line);
    const first = item.firstChild;
    if (first && first.textContent !== about) first.textContent = about;
    if (!shown.has(line.id)) messages.append(item);
    shown.set(line.id, item);
  }
  if (isAtEnd) messages.scrollTop = messages.scrollHeight;
}

/** A message may be delivered before its acceptance was heard of, or its line is kept. */
async function showState(id: string, state: string): Promise<void> {
  await sending;
  await update(id, (line) => line.state === "delivered" ? line : { ...line, state });
  await showLines();
}

function elementOf(line: Line): HTMLElement {
  const item = document.createElement("li");
  const about = document.createElement("small");
  about.title = line.from ?? line.to ?? "";
  item.className = line.from === undefined ? "own" : "";
  item.append(about, line.text);
  return item;
}

function aboutOf({ from, to = "", state }: Line): string {
  return from === undefined ? `to ${nameOf(to)} · ${state}` : `from ${nameOf(from)}`;
}

/** What the server's operator calls it, or who it is. */
function nameOf(peerId: string): string {
  return node.rosterMember(peerId).name ?? shortId(peerId);
}

/** Both ends of a Peer ID: enough to tell a few apart, and no proof. */
function shortId(peerId: string): string {
  return `${peerId.slice(0, 6)}…${peerId.slice(-4)}`;
}

function sentenceOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

function byId<Kind extends Element>(id: string, kind: new () => Kind): Kind {
  const found = document.getElementById(id);
  if (found instanceof kind) return found;
  throw new TypeError(`The page has no ${kind.name} with the id ${id}`);
}
