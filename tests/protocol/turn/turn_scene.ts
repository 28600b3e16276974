/** A TURN server without sockets, its clients and what peers see, in the protocol's words. */

import { ok, strictEqual } from "node:assert/strict";
import {
  type AddressPort,
  formatAddressPort,
  parseAddressPort,
  parseIp,
  parsePrefix,
} from "../../../src/base/address.ts";
import { concatBytes, fromUtf8, u16, u32, utf8 } from "../../../src/base/bytes.ts";
import { Endpoint } from "../../../src/base/endpoint.ts";
import {
  AttributeType,
  decodeErrorCode,
  decodeLifetime,
  decodeText,
  decodeXorAddress,
  encodeAddressFamily,
  encodeChannelNumber,
  encodeLifetime,
  encodePasswordAlgorithm,
  encodeXorAddress,
} from "../../../src/protocol/stun/attributes.ts";
import {
  type Integrity,
  type IntegrityKind,
  longTermKey,
  type PasswordAlgorithm,
} from "../../../src/protocol/stun/integrity.ts";
import {
  type Attribute,
  decodeStunMessage,
  encodeStunMessage,
  MessageClass,
  messageType,
  Method,
  type StunMessage,
} from "../../../src/protocol/stun/message.ts";
import type { Allocation, SessionRecord } from "../../../src/protocol/turn/allocation.ts";
import type { Client, RelaySocket } from "../../../src/protocol/turn/client.ts";
import { RelayUsers } from "../../../src/protocol/turn/credentials.ts";
import { PeerPolicy } from "../../../src/protocol/turn/peer_policy.ts";
import { type Delivery, HEADROOM, TAILROOM } from "../../../src/protocol/turn/relay_data.ts";
import type { RelayPort } from "../../../src/protocol/turn/relay_port.ts";
import { DEFAULT_TURN_SETTINGS, type TurnSettings } from "../../../src/protocol/turn/settings.ts";
import { TurnServer } from "../../../src/protocol/turn/turn_server.ts";
import { TestHost } from "../../roles/server/mailbox_scene.ts";

export const REALM = "cairn";
export const REST_SECRETS = ["first secret", "second secret"];
export const RELAYED_V4 = "11.22.33.44";
export const RELAYED_V6 = "2a00:1234::44";
/** Where this server listens, on its relayed addresses as most do. */
export const LISTENING = `${RELAYED_V4}:3478`;
/** A peer that the policy lets anybody reach. */
export const PEER = "8.8.8.8:5000";
export const PEER_V6 = "[2606:4700::1111]:5000";

const PASSWORDS: Readonly<Record<string, string>> = { user: "pass", other: "word" };

/** What goes out at once because of one packet. */
export type Outgoing =
  | { readonly to: "client"; readonly client: ActingClient; readonly bytes: Uint8Array }
  | {
    readonly to: "peer";
    readonly peer: string;
    readonly from: string;
    readonly bytes: Uint8Array;
    readonly dontFragment: boolean;
  };

export interface SceneOptions {
  readonly settings?: Partial<TurnSettings>;
  readonly seed?: number;
  /** Ports that the system refuses to bind. */
  readonly unusable?: (port: number) => boolean;
  /** False: ports wait for {@linkcode TurnScene.openPorts}. */
  readonly opensAtOnce?: boolean;
  readonly withoutCredentials?: boolean;
}

export class TurnScene {
  readonly host: TestHost;
  readonly server: TurnServer;
  /** Ports that the shell holds open. */
  readonly open = new Set<RelayPort>();
  /** Ports that the shell has been asked for and has not opened yet. */
  readonly waiting: RelayPort[] = [];
  readonly sessions: SessionRecord[] = [];
  readonly #options: SceneOptions;
  #transactions = 0;

