import { readFileSync } from "node:fs";
import { createPrivateKey, X509Certificate } from "node:crypto";
import { CairnError } from "../base/errors.ts";

/** A certificate chain and its private key, both PEM. */
export interface CertifiedPair {
  readonly cert: string;
  readonly key: string;
  readonly certificate: X509Certificate;
}

/** What `setSecureContext` takes of it. */
export function pem({ cert, key }: CertifiedPair): { cert: string; key: string } {
  return { cert, key };
}

/** @throws {CairnError} `certificate-unreadable`. */
export function readCertificate(tls: { certPath: string; keyPath: string }): CertifiedPair {
  const cert = readPem(tls.certPath, "certificate");
  const key = readPem(tls.keyPath, "private key");
  const certificate = parsePem(tls.certPath, "a PEM certificate", () => new X509Certificate(cert));
  const privateKey = parsePem(
    tls.keyPath,
    "a PEM private key without a password",
    () => createPrivateKey(key),
  );
  if (!certificate.checkPrivateKey(privateKey)) {
    throw new CairnError(
      "certificate-unreadable",
      `The private key ${tls.keyPath} does not belong to the certificate ${tls.certPath}: give ` +
        "the pair that was issued together",
    );
  }
  return { cert, key, certificate };
}

function readPem(path: string, content: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch (cause) {
    const code = cause instanceof Error && "code" in cause ? ` (${cause.code})` : "";
    throw new CairnError(
      "certificate-unreadable",
      `Cannot read the ${content} file ${path}${code}: check the path and its permissions`,
      { cause },
    );
  }
}

function parsePem<Parsed>(path: string, content: string, parse: () => Parsed): Parsed {
  try {
    return parse();
  } catch (cause) {
    throw new CairnError(
      "certificate-unreadable",
      `The file ${path} does not hold ${content}: give another file`,
      { cause },
    );
  }
}
