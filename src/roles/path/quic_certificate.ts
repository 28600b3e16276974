import { fromBase64, toBase64 } from "../../base/bytes.ts";
import type { Host } from "../../base/host.ts";

/** The name in every certificate: what counts is that it is the one of the sealed message. */
export const QUIC_SERVER_NAME = "cairn";

const DAY = 86_400_000;
/** Clocks of peers may be wrong by more than any of ours. */
const VALID_BEFORE = 30 * DAY;
const VALID_AFTER = 3_650 * DAY;

/** A self-signed certificate for this run of the process, which peers are told in sealed messages. */
export interface QuicCertificate {
  /** X.509 in DER. */
  readonly der: Uint8Array;
  readonly cert: string;
  readonly key: string;
}

/** Makes one. The library is loaded by those who need it: it takes most of a second. */
export async function makeQuicCertificate(host: Host): Promise<QuicCertificate> {
  const { generate } = await import("selfsigned");
  const { cert, private: key } = await generate([{
    name: "commonName",
    value: QUIC_SERVER_NAME,
  }], {
    keyType: "ec",
    curve: "P-256",
    algorithm: "sha256",
    notBeforeDate: new Date(host.now() - VALID_BEFORE),
    notAfterDate: new Date(host.now() + VALID_AFTER),
    extensions: [
      // Servers refuse one that could sign others.
      { name: "basicConstraints", cA: false, critical: true },
      { name: "subjectAltName", altNames: [{ type: 2, value: QUIC_SERVER_NAME }] },
    ],
  });
  const body = cert.replaceAll(/-----[A-Z ]+-----|\s/g, "");
  return { der: fromBase64(body), cert, key };
}

export function certificatePem(der: Uint8Array): string {
  return `-----BEGIN CERTIFICATE-----\n${toBase64(der)}\n-----END CERTIFICATE-----\n`;
}