  constructor(options: SceneOptions = {}) {
    this.#options = options;
    this.host = new TestHost(options.seed);
    const settings: TurnSettings = {
      ...DEFAULT_TURN_SETTINGS,
      relayedV4: parseIp(RELAYED_V4),
      relayedV6: parseIp(RELAYED_V6),
      relayPorts: { min: 49_152, max: 65_535 },
      ...options.settings,
    };
    this.server = new TurnServer({
      settings,
      credentials: options.withoutCredentials ? undefined : users(),
      policy: policy(settings),
      host: this.host,
    });
  }

  get now(): number {
    return this.host.monotonic();
  }

  /** Lets time pass, and everything end whose time it was. */
  pass(seconds: number): void {
    this.host.pass(seconds * 1000);
    this.server.advance(this.now);
    this.settle();
  }

  client(address = "203.0.113.7:40000", transport: Client["transport"] = "udp"): ActingClient {
    return new ActingClient(this, endpointOf(address), transport);
  }

  /** A client that has allocated; it fails the test when it cannot. */
  allocated(address?: string, ...attributes: readonly Attribute[]): ActingClient {
    const client = this.client(address);
    const answer = client.allocate(...attributes);
    ok(isSuccess(answer), `Allocate was refused: ${errorOf(answer)}`);
    return client;
  }

  /** A datagram from a peer to a relayed address. */
  fromPeer(from: string, to: string | undefined, data: Uint8Array): Outgoing | undefined {
    const port = this.relayPort(to);
    if (port === undefined) return undefined;
    const buffer = inBuffer(data);
    const source = endpointOf(from);
    const delivery = this.server.receiveFromPeer(
      port,
      buffer,
      HEADROOM,
      data.length,
      source,
      this.now,
    );
    return this.outgoing(delivery, buffer);
  }

  /** The open port with this relayed address. */
  relayPort(relayed: string | undefined): RelayPort | undefined {
    return [...this.open].find(({ endpoint }) => formatAddressPort(endpoint) === relayed);
  }

  /** Opens what the shell was asked for, in that order. */
  openPorts(): void {
    for (let port = this.waiting.shift(); port !== undefined; port = this.waiting.shift()) {
      if (this.#options.unusable?.(port.endpoint.port)) {
        this.server.relayPortFailed(port, this.now);
      } else {
        this.open.add(port);
        this.server.relayPortOpened(port, new SilentSocket(port), this.now);
      }
      this.#carryOutEffects();
    }
  }

  /** Does what the machine asks for. */
  settle(): void {
    this.#carryOutEffects();
    if (this.#options.opensAtOnce !== false) this.openPorts();
  }

  #carryOutEffects(): void {
    for (const effect of this.server.takeEffects()) {
      switch (effect.kind) {
        case "send":
          ok(effect.client instanceof ActingClient);
          effect.client.answers.push(effect.bytes);
          break;
        case "open-relay-port":
          this.waiting.push(effect.port);
          break;
        case "close-relay-port": {
          const index = this.waiting.indexOf(effect.port);
          if (index >= 0) this.waiting.splice(index, 1);
          else ok(this.open.delete(effect.port), "a port is closed that was not open");
          break;
        }
        case "session-ended":
          this.sessions.push(effect.session);
      }
    }
  }

  /** Copies what a delivery names out of the packet's buffer. */
  outgoing(delivery: Delivery | undefined, buffer: Uint8Array): Outgoing | undefined {
    if (delivery === undefined) return undefined;
    const { client, socket, peer, offset, length, dontFragment } = delivery;
    ok(offset >= 0 && offset + length <= buffer.length, "the delivery lies in the buffer");
    const bytes = buffer.slice(offset, offset + length);
    if (client !== undefined) {
      ok(client instanceof ActingClient);
      return { to: "client", client, bytes };
    }
    ok(peer !== undefined && socket instanceof SilentSocket);
    const from = formatAddressPort(socket.port.endpoint);
    return { to: "peer", peer: formatAddressPort(peer), from, bytes, dontFragment };
  }

