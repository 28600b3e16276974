import type { IpAddress } from "../../base/address.ts";
import { equalBytes } from "../../base/bytes.ts";
import { type AddressFamily, type AddressWords, Endpoint } from "../../base/endpoint.ts";
import type { Siblings } from "./siblings.ts";

/**
 * The way to relayed addresses of one family that siblings hold: what goes there never leaves the
 * machine, whatever address peers are told.
 */
export class SiblingPorts {
  readonly #siblings: Siblings;
  readonly #family: AddressFamily;
  readonly #told: IpAddress;
  readonly #bound: IpAddress;
  readonly #words: AddressWords;
  /** Whether sockets are bound to another address than peers are told. */
  readonly #translates: boolean;
  /** By port, for all ports that were ever needed. */
  readonly #boundEndpoints = new Map<number, Endpoint>();
  readonly #toldEndpoints = new Map<number, Endpoint>();

  constructor(siblings: Siblings, family: AddressFamily, told: IpAddress) {
    this.#siblings = siblings;
    this.#family = family;
    this.#told = told;
    this.#bound = siblings.bound(family) ?? told;
    this.#words = new Endpoint(this.#bound, 0);
    this.#translates = !equalBytes(this.#bound, told);
  }

  /** Where the socket of a sibling's port is bound; `undefined` when none holds it. */
  elsewhere(port: number): Endpoint | undefined {
    if (!this.#siblings.isElsewhere(this.#family, port)) return undefined;
    return kept(this.#boundEndpoints, this.#bound, port);
  }

  /** Where a datagram comes from as clients know it: a sibling's port by its relayed address. */
  asTold(from: AddressWords): AddressWords {
    const { w0, w1, w2, w3 } = this.#words;
    const isOurs = this.#translates && from.w0 === w0 && from.w1 === w1 && from.w2 === w2 &&
      from.w3 === w3 && this.#siblings.isElsewhere(this.#family, from.port);
    return isOurs ? kept(this.#toldEndpoints, this.#told, from.port) : from;
  }
}

function kept(endpoints: Map<number, Endpoint>, address: IpAddress, port: number): Endpoint {
  let endpoint = endpoints.get(port);
  if (endpoint === undefined) {
    endpoint = new Endpoint(address, port);
    endpoints.set(port, endpoint);
  }
  return endpoint;
}
