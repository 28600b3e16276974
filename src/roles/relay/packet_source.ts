import { parseIp, unmapIp } from "../../base/address.ts";
import { type AddressWords, Endpoint } from "../../base/endpoint.ts";

/** Where the packet at hand comes from: one object for all packets of a socket. */
export class PacketSource implements AddressWords {
  w0 = 0;
  w1 = 0;
  w2 = 0;
  w3 = 0;
  port = 0;
  #hostname = "";

  /** Takes what `Deno.DatagramConn` tells. An IPv4 address makes no garbage. */
  set(hostname: string, port: number): void {
    this.port = port;
    if (hostname === this.#hostname) return;
    this.#hostname = hostname;
    if (hostname.includes(":")) return this.#setV6(hostname);
    let word = 0;
    let byte = 0;
    for (let i = 0; i < hostname.length; i++) {
      const code = hostname.charCodeAt(i);
      if (code === 0x2e) {
        word = word << 8 | byte;
        byte = 0;
      } else {
        byte = byte * 10 + code - 0x30;
      }
    }
    this.w0 = word << 8 | byte;
    this.w1 = this.w2 = this.w3 = 0;
  }

  /** The same address, to keep. */
  toEndpoint(): Endpoint {
    return endpointOf(this.#hostname, this.port);
  }

  #setV6(hostname: string): void {
    const { w0, w1, w2, w3 } = endpointOf(hostname, 0);
    this.w0 = w0;
    this.w1 = w1;
    this.w2 = w2;
    this.w3 = w3;
  }
}

/** The other end of a socket as the system names it; IPv4 also where it comes mapped into IPv6. */
export function endpointOf(hostname: string, port: number): Endpoint {
  const address = parseIp(hostname.replace(/%.*$/, ""));
  if (address === undefined) throw new TypeError(`The system named no IP address: ${hostname}`);
  return new Endpoint(unmapIp(address), port);
}
