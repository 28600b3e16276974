import { join } from "node:path";

/** A self-signed certificate for localhost and 127.0.0.1, in a folder of its own. */
export interface SelfSigned {
  readonly certPath: string;
  readonly keyPath: string;
  /** PEM; a client that trusts it accepts the server. */
  readonly cert: string;
  [Symbol.asyncDispose](): Promise<void>;
}

/** True when the openssl command, which makes the fixtures, is there. */
export const hasOpenssl = await new Deno.Command("openssl", {
  args: ["version"],
  stdout: "null",
  stderr: "null",
}).output().then(({ success }) => success, () => false);

/**
 * Makes one with the openssl command, valid for so many days, and for another address of the scene
 * beside.
 */
export async function makeSelfSigned(days = 2, address = "127.0.0.1"): Promise<SelfSigned> {
  const folder = await Deno.makeTempDir({ prefix: "cairn-tls-" });
  const certPath = join(folder, "cert.pem");
  const keyPath = join(folder, "key.pem");
  const { success, stderr } = await new Deno.Command("openssl", {
    args: [
      ..."req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes".split(" "),
      ...["-days", `${days}`],
      ..."-subj /CN=localhost -addext basicConstraints=critical,CA:FALSE".split(" "),
      ...["-addext", `subjectAltName=DNS:localhost,IP:127.0.0.1,IP:${address}`],
      ...["-keyout", keyPath, "-out", certPath],
    ],
    stdout: "null",
    stderr: "piped",
  }).output();
  if (!success) throw new Error(new TextDecoder().decode(stderr));
  return {
    certPath,
    keyPath,
    cert: await Deno.readTextFile(certPath),
    [Symbol.asyncDispose]: () => Deno.remove(folder, { recursive: true }),
  };
}
