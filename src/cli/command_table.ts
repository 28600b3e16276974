/** Which commands there are. */

import type { CommandName, Settings } from "./settings.ts";

/** A command, and what runs it. */
export interface CommandSpec {
  readonly name: CommandName;
  readonly summary: string;
  /** As in `<peer> [text]`. */
  readonly operands?: readonly string[];
  /** Loads only what the command needs. */
  readonly run: (settings: Settings, operands: readonly string[]) => Promise<number>;
}

/** A command comes before the verbs that go with it. */
export const COMMANDS: readonly CommandSpec[] = [
  {
    name: "signal",
    summary: "run the signaling server, where peers find one another",
    run: async (settings) => (await import("./signal.ts")).runSignal(settings),
  },
  {
    name: "relay",
    summary: "run the TURN relay, for peers that cannot reach one another",
    run: async (settings) => (await import("./relay.ts")).runRelay(settings),
  },
  {
    name: "relay check",
    summary: "try a relay from outside, as in turn:relay.example.com:3478, and say what is wrong",
    operands: ["<uri>"],
    run: async (settings, [uri = ""]) =>
      (await import("./relay_check.ts")).relayCheck(settings, uri),
  },
  {
    name: "relay check-peer",
    summary: "say whether a relay with these options lets its clients reach an address",
    operands: ["<address>"],
    run: async (settings, [address = ""]) =>
      (await import("./relay_check_peer.ts")).relayCheckPeer(settings, address),
  },
  {
    name: "server",
    summary: "run the always-on server, which keeps messages for peers that are away",
    run: async (settings) => (await import("./server.ts")).runServer(settings),
  },
  {
    name: "server id",
    summary: "print the Peer ID of the running server",
    run: async (settings) => (await import("./server_verbs.ts")).serverId(settings),
  },
  {
    name: "server pair",
    summary: "let one peer pair with the running server: make a PIN, a link or a QR code",
    run: async (settings) => (await import("./server_pair.ts")).serverPair(settings),
  },
  {
    name: "server peers",
    summary: "list the peers of the running server",
    run: async (settings) => (await import("./server_verbs.ts")).serverPeers(settings),
  },
  {
    name: "server requests",
    summary: "list the peers that ask to be paired, with the code that they must show",
    run: async (settings) => (await import("./server_verbs.ts")).serverRequests(settings),
  },
  {
    name: "server approve",
    summary: "let a peer pair without a key, whether it asks already or not",
    operands: ["<peer>"],
    run: async (settings, [peer = ""]) =>
      (await import("./server_verbs.ts")).serverApprove(settings, peer),
  },
  {
    name: "server refuse",
    summary: "turn down a peer that asks",
    operands: ["<peer>"],
    run: async (settings, [peer = ""]) =>
      (await import("./server_verbs.ts")).serverRefuse(settings, peer),
  },
  {
    name: "server unpair",
    summary: "end the pairing with a peer, and drop what waits for it",
    operands: ["<peer>"],
    run: async (settings, [peer = ""]) =>
      (await import("./server_verbs.ts")).serverUnpair(settings, peer),
  },
  {
    name: "server psk",
    summary: "make a good pre-shared key and print it",
    run: async () => (await import("./server_verbs.ts")).serverPsk(),
  },
  {
    name: "server queue",
    summary: "show what waits on the running server, for all peers or one",
    operands: ["[peer]"],
    run: async (settings, [peer]) =>
      (await import("./server_queue.ts")).serverQueue(settings, peer),
  },
  {
    name: "server purge",
    summary: "drop what waits on the running server for a peer",
    operands: ["<peer>"],
    run: async (settings, [peer = ""]) =>
      (await import("./server_queue.ts")).serverPurge(settings, peer),
  },
  {
    name: "server backup",
    summary: "copy all of a server, running or not, to a file that a passphrase encrypts",
    operands: ["<file>"],
    run: async (settings, [file = ""]) =>
      (await import("./server_backup.ts")).serverBackup(settings, file),
  },
  {
    name: "server restore",
    summary: "make the data folder of a server from its backup, or check the backup",
    operands: ["<file>"],
    run: async (settings, [file = ""]) =>
      (await import("./server_backup.ts")).serverRestore(settings, file),
  },
  {
    name: "server export",
    summary: "write what the running server holds of one peer, as lines of JSON",
    operands: ["<peer>", "[file]"],
    run: async (settings, [peer = "", file]) =>
      (await import("./server_inquiry.ts")).serverExport(settings, peer, file),
  },
  {
    name: "server trace",
    summary: "show the way of a message through the running server, without its content",
    operands: ["<message>"],
    run: async (settings, [message = ""]) =>
      (await import("./server_inquiry.ts")).serverTrace(settings, message),
  },
  {
    name: "peer id",
    summary: "print this peer's Peer ID",
    run: async (settings) => (await import("./peer.ts")).peerIdentity(settings),
  },
  {
    name: "peer pair",
    summary: "pair with a server, by PIN, link, key or approval",
    operands: ["[link]"],
    run: async (settings, [link]) => (await import("./peer_pair.ts")).peerPair(settings, link),
  },
  {
    name: "peer unpair",
    summary: "forget a peer",
    operands: ["<peer>"],
    run: async (settings, [peer = ""]) => (await import("./peer.ts")).peerUnpair(settings, peer),
  },
  {
    name: "peer list",
    summary: "list the peers that this one is paired with",
    run: async (settings) => (await import("./peer.ts")).peerList(settings),
  },
  {
    name: "peer send",
    summary: "send a message; - as the text is standard input",
    operands: ["<peer>", "[text]"],
    run: async (settings, [peer = "", text]) =>
      (await import("./peer.ts")).peerSend(settings, peer, text),
  },
  {
    name: "peer listen",
    summary: "print messages as they come",
    run: async (settings) => (await import("./peer_listen.ts")).peerListen(settings),
  },
  {
    name: "peer chat",
    summary: "talk to a peer, line by line",
    operands: ["<peer>"],
    run: async (settings, [peer = ""]) => (await import("./peer_chat.ts")).peerChat(settings, peer),
  },
  {
    name: "peer sync",
    summary: "keep a folder the same on several devices",
    operands: ["<directory>"],
    run: async (settings, [directory = ""]) =>
      (await import("./peer_sync.ts")).peerSync(settings, directory),
  },
  {
    name: "peer safety-number",
    summary: "print the number to compare with the person behind a peer",
    operands: ["<peer>"],
    run: async (settings, [peer = ""]) =>
      (await import("./peer.ts")).peerSafetyNumber(settings, peer),
  },
  {
    name: "peer doctor",
    summary: "try everything that this peer needs, and say what is wrong",
    run: async (settings) => (await import("./peer_doctor.ts")).peerDoctor(settings),
  },
  {
    name: "peer backup",
    summary: "copy all of this peer to a file that a passphrase encrypts",
    operands: ["<file>"],
    run: async (settings, [file = ""]) =>
      (await import("./peer_backup.ts")).peerBackup(settings, file),
  },
  {
    name: "peer restore",
    summary: "make the data folder of a peer from its backup, or check the backup",
    operands: ["<file>"],
    run: async (settings, [file = ""]) =>
      (await import("./peer_backup.ts")).peerRestore(settings, file),
  },
  {
    name: "up",
    summary: "run signal, relay and server in one process, for a small home",
    run: async (settings) => (await import("./up.ts")).runUp(settings),
  },
  {
    name: "init",
    summary: "ask three questions and write a file of settings, as cairn up --env-file takes it",
    operands: ["[file]"],
    run: async (settings, [file]) => (await import("./init.ts")).runInit(settings, file),
  },
  {
    name: "config check",
    summary: "say what is wrong with the settings, and what each role would do with them",
    operands: ["[role]"],
    run: async (settings, [role]) =>
      (await import("./config_check.ts")).configCheck(settings, role),
  },
  {
    name: "health",
    summary: "ask the roles on this machine whether they work; exit status 0 or 1 within 3 seconds",
    operands: ["[role]"],
    run: async (settings, [role]) => (await import("./health.ts")).runHealth(settings, role),
  },
  {
    name: "doctor",
    summary: "try what roles on this machine need, and say how to mend what is wrong",
    operands: ["[urls...]"],
    run: async (settings, urls) => (await import("./doctor.ts")).runDoctor(settings, urls),
  },
  {
    name: "completions",
    summary: "print what completes command lines in bash, zsh or fish",
    operands: ["<shell>"],
    run: async (_settings, [shell = ""]) =>
      (await import("./completions.ts")).printCompletions(shell),
  },
];
