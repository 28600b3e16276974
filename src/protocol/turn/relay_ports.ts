import type { IpAddress } from "../../base/address.ts";
import { toHex } from "../../base/bytes.ts";
import { type AddressFamily, type AddressWords, Endpoint } from "../../base/endpoint.ts";
import type { User } from "./allocation.ts";
import { PortPool, type PortWish } from "./port_pool.ts";
import { RelayPort } from "./relay_port.ts";
import { SiblingPorts } from "./sibling_ports.ts";
import type { PortSupply, Siblings } from "./siblings.ts";
import type { TurnSettings } from "./settings.ts";

const TOKEN_LENGTH = 8;

interface Family {
  readonly address: IpAddress;
  readonly pool: PortSupply;
  /** The ports that are taken by this server, by number. */
  readonly taken: Map<number, RelayPort>;
  readonly ofSiblings: SiblingPorts | undefined;
}

/** The relay ports of both families: which are free, whose the others are, which are reserved. */
export class RelayPorts {
  readonly #random: (length: number) => Uint8Array;
  readonly #siblings: Siblings | undefined;
  readonly #v4: Family | undefined;
  readonly #v6: Family | undefined;
  readonly #reserved = new Map<string, RelayPort>();

  constructor(
    settings: TurnSettings,
    random: (length: number) => Uint8Array,
    siblings?: Siblings,
  ) {
    const make = (family: AddressFamily, address: IpAddress | undefined): Family | undefined =>
      address && {
        address,
        pool: siblings?.supply(family) ?? new PortPool(settings.relayPorts, random),
        taken: new Map(),
        ofSiblings: siblings && new SiblingPorts(siblings, family, address),
      };
    this.#random = random;
    this.#siblings = siblings;
    this.#v4 = make(4, settings.relayedV4);
    this.#v6 = make(6, settings.relayedV6);
  }

  /** Whether siblings may take over what is reserved here. */
  get isShared(): boolean {
    return this.#siblings !== undefined;
  }

  /** Free ports of both families together, of all siblings. */
  get freeCount(): number {
    return (this.#v4?.pool.freeCount ?? 0) + (this.#v6?.pool.freeCount ?? 0);
  }

  supports(family: AddressFamily): boolean {
    return this.#family(family) !== undefined;
  }

  /** The port of this number that is taken here. */
  find(family: AddressFamily, port: number): RelayPort | undefined {
    return this.#family(family)?.taken.get(port);
  }

  /** Where a port is reached that a sibling has taken. */
  elsewhere(family: AddressFamily, port: number): Endpoint | undefined {
    return this.#family(family)?.ofSiblings?.elsewhere(port);
  }

  /** See {@linkcode SiblingPorts.asTold}. */
  asTold(family: AddressFamily, from: AddressWords): AddressWords {
    return this.#family(family)?.ofSiblings?.asTold(from) ?? from;
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

  /** Gives a port back, and its reservation up; false when a sibling has taken it over. */
  release(port: RelayPort): boolean {
    const from = this.#family(port.family);
    const number = port.endpoint.port;
    const { reservation } = port;
    if (this.#siblings !== undefined && reservation !== undefined) {
      port.reservation = undefined;
      if (!this.#siblings.claim(reservation.token)) return false;
      from?.pool.release(number);
      return true;
    }
    if (from?.taken.get(number) !== port) return true;
    this.claim(port);
    from.taken.delete(number);
    from.pool.release(number);
    return true;
  }

  /** Holds a port for who brings the token; the user's quota pays for it meanwhile. */
  reserve(port: RelayPort, user: User): Uint8Array {
    const token = this.#random(TOKEN_LENGTH);
    const { family, endpoint } = port;
    const isOf = (userName: string) => userName === user.name;
    if (this.#siblings !== undefined) {
      port.reservation = { token, user: undefined, isOf };
      this.#family(family)?.taken.delete(endpoint.port);
      this.#siblings.offer(family, endpoint.port, token, user.name);
    } else {
      port.reservation = { token, user, isOf };
      this.#reserved.set(toHex(token), port);
      user.add(1);
    }
    return token;
  }

  /** The port that is held for this token. */
  reserved(token: Uint8Array): RelayPort | undefined {
    if (this.#siblings === undefined) return this.#reserved.get(toHex(token));
    const offer = this.#siblings.offered(token);
    const from = offer && this.#family(offer.family);
    if (offer === undefined || from === undefined) return undefined;
    const port = new RelayPort(offer.family, new Endpoint(from.address, offer.port));
    port.reservation = { token, user: undefined, isOf: (userName) => offer.isOf(userName) };
    return port;
  }

  /** Ends a reservation, as its port goes to an allocation; false when it has ended. */
  claim(port: RelayPort): boolean {
    const { reservation } = port;
    if (reservation === undefined) return false;
    port.reservation = undefined;
    if (this.#siblings !== undefined) {
      if (!this.#siblings.claim(reservation.token)) return false;
      this.#family(port.family)?.taken.set(port.endpoint.port, port);
      return true;
    }
    this.#reserved.delete(toHex(reservation.token));
    reservation.user?.add(-1);
    return true;
  }

  #family(family: AddressFamily): Family | undefined {
    return family === 4 ? this.#v4 : this.#v6;
  }
}
