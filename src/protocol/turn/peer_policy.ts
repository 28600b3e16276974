/**
 * The one gate for peer addresses: whether a client may reach a peer through this relay. An address
 * that carries another one (NAT64 and its like) is judged as both, and the stricter verdict counts,
 * so that no spelling of an address gets further than the address itself.
 */

import {
  type AddressPort,
  type AddressPrefix,
  equalAddressPort,
  formatIp,
  formatPrefix,
  type IpAddress,
  isUnspecified,
  prefixHas,
} from "../../base/address.ts";
import { equalBytes } from "../../base/bytes.ts";
import { embeddedIpv4, type SpecialRange, specialRange } from "./special_addresses.ts";

/** `own`: a relayed address of this server, which nothing but an allocation may answer for. */
export type PeerVerdict = "allowed" | "own" | "forbidden";

export interface PeerPolicySettings {
  /** Opened by the operator, where the built-in rule for them is no more exact. */
  readonly allow: readonly AddressPrefix[];
  /** Closed by the operator, except where an allowed range is more exact. */
  readonly deny: readonly AddressPrefix[];
  /** Under which this server relays: the advertised addresses and those bound. */
  readonly relayed: readonly IpAddress[];
  /** Ports of relayed addresses, both included. */
  readonly relayPorts: { readonly min: number; readonly max: number };
  /** Where this process listens; an unspecified address stands for all of this machine. */
  readonly listening: readonly AddressPort[];
  /** Other addresses of this machine. */
  readonly machine?: readonly IpAddress[];
}

interface Rule {
  readonly prefix: AddressPrefix;
  readonly allows: boolean;
}

/** Why an address is allowed or not, see {@linkcode PeerPolicy.explain}. */
type Ground =
  | "impossible"
  | "listening"
  | "denied"
  | "relayed"
  | "opened"
  | "own machine"
  | "public"
  | "not public";

/** Immutable; a reload makes another one. */
export class PeerPolicy {
  readonly #settings: PeerPolicySettings;
  /** The most exact first; of two for the same range, the one that denies. */
  readonly #rules: readonly Rule[];
  readonly #own: readonly IpAddress[];

  constructor(settings: PeerPolicySettings) {
    this.#settings = settings;
    this.#rules = [
      ...settings.deny.map((prefix) => ({ prefix, allows: false })),
      ...settings.allow.map((prefix) => ({ prefix, allows: true })),
    ].sort((a, b) => b.prefix.length - a.prefix.length);
    const listening = settings.listening.map(({ address }) => address);
    this.#own = [...settings.relayed, ...settings.machine ?? [], ...listening]
      .filter((address) => !isUnspecified(address));
  }

  /**
   * Whether a client may have a permission or channel for, or send to, this address and port. Port
   * 0, which nothing can be sent to, stands for any: permissions have none (RFC 8656 section 9).
   */
  judge(address: IpAddress, port: number): PeerVerdict {
    const verdict = verdictOf(this.#ground(address, port));
    if (verdict === "forbidden" || address.length === 4) return verdict;
    const carried = embeddedIpv4(address);
    const isBarred = carried !== undefined && this.#forbids(carried, port);
    return isBarred ? "forbidden" : verdict;
  }

  /** The verdict and its reason, as one sentence. */
  explain(
    address: IpAddress,
    port: number,
  ): { readonly verdict: PeerVerdict; readonly sentence: string } {
    const ground = this.#ground(address, port);
    const verdict = verdictOf(ground);
    const carried = verdict === "forbidden" ? undefined : embeddedIpv4(address);
    if (carried !== undefined && this.#forbids(carried, port)) {
      const why = this.#reason(carried, this.#ground(carried, port));
      const sentence = `${formatIp(address)} is refused: it carries ${formatIp(carried)}, which ` +
        why;
      return { verdict: "forbidden", sentence };
    }
    const word = verdict === "forbidden" ? "refused" : "allowed";
    const sentence = `${formatIp(address)} is ${word}: it ${this.#reason(address, ground)}`;
    return { verdict, sentence };
  }

  #forbids(address: IpAddress, port: number): boolean {
    return verdictOf(this.#ground(address, port)) === "forbidden";
  }

  #ground(address: IpAddress, port: number): Ground {
    const special = specialRange(address);
    if (special.reach === "never") return "impossible";
    const isOwn = this.#own.some((own) => equalBytes(own, address));
    if (port !== 0 && this.#listensAt(address, port, isOwn)) return "listening";
    const rule = this.#rule(address);
    if (rule?.allows === false) return "denied";
    if (isOwn && this.#relays(address, port)) return "relayed";
    // Whoever opens a network does not mean the services of this machine in it.
    const isApart = isOwn && !isLoopback(special);
    const needed = isApart ? address.length * 8 : special.prefix.length;
    if (rule && rule.prefix.length >= needed) return "opened";
    if (isApart) return "own machine";
    return special.reach === "global" ? "public" : "not public";
  }

  /** Completes "the address …". */
  #reason(address: IpAddress, ground: Ground): string {
    const special = specialRange(address);
    const rule = this.#rule(address);
    switch (ground) {
      case "impossible":
      case "public":
        return `is ${special.is}`;
      case "listening":
        return "is where this relay itself listens";
      case "denied":
        return `lies in ${name(rule)} of the denied peers`;
      case "relayed":
        return "is a relayed address of this relay";
      case "opened":
        return `lies in ${name(rule)} of the allowed peers`;
      case "own machine":
        return "is this machine's own, and the port is none that it relays from; to open it, add " +
          `${formatIp(address)} itself to the allowed peers`;
      case "not public": {
        const open = `add ${formatPrefix(special.prefix)} or a part of it to the allowed peers`;
        return rule === undefined
          ? `is ${special.is}; to open it, ${open}`
          : `is ${special.is}, and ${
            name(rule)
          } of the allowed peers is too wide to open it; ${open}`;
      }
    }
  }

  #rule(address: IpAddress): Rule | undefined {
    for (const rule of this.#rules) if (prefixHas(rule.prefix, address)) return rule;
    return undefined;
  }

  #relays(address: IpAddress, port: number): boolean {
    const { relayed, relayPorts: { min, max } } = this.#settings;
    const inRange = port === 0 || (port >= min && port <= max);
    return inRange && relayed.some((own) => equalBytes(own, address));
  }

  #listensAt(address: IpAddress, port: number, isOwn: boolean): boolean {
    return this.#settings.listening.some((listener) =>
      equalAddressPort(listener, { address, port }) ||
      (listener.port === port && isUnspecified(listener.address) &&
        (isOwn || isLoopback(specialRange(address))))
    );
  }
}

function isLoopback({ is }: SpecialRange): boolean {
  return is.startsWith("loopback");
}

function verdictOf(ground: Ground): PeerVerdict {
  if (ground === "relayed") return "own";
  return ground === "opened" || ground === "public" ? "allowed" : "forbidden";
}

function name(rule: Rule | undefined): string {
  return rule === undefined ? "" : formatPrefix(rule.prefix);
}
