import { formatIp } from "../../base/address.ts";
import type { Host } from "../../base/host.ts";
import { RelayUsers } from "../../protocol/turn/credentials.ts";
import { DEFAULT_TURN_SETTINGS, type TurnSettings } from "../../protocol/turn/settings.ts";
import type { Siblings } from "../../protocol/turn/siblings.ts";
import { TurnServer } from "../../protocol/turn/turn_server.ts";
import type { DatagramSockets } from "./datagram_sockets.ts";
import type { MachineAddresses, RelayAddresses } from "./relay_addresses.ts";
import { DEFAULT_RELAY_PORTS, type GateOptions, peerPolicy } from "./relay_gate.ts";
import type { RelayOptions, RelayPolicyOptions } from "./relay_options.ts";
import { logSession } from "./session_log.ts";
import { type Alarm, type SocketShelf, TurnDriver } from "./turn_driver.ts";

const DEFAULT_REALM = "cairn";

/** What stays the same while a relay runs, in a form that goes to other threads. */
export interface RelayPlan {
  readonly realm: string;
  readonly settings: TurnSettings;
  readonly addresses: RelayAddresses;
  readonly machine: MachineAddresses;
}

export function relayPlan(
  options: RelayOptions,
  addresses: RelayAddresses,
  machine: MachineAddresses,
): RelayPlan {
  const settings = {
    ...DEFAULT_TURN_SETTINGS,
    relayedV4: addresses.advertised[4],
    relayedV6: addresses.advertised[6],
    relayPorts: options.relayPorts ?? DEFAULT_RELAY_PORTS,
    ...(options.legacyChannels !== undefined && { legacyChannels: options.legacyChannels }),
    ...(options.strictExpiry !== undefined && { strictExpiry: options.strictExpiry }),
    ...(options.userQuota !== undefined && { maxAllocationsPerUser: options.userQuota }),
    ...(options.maxBitsPerSecond !== undefined && { maxBitsPerSecond: options.maxBitsPerSecond }),
    ...options.rates,
  };
  return { realm: options.realm ?? DEFAULT_REALM, settings, addresses, machine };
}

/** Whom a relay serves and which peers they may reach, in a form that goes to other threads. */
export type RelayRules = Pick<RelayPolicyOptions, "users" | "restSecrets"> & GateOptions;

export interface RelayCoreOptions {
  readonly plan: RelayPlan;
  readonly rules: RelayRules;
  readonly sockets: DatagramSockets;
  readonly host: Host;
  readonly siblings?: Siblings | undefined;
  readonly alarm?: Alarm;
  readonly shelf?: SocketShelf | undefined;
}

/** What serves the clients of one thread: the TURN server and its driver. */
export class RelayCore {
  readonly driver: TurnDriver;
  readonly #plan: RelayPlan;

  /** @throws {CairnError} as {@linkcode RelayCore.apply} does. */
  constructor({ plan, rules, sockets, host, siblings, alarm, shelf }: RelayCoreOptions) {
    const { settings, addresses: { bound } } = plan;
    this.#plan = plan;
    this.driver = new TurnDriver({
      server: new TurnServer({
        settings,
        credentials: this.#credentials(rules),
        policy: this.#gate(rules),
        host,
        siblings,
      }),
      sockets,
      relayHosts: {
        ...(bound[4] && { 4: formatIp(bound[4]) }),
        ...(bound[6] && { 6: formatIp(bound[6]) }),
      },
      host,
      onSessionEnded: logSession,
      alarm,
      shelf,
    });
  }

  get server(): TurnServer {
    return this.driver.server;
  }

  /**
   * Puts other rules into force.
   *
   * @throws {CairnError} when a user has a name that cannot be used; the former rules stay.
   */
  apply(rules: RelayRules): void {
    this.server.setCredentials(this.#credentials(rules));
    this.server.setPolicy(this.#gate(rules));
    this.driver.settle();
  }

  /** From here on nothing is granted. */
  drain(): void {
    this.server.drain();
    this.driver.settle();
  }

  close(): void {
    this.driver.close();
  }

  /** `undefined` when nobody can be let in. */
  #credentials({ users, restSecrets }: RelayRules): RelayUsers | undefined {
    if (users.length === 0 && restSecrets.length === 0) return undefined;
    return new RelayUsers({ realm: this.#plan.realm, users, restSecrets });
  }

  #gate(rules: RelayRules) {
    return peerPolicy(rules, this.#plan.addresses, this.#plan.machine);
  }
}
