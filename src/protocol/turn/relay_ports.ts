import type { IpAddress } from "../../base/address.ts";
import { toHex } from "../../base/bytes.ts";
import { type AddressFamily, Endpoint } from "../../base/endpoint.ts";
import type { User } from "./allocation.ts";
import { PortPool, type PortWish } from "./port_pool.ts";
import { RelayPort } from "./relay_port.ts";
import type { TurnSettings } from "./settings.ts";

const TOKEN_LENGTH = 8;

interface Family {
  readonly address: IpAddress;
  readonly pool: PortPool;
  /** The ports that are taken, by number. */
  readonly taken: Map<number, RelayPort>;
}

/** The relay ports of both families: which are free, whose the others are, which are reserved. */
export class RelayPorts {
  readonly #random: (length: number) => Uint8Array;
  readonly #v4: Family | undefined;
  readonly #v6: Family | undefined;
  readonly #reserved = new Map<string, RelayPort>();

  constructor(settings: TurnSettings, random: (length: number) => Uint8Array) {
    const family = (address: IpAddress | undefined): Family | undefined =>
      address && { address, pool: new PortPool(settings.relayPorts, random), taken: new Map() };
    this.#random = random;
    this.#v4 = family(settings.relayedV4);
    this.#v6 = family(settings.relayedV6);
  }

  /** Free ports of both families together. */
  get freeCount(): number {
    return (this.#v4?.pool.freeCount ?? 0) + (this.#v6?.pool.freeCount ?? 0);
  }

  supports(family: AddressFamily): boolean {
    return this.#family(family) !== undefined;
  }

  /** The port of this number that is taken. */
  find(family: AddressFamily, port: number): RelayPort | undefined {
    return this.#family(family)?.taken.get(port);
  }

  /** Takes a port, and for a pair the one above it; `undefined` when none is free. */
  take(family: AddressFamily, wish: PortWish): RelayPort[] | undefined {
    const from = this.#family(family);
    const first = from?.pool.take(wish);
    if (from === undefined || first === undefined) return undefined;
    const numbers = wish === "pair" ? [first, first + 1] : [first];
    return numbers.map((number) => {
      const port = new RelayPort(family, new Endpoint(from.address, number));
      from.taken.set(number, port);
      return port;
    });
  }

  /** Gives a port back, and its reservation up. */
  release(port: RelayPort): void {
    const from = this.#family(port.family);
    if (from?.taken.get(port.endpoint.port) !== port) return;
    this.claim(port);
    from.taken.delete(port.endpoint.port);
    from.pool.release(port.endpoint.port);
  }

  /** Holds a port for who brings the token; the user's quota pays for it meanwhile. */
  reserve(port: RelayPort, user: User): Uint8Array {
    const token = this.#random(TOKEN_LENGTH);
    port.reservation = { token, user };
    this.#reserved.set(toHex(token), port);
    user.holdings++;
    return token;
  }

  /** The port that is held for this token. */
  reserved(token: Uint8Array): RelayPort | undefined {
    return this.#reserved.get(toHex(token));
  }

  /** Ends a reservation: its port goes to an allocation, or back. */
  claim(port: RelayPort): void {
    if (port.reservation === undefined) return;
    this.#reserved.delete(toHex(port.reservation.token));
    port.reservation.user.holdings--;
    port.reservation = undefined;
  }

  #family(family: AddressFamily): Family | undefined {
    return family === 4 ? this.#v4 : this.#v6;
  }
}
