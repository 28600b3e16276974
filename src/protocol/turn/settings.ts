import type { IpAddress } from "../../base/address.ts";
import type { Rate } from "../../base/rate_limit.ts";

/** Bounds and choices of a {@linkcode TurnServer}. */
export interface TurnSettings {
  /** What peers are told for each family; without one, no allocation of that family. */
  readonly relayedV4: IpAddress | undefined;
  readonly relayedV6: IpAddress | undefined;
  /** Ports of relayed addresses, both included. */
  readonly relayPorts: { readonly min: number; readonly max: number };
  /** Channel numbers up to 0x7FFF, as RFC 5766 had them. */
  readonly legacyChannels: boolean;
  /** An expired credential does not refresh, permit or bind either. */
  readonly strictExpiry: boolean;
  /** SOFTWARE in answers to authenticated requests; empty for none. */
  readonly software: string;
  readonly maxAllocations: number;
  readonly maxAllocationsPerUser: number;
  /** Of one user, in each direction; 0 for no limit. */
  readonly maxBitsPerSecond: number;
  readonly maxPermissions: number;
  readonly maxChannels: number;
  /** 401 to requests over UDP without credentials, for each source. */
  readonly challengeRate: Rate;
  /** Answers to Binding requests over UDP, for each source. */
  readonly bindingRate: Rate;
  /** Wrong credentials, for each source and for each user. */
  readonly failureRate: Rate;
  /** How many sources and users each of these rates remembers. */
  readonly maxTrackedSources: number;
}

/** Every choice where the operator made none; addresses and ports always are one. */
export const DEFAULT_TURN_SETTINGS = {
  legacyChannels: false,
  strictExpiry: false,
  software: "cairn",
  maxAllocations: Infinity,
  maxAllocationsPerUser: 32,
  maxBitsPerSecond: 0,
  maxPermissions: 256,
  maxChannels: 256,
  challengeRate: { burst: 30, perSecond: 10 },
  bindingRate: { burst: 100, perSecond: 50 },
  failureRate: { burst: 20, perSecond: 1 },
  maxTrackedSources: 10_000,
} satisfies Partial<TurnSettings>;
