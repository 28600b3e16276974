import assert from "node:assert/strict";
import { type AddressPort, formatIp, parseIp } from "../../../src/base/address.ts";
import { Endpoint } from "../../../src/base/endpoint.ts";
import type { Host } from "../../../src/base/host.ts";
import { decodeStunMessage, type StunMessage } from "../../../src/protocol/stun/message.ts";
import type { Client } from "../../../src/protocol/turn/client.ts";
import type { TurnClientEffect } from "../../../src/protocol/turn/client_effects.ts";
import { RelayUsers } from "../../../src/protocol/turn/credentials.ts";
import { HEADROOM } from "../../../src/protocol/turn/relay_data.ts";
import type { RelayPort } from "../../../src/protocol/turn/relay_port.ts";
import { DEFAULT_TURN_SETTINGS } from "../../../src/protocol/turn/settings.ts";
import { TurnClient, type TurnClientSettings } from "../../../src/protocol/turn/turn_client.ts";
import { TurnServer } from "../../../src/protocol/turn/turn_server.ts";

export const RELAYED = "198.41.0.4";
export const PEER = addressPort("198.41.0.9", 7_000);

/** A client and a relay joined in memory, with a clock that stands still until told. */
export class ClientWorld {
  readonly client: TurnClient;
  readonly server: TurnServer;
  /** What the client said, except for what it wanted to be sent. */
  readonly said: TurnClientEffect[] = [];
  /** The requests that the client has sent. */
  readonly requests: StunMessage[] = [];
  /** What came to peers, with where it came to. */
  readonly arrived: { readonly peer: string; readonly bytes: Uint8Array }[] = [];
  /** Whether the server hears the client. */
  isConnected = true;
  now = 0;
  readonly #random = seededRandom();
  readonly #side: Client;
  #port: RelayPort | undefined;

  constructor(settings: Partial<TurnClientSettings> = {}) {
    const host: Pick<Host, "now" | "random"> = {
      now: () => 1_800_000_000_000 + this.now,
      random: this.#random,
    };
    this.server = new TurnServer({
      settings: {
        ...DEFAULT_TURN_SETTINGS,
        relayedV4: ip(RELAYED),
        relayedV6: ip("2a00::4"),
        relayPorts: { min: 50_000, max: 50_009 },
      },
      credentials: new RelayUsers({
        realm: "cairn",
        users: [{ username: "user", password: "pass" }],
        restSecrets: [],
      }),
      policy: { judge: (address) => address[0] === 10 ? "forbidden" : "allowed" },
      host,
    });
    this.client = turnClient({ random: this.#random, ...settings });
    this.#side = {
      transport: "udp",
      endpoint: new Endpoint(ip("192.0.2.9"), 5_000),
      allocation: undefined,
      send() {},
    };
  }

  /** Lets messages go back and forth until nobody has anything to say. */
  settle(): void {
    for (const effect of this.client.takeEffects()) {
      if (effect.kind !== "send") this.said.push(effect);
      else this.#toServer(effect.bytes);
    }
    if (!this.server.hasEffects) return;
    for (const effect of this.server.takeEffects()) {
      if (effect.kind === "send") this.#toClient(effect.bytes);
      if (effect.kind === "open-relay-port") {
        this.#port = effect.port;
        this.server.relayPortOpened(effect.port, { send() {} }, this.now);
      }
    }
    this.settle();
  }

  /** Moves time to `at`, with every deadline of both sides on the way. */
  advanceTo(at: number): void {
    for (;;) {
      const next = Math.min(this.client.nextDeadline(), this.server.nextDeadline());
      if (next > at) break;
      this.now = Math.max(this.now, next);
      this.client.advance(this.now);
      this.server.advance(this.now);
      this.settle();
    }
    this.now = at;
  }

  /** The client has an allocation. Returns what it was told. */
  allocated(): Extract<TurnClientEffect, { kind: "allocated" }> {
    this.client.allocate(this.now);
    this.settle();
    const last = this.said.at(-1);
    return last?.kind === "allocated" ? last : assert.fail(`not allocated, but ${last?.kind}`);
  }

  /** The kinds of what the client said, and of refusals the code. */
  summary(): string[] {
    return this.said.map((effect) =>
      effect.kind === "refused"
        ? `refused ${effect.purpose.kind}: ${effect.refusal.code}`
        : effect.kind
    );
  }

  /** Sends bytes of the client, in the middle of a buffer. */
  sendData(bytes: Uint8Array): void {
    this.#toServer(bytes);
  }

  /** A datagram from a peer. Returns what the client made of it. */
  receiveFromPeer(peer: AddressPort, bytes: Uint8Array) {
    const buffer = new Uint8Array(2_000);
    buffer.set(bytes, HEADROOM);
    const delivery = this.server.receiveFromPeer(
      this.#port ?? assert.fail("no port is open"),
      buffer,
      HEADROOM,
      bytes.length,
      new Endpoint(peer.address, peer.port),
      this.now,
    );
    if (delivery === undefined) return undefined;
    const { offset, length } = delivery;
    if (!this.client.receive(buffer, offset, length, this.now)) return undefined;
    const { peer: from, dataOffset, dataLength } = this.client;
    return { from, bytes: buffer.slice(dataOffset, dataOffset + dataLength) };
  }

  #toServer(bytes: Uint8Array): void {
    const message = decodeStunMessage(bytes);
    if (message !== undefined) this.requests.push(message);
    if (!this.isConnected) return;
    const buffer = new Uint8Array(2_000);
    buffer.set(bytes, HEADROOM);
    const { length } = bytes;
    const delivery = this.server.receiveFromClient(this.#side, buffer, HEADROOM, length, this.now);
    const { peer } = delivery ?? {};
    if (delivery === undefined || peer === undefined) return;
    const { offset } = delivery;
    this.arrived.push({
      peer: `${formatIp(peer.address)}:${peer.port}`,
      bytes: buffer.slice(offset, offset + delivery.length),
    });
  }

  #toClient(bytes: Uint8Array): void {
    this.client.receive(bytes, 0, bytes.length, this.now);
  }
}

/** A client alone, with chance that is the same each time. */
export function turnClient(settings: Partial<TurnClientSettings> = {}): TurnClient {
  return new TurnClient({
    username: "user",
    password: "pass",
    transport: "datagram",
    random: seededRandom(),
    ...settings,
  });
}

export function ip(text: string): Uint8Array {
  return parseIp(text) ?? assert.fail(`${text} is no address`);
}

export function addressPort(text: string, port: number): AddressPort {
  return { address: ip(text), port };
}

function seededRandom(): (length: number) => Uint8Array<ArrayBuffer> {
  let state = 1;
  return (length) =>
    Uint8Array.from({ length }, () => {
      state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0;
      return state >>> 16;
    });
}
