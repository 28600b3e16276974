import { type AddressPort, formatIp, type IpAddress } from "./address.ts";
import { readU32, writeU32 } from "./bytes.ts";

/**
 * An address and port as integers: what the packet path hashes and compares. An IPv4 address is
 * `w0`, an IPv6 address all four words, each a signed 32-bit integer in network order.
 */
export interface AddressWords {
  readonly w0: number;
  readonly w1: number;
  readonly w2: number;
  readonly w3: number;
  readonly port: number;
}

/** An address and port in the forms that bytes on the wire, tables and sockets need. */
export class Endpoint implements AddressPort, AddressWords {
  /** With `hostname` and `port` this is an address as `Deno.DatagramConn` takes it. */
  readonly transport = "udp";
  readonly address: IpAddress;
  /** The address as text. */
  readonly hostname: string;
  readonly port: number;
  readonly w0: number;
  readonly w1: number;
  readonly w2: number;
  readonly w3: number;

  /** Keeps `address`, 4 or 16 bytes. `hostname` spares writing it where a socket has just said it. */
  constructor(address: IpAddress, port: number, hostname: string = formatIp(address)) {
    const v6 = address.length === 16;
    this.address = address;
    this.port = port;
    this.hostname = hostname;
    this.w0 = readU32(address, 0) | 0;
    this.w1 = v6 ? readU32(address, 4) | 0 : 0;
    this.w2 = v6 ? readU32(address, 8) | 0 : 0;
    this.w3 = v6 ? readU32(address, 12) | 0 : 0;
  }

  /** The same address as these words of `family`. */
  static fromWords({ w0, w1, w2, w3, port }: AddressWords, family: AddressFamily): Endpoint {
    const address = new Uint8Array(family === 4 ? 4 : 16);
    writeU32(address, 0, w0);
    if (family === 6) {
      writeU32(address, 4, w1);
      writeU32(address, 8, w2);
      writeU32(address, 12, w3);
    }
    return new Endpoint(address, port);
  }

  /** 4 or 6. */
  get family(): AddressFamily {
    return this.address.length === 4 ? 4 : 6;
  }
}

/** IPv4 or IPv6. */
export type AddressFamily = 4 | 6;