  nextTransaction(): Uint8Array {
    return concatBytes(u32(0x7e57), u32(0), u32(++this.#transactions));
  }
}

/** How a request authenticates where that is not as usual. */
export interface RequestOptions {
  readonly transactionId?: Uint8Array;
  readonly fingerprint?: boolean;
  /** Changes the attributes by which the request authenticates. */
  readonly credentials?: (attributes: Attribute[]) => Attribute[];
  readonly key?: Uint8Array;
}

/** A client that allocates, binds and sends; it takes answers as a client would. */
export class ActingClient implements Client {
  readonly transport: Client["transport"];
  readonly endpoint: Endpoint;
  allocation: Allocation | undefined;
  /** Answers that have not been looked at. */
  readonly answers: Uint8Array[] = [];
  username = "user";
  password = "pass";
  nonce: string | undefined;
  /** With it, the family of RFC 8489: PASSWORD-ALGORITHM and MESSAGE-INTEGRITY-SHA256. */
  sha256 = false;
  readonly #scene: TurnScene;

  constructor(scene: TurnScene, endpoint: Endpoint, transport: Client["transport"]) {
    this.#scene = scene;
    this.endpoint = endpoint;
    this.transport = transport;
  }

  send(): void {
    throw new TypeError("The machine never sends by itself");
  }

  as(username: string, password = PASSWORDS[username] ?? ""): this {
    this.username = username;
    this.password = password;
    return this;
  }

  get integrity(): Integrity {
    const algorithm: PasswordAlgorithm = this.sha256 ? "sha-256" : "md5";
    const kind: IntegrityKind = this.sha256 ? "sha256" : "sha1";
    return { kind, key: longTermKey(algorithm, this.username, REALM, this.password) };
  }

  /** The relayed address of the allocation. */
  get relayed(): string {
    const { v4, v6 } = this.allocation ?? {};
    const port = v4 ?? v6;
    ok(port, "the client has an allocation");
    return formatAddressPort(port.endpoint);
  }

  /** An unauthenticated request; returns the answer, if any. */
  ask(method: number, ...attributes: readonly Attribute[]): StunMessage | undefined {
    const bytes = encodeStunMessage({
      method,
      messageClass: MessageClass.Request,
      transactionId: this.#scene.nextTransaction(),
      attributes,
    });
    this.receive(bytes);
    return this.answer();
  }

  /** An authenticated request, with a nonce that it gets first where it has none. */
  request(
    method: number,
    attributes: readonly Attribute[],
    options: RequestOptions = {},
  ): StunMessage | undefined {
    this.nonce ??= nonceOf(this.ask(Method.Allocate));
    this.receive(this.signed(method, attributes, options));
    return this.answer();
  }

  /** The bytes of an authenticated request. */
  signed(
    method: number,
    attributes: readonly Attribute[],
    { transactionId, fingerprint, credentials = (same) => same, key }: RequestOptions = {},
  ): Uint8Array {
    const algorithm: Attribute[] = this.sha256
      ? [
        [AttributeType.PasswordAlgorithms, PASSWORD_ALGORITHMS],
        [AttributeType.PasswordAlgorithm, encodePasswordAlgorithm("sha-256")],
      ]
      : [];
    const own: Attribute[] = [
      [AttributeType.Username, utf8(this.username)],
      [AttributeType.Realm, utf8(REALM)],
      [AttributeType.Nonce, utf8(this.nonce ?? "")],
      ...algorithm,
    ];
    return encodeStunMessage({
      method,
      messageClass: MessageClass.Request,
      transactionId: transactionId ?? this.#scene.nextTransaction(),
      attributes: [...attributes, ...credentials(own)],
      integrity: { ...this.integrity, ...(key && { key }) },
      fingerprint,
    });
  }

  allocate(...attributes: readonly Attribute[]): StunMessage | undefined {
    return this.request(Method.Allocate, [UDP, ...attributes]);
  }

  refresh(seconds: number, ...attributes: readonly Attribute[]): StunMessage | undefined {
    return this.request(Method.Refresh, [lifetime(seconds), ...attributes]);
  }

  permit(...peers: readonly string[]): StunMessage | undefined {
    const transactionId = this.#scene.nextTransaction();
    const attributes = peers.map((peer) => peerAddress(peer, transactionId));
    return this.request(Method.CreatePermission, attributes, { transactionId });
  }

  bind(channel: number, peer: string): StunMessage | undefined {
    const transactionId = this.#scene.nextTransaction();
    const attributes = [channelNumber(channel), peerAddress(peer, transactionId)];
    return this.request(Method.ChannelBind, attributes, { transactionId });
  }

  /** A Send indication. */
  sendTo(peer: string, data: Uint8Array, ...more: readonly Attribute[]): Outgoing | undefined {
    const transactionId = this.#scene.nextTransaction();
    const attributes = [
      peerAddress(peer, transactionId),
      [AttributeType.Data, data] as const,
      ...more,
    ];
    return this.indicate(transactionId, attributes);
  }

  indicate(
    transactionId: Uint8Array,
    attributes: readonly Attribute[],
    fingerprint = false,
  ): Outgoing | undefined {
    return this.receive(encodeStunMessage({
      method: Method.Send,
      messageClass: MessageClass.Indication,
      transactionId,
      attributes,
      fingerprint,
    }));
  }

  /** A ChannelData message. */
  channelData(channel: number, data: Uint8Array): Outgoing | undefined {
    return this.receive(concatBytes(u16(channel), u16(data.length), data));
  }

  /** Whatever bytes as one datagram or frame. */
  receive(bytes: Uint8Array): Outgoing | undefined {
    const { server, now } = this.#scene;
    const buffer = inBuffer(bytes);
    const delivery = server.receiveFromClient(this, buffer, HEADROOM, bytes.length, now);
    const outgoing = this.#scene.outgoing(delivery, buffer);
    this.#scene.settle();
    return outgoing;
  }

  /** The oldest answer that has not been looked at. */
  answer(): StunMessage | undefined {
    const bytes = this.answers.shift();
    const answer = bytes && decodeStunMessage(bytes);
    if (bytes !== undefined) ok(answer, "an answer is a STUN message");
    return answer;
  }

  /** Whether an answer is signed with this client's key, as after authentication all must be. */
  trusts(answer: StunMessage | undefined): boolean {
    return answer?.verify(this.integrity) ?? false;
  }
}

class SilentSocket implements RelaySocket {
  readonly port: RelayPort;

  constructor(port: RelayPort) {
    this.port = port;
  }

  send(): void {
    throw new TypeError("The machine never sends by itself");
  }
}

export const UDP: Attribute = [AttributeType.RequestedTransport, Uint8Array.of(17, 0, 0, 0)];
export const EVEN: Attribute = [AttributeType.EvenPort, Uint8Array.of(0)];
export const PAIR: Attribute = [AttributeType.EvenPort, Uint8Array.of(0x80)];
export const DONT_FRAGMENT: Attribute = [AttributeType.DontFragment, new Uint8Array(0)];
export const V4: Attribute = [AttributeType.RequestedAddressFamily, encodeAddressFamily(4)];
export const V6: Attribute = [AttributeType.RequestedAddressFamily, encodeAddressFamily(6)];
export const BOTH: Attribute = [AttributeType.AdditionalAddressFamily, encodeAddressFamily(6)];
/** SHA-256 and MD5, without parameters. */
export const PASSWORD_ALGORITHMS = Uint8Array.of(0, 2, 0, 0, 0, 1, 0, 0);

export function lifetime(seconds: number): Attribute {
  return [AttributeType.Lifetime, encodeLifetime(seconds)];
}

export function channelNumber(channel: number): Attribute {
  return [AttributeType.ChannelNumber, encodeChannelNumber(channel)];
}

export function peerAddress(peer: string, transactionId: Uint8Array): Attribute {
  return [AttributeType.XorPeerAddress, encodeXorAddress(endpointOf(peer), transactionId)];
}

export function token(value: Uint8Array): Attribute {
  return [AttributeType.ReservationToken, value];
}

export function endpointOf(text: string): Endpoint {
  const parsed: AddressPort | undefined = parseAddressPort(text);
  ok(parsed, text);
  return new Endpoint(parsed.address, parsed.port);
}

/** The error code of an answer; `undefined` for a success or silence. */
export function errorOf(answer: StunMessage | undefined): number | undefined {
  const value = answer?.get(AttributeType.ErrorCode);
  return value && decodeErrorCode(value)?.code;
}

export function isSuccess(answer: StunMessage | undefined): boolean {
  return answer?.messageClass === MessageClass.Success;
}

export function nonceOf(answer: StunMessage | undefined): string {
  const value = answer?.get(AttributeType.Nonce);
  ok(value, "the answer has a NONCE");
  return fromUtf8(value);
}

export function lifetimeOf(answer: StunMessage | undefined): number | undefined {
  const value = answer?.get(AttributeType.Lifetime);
  return value && decodeLifetime(value);
}

/** The addresses of this type in an answer. */
export function addressesOf(answer: StunMessage | undefined, type: number): string[] {
  return (answer?.all(type) ?? []).map((value) => {
    const address = answer && decodeXorAddress(value, answer.transactionId);
    ok(address);
    return formatAddressPort(address);
  });
}

export function relayedOf(answer: StunMessage | undefined): string[] {
  return addressesOf(answer, AttributeType.XorRelayedAddress);
}

/** What a client received from a peer, with the peer's address or the channel. */
export function receivedBy(outgoing: Outgoing | undefined): { from: string; data: string } {
  ok(outgoing?.to === "client", "something goes to a client");
  const { bytes } = outgoing;
  if (bytes[0]! >= 0x40) {
    const channel = bytes[0]! << 8 | bytes[1]!;
    const length = bytes[2]! << 8 | bytes[3]!;
    return { from: `0x${channel.toString(16)}`, data: fromUtf8(bytes.subarray(4, 4 + length)) };
  }
  const message = decodeStunMessage(bytes);
  ok(message, "a Data indication is a STUN message");
  strictEqual(message.bytes[0], messageType(Method.Data, MessageClass.Indication) >>> 8);
  strictEqual(message.bytes[1], messageType(Method.Data, MessageClass.Indication) & 0xff);
  const [from = ""] = addressesOf(message, AttributeType.XorPeerAddress);
  return { from, data: decodeText(message.get(AttributeType.Data)!) ?? "" };
}

/** The users, and secrets for time-limited ones. */
export function users(): RelayUsers {
  const listed = Object.entries(PASSWORDS).map(([username, password]) => ({ username, password }));
  return new RelayUsers({ realm: REALM, users: listed, restSecrets: REST_SECRETS });
}

/** The gate as it is without options, but for `allow` and `deny`. */
export function policy(
  settings: TurnSettings,
  { allow = [], deny = [] }: { allow?: readonly string[]; deny?: readonly string[] } = {},
): PeerPolicy {
  const prefixes = (texts: readonly string[]) => texts.map((text) => parsePrefix(text)!);
  const { relayedV4, relayedV6, relayPorts } = settings;
  return new PeerPolicy({
    allow: prefixes(allow),
    deny: prefixes(deny),
    relayed: [relayedV4, relayedV6].filter((address) => address !== undefined),
    relayPorts,
    listening: [endpointOf(LISTENING)],
  });
}

function inBuffer(bytes: Uint8Array): Uint8Array {
  const buffer = new Uint8Array(HEADROOM + bytes.length + TAILROOM);
  buffer.set(bytes, HEADROOM);
  return buffer;
}
