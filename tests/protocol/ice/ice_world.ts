import {
  type AddressPort,
  formatAddressPort,
  parseAddressPort,
} from "../../../src/base/address.ts";
import type { CandidatePair } from "../../../src/protocol/ice/candidate_pair.ts";
import type { UdpCandidate } from "../../../src/protocol/ice/candidates.ts";
import {
  type CheckRole,
  sessionCredentials,
} from "../../../src/protocol/ice/connectivity_check.ts";
import { IceAgent, type IceEffect } from "../../../src/protocol/ice/ice_agent.ts";
import { decodeStunMessage } from "../../../src/protocol/stun/message.ts";

export type NatKind = "open" | "full_cone" | "port_restricted_cone" | "symmetric";

const DELAY = 20;
const SESSION = new Uint8Array(16).fill(7);

interface Datagram {
  readonly at: number;
  readonly from: AddressPort;
  readonly to: AddressPort;
  readonly bytes: Uint8Array;
}

/** Two agents, each behind a NAT of its own, in a network that stands still until told. */
export class IceWorld {
  now = 0;
  readonly offerer: IceSide;
  readonly answerer: IceSide;
  readonly sent: Datagram[] = [];
  /** Whether a datagram gets through. */
  passes: (datagram: Datagram) => boolean = () => true;
  readonly #flying: Datagram[] = [];
  #seed = 1;

  constructor(offerer: NatKind, answerer: NatKind) {
    this.offerer = new IceSide(this, "controlling", "10.0.1.2", "198.51.100.1", offerer);
    this.answerer = new IceSide(this, "controlled", "10.0.2.2", "203.0.113.1", answerer);
  }

  /** Both have each other's sealed messages. */
  introduce(): void {
    this.answerer.learn(this.offerer);
    this.offerer.learn(this.answerer);
  }

  random = (length: number): Uint8Array =>
    Uint8Array.from({ length }, () => {
      this.#seed = Math.imul(this.#seed, 1_664_525) + 1_013_904_223 | 0;
      return this.#seed >>> 24;
    });

  send(from: AddressPort, to: AddressPort, bytes: Uint8Array): void {
    const datagram = { at: this.now + DELAY, from, to, bytes };
    this.sent.push(datagram);
    if (this.passes(datagram)) this.#flying.push(datagram);
  }

  /** Lets time pass. */
  pass(milliseconds: number): void {
    const end = this.now + milliseconds;
    while (true) {
      const next = Math.min(
        ...this.#flying.map(({ at }) => at),
        this.offerer.agent.nextDeadline(),
        this.answerer.agent.nextDeadline(),
      );
      if (next > end) break;
      this.now = Math.max(this.now, next);
      for (const datagram of this.#flying.filter(({ at }) => at <= this.now)) {
        this.#flying.splice(this.#flying.indexOf(datagram), 1);
        this.offerer.arrive(datagram);
        this.answerer.arrive(datagram);
      }
      for (const side of [this.offerer, this.answerer]) side.settle();
    }
    this.now = end;
  }
}

export class IceSide {
  readonly agent: IceAgent;
  readonly said: IceEffect[] = [];
  readonly candidates: UdpCandidate[];
  publicIp: string;
  readonly #world: IceWorld;
  readonly #role: CheckRole;
  readonly #nat: NatKind;
  readonly #host: AddressPort;
  #relayed: AddressPort | undefined;
  /** NAT mappings: where datagrams appear to come from, and whom they went to. */
  readonly #mappings = new Map<string, { outside: AddressPort; readonly to: Set<string> }>();
  #nextPort = 40_000;

  constructor(world: IceWorld, role: CheckRole, hostIp: string, publicIp: string, nat: NatKind) {
    this.#world = world;
    this.#role = role;
    this.#nat = nat;
    this.publicIp = publicIp;
    this.#host = at(nat === "open" ? publicIp : hostIp, 5_000);
    this.candidates = [{ type: "host", address: this.#host }];
    this.agent = new IceAgent({
      role,
      local: this.credentials,
      random: world.random,
    }, world.now);
    this.agent.addBase({ id: "udp4", type: "host", family: 4 });
    if (nat !== "open") {
      // What a STUN server says; with a symmetric NAT it is of no use to others.
      const stun = at("192.0.2.1", 3_478);
      this.candidates.push({ type: "srflx", address: this.#translate(stun) });
    }
  }

  get credentials() {
    return sessionCredentials(
      SESSION,
      this.#role,
      new Uint8Array(16).fill(this.#role.length),
    );
  }

  get selected(): CandidatePair | undefined {
    return this.agent.selected;
  }

  /** How often the agent has chosen another pair. */
  get choices(): number {
    return this.said.filter(({ kind }) => kind === "selected").length;
  }

  /** Gives it an allocation at a relay, which lets everything in. */
  allocate(): void {
    this.#relayed = at("192.0.2.1", this.#role === "controlling" ? 50_000 : 50_001);
    this.candidates.push({ type: "relay", address: this.#relayed });
    this.agent.addBase({ id: "relay", type: "relay", family: 4 });
  }

  learn(other: IceSide): void {
    this.agent.setRemoteCredentials(other.credentials);
    for (const candidate of other.candidates) this.agent.addRemote(candidate);
  }

  /** The NAT forgets everything, or the machine got another address. */
  rebind(publicIp = this.publicIp): void {
    this.publicIp = publicIp;
    this.#mappings.clear();
  }

  arrive({ from, to, bytes }: Datagram): void {
    const base = this.#baseOf(from, to);
    const message = decodeStunMessage(bytes);
    if (base && message) this.agent.receive(message, base, from, this.#world.now);
  }

  settle(): void {
    this.agent.advance(this.#world.now);
    for (const effect of this.agent.takeEffects()) {
      if (effect.kind !== "send") this.said.push(effect);
      else if (effect.base.id === "relay") {
        if (this.#relayed) this.#world.send(this.#relayed, effect.to, effect.bytes);
      } else this.#world.send(this.#translate(effect.to), effect.to, effect.bytes);
    }
  }

  #baseOf(from: AddressPort, to: AddressPort): string | undefined {
    const target = formatAddressPort(to);
    if (this.#relayed && formatAddressPort(this.#relayed) === target) return "relay";
    if (this.#nat === "open") {
      return formatAddressPort(this.#host) === target ? "udp4" : undefined;
    }
    for (const { outside, to } of this.#mappings.values()) {
      if (formatAddressPort(outside) !== target) continue;
      if (this.#nat === "full_cone" || to.has(formatAddressPort(from))) return "udp4";
    }
    return undefined;
  }

  #translate(to: AddressPort): AddressPort {
    if (this.#nat === "open") return this.#host;
    const key = this.#nat === "symmetric" ? formatAddressPort(to) : "";
    let mapping = this.#mappings.get(key);
    if (!mapping) {
      mapping = { outside: at(this.publicIp, this.#nextPort++), to: new Set() };
      this.#mappings.set(key, mapping);
    }
    mapping.to.add(formatAddressPort(to));
    return mapping.outside;
  }
}

export function at(ip: string, port: number): AddressPort {
  const address = parseAddressPort(`${ip}:${port}`);
  if (!address) throw new TypeError(`No address: ${ip}`);
  return address;
}
