/** Tries a relay from outside, as its clients use it, and says in words what is wrong. */

import { lookup } from "node:dns/promises";
import { type AddressPort, formatAddressPort, formatIp, parseIp } from "../../base/address.ts";
import { equalBytes } from "../../base/bytes.ts";
import { CairnError, type CairnErrorCode } from "../../base/errors.ts";
import { type Host, systemHost } from "../../base/host.ts";
import { specialRange } from "../../protocol/turn/special_addresses.ts";
import type { TurnUri } from "../../protocol/turn/turn_uri.ts";
import { openTurnCarrier, TlsHandshakeFailed, type TurnTarget } from "../turn_carrier.ts";
import { TurnConversation, TurnDisconnected, TurnRefused } from "../turn_conversation.ts";

export interface TrialOptions {
  readonly uri: TurnUri;
  readonly username: string;
  readonly password: string;
  /** Milliseconds for each step. */
  readonly timeout: number;
  /** Over TLS: certificate authorities (PEM) in place of the system's. */
  readonly caCerts?: readonly string[];
  readonly host?: Host;
}

/** A step that went well, or what to think about though it did. */
export interface TrialStep {
  readonly kind: "ok" | "note";
  readonly sentence: string;
}

/** Milliseconds after which a datagram that may have been lost is sent again. */
const RESEND = 500;
const ECHO_BYTES = 16;
const NO_HAIRPIN =
  "It does not let its clients reach its own relayed addresses: take them out of " +
  "its denied peers";

/**
 * Finds the relay, asks it for this machine's address and for two allocations, and sends a datagram
 * from one to the other and back. Yields each step that went well.
 *
 * @throws {CairnError} that says which step failed and what to do.
 */
export async function* tryRelay(options: TrialOptions): AsyncGenerator<TrialStep> {
  const { uri, host = systemHost } = options;
  const address = await resolve(uri.host);
  if (address !== uri.host) yield ok(`the name ${uri.host} stands for ${address}`);
  const target: TurnTarget = {
    transport: uri.transport,
    address,
    port: uri.port,
    serverName: uri.host,
    ...(options.caCerts && { caCerts: options.caCerts }),
  };
  await using first = await converse(target, options, host);
  const started = host.monotonic();
  const mapped = await step(options, () => first.bind());
  const time = Math.round(host.monotonic() - started);
  const transport = TRANSPORT_NAMES[uri.transport];
  yield ok(
    `it answers over ${transport} within ${time} ms, and sees this machine as ` +
      formatAddressPort(mapped),
  );
  const { relayed, lifetime } = await step(options, () => first.allocate());
  if (first.realm !== undefined) yield ok(`it asks for credentials of the realm "${first.realm}"`);
  yield ok(
    `it lets the user in, and relays from ${formatAddressPort(relayed)} for ${lifetime} seconds`,
  );
  yield* judge(relayed);
  await using second = await converse(target, options, host);
  const other = (await step(options, () => second.allocate())).relayed;
  const channel = await step(options, () => first.bindChannel(other));
  await step(options, () => second.permit(relayed.address));
  yield ok("it lets its clients reach one another");
  const echo = host.random(ECHO_BYTES);
  await passes(
    options,
    { from: relayed, to: other },
    second,
    echo,
    () => first.send(channel, echo),
  );
  await passes(options, { from: other, to: relayed }, first, echo, () => {
    return second.indicate(relayed, echo);
  });
  const [here, there] = [formatAddressPort(relayed), formatAddressPort(other)];
  yield ok(`a datagram went from ${here} to ${there} and back`);
  await step(options, () => first.release());
  await step(options, () => second.release());
  yield ok("both allocations were given back");
}

const TRANSPORT_NAMES = { udp: "UDP", tcp: "TCP", tls: "TLS" } as const;

function ok(sentence: string): TrialStep {
  return { kind: "ok", sentence };
}

/** Whether peers can send to an address that they are told. */
function* judge(relayed: AddressPort): Generator<TrialStep> {
  const { reach, is } = specialRange(relayed.address);
  if (reach === "global") return;
  const advice = "set --external-ip of the relay to its public address";
  if (reach === "never") {
    throw new CairnError(
      "refused",
      `It relays from ${formatAddressPort(relayed)}, which is ${is} and no peer can send to: ` +
        advice,
    );
  }
  const sentence = `${formatIp(relayed.address)} is ${is}: unless all peers are in that network, ` +
    advice;
  yield { kind: "note", sentence };
}

async function resolve(name: string): Promise<string> {
  const ip = parseIp(name);
  if (ip !== undefined) return formatIp(ip);
  try {
    return (await lookup(name)).address;
  } catch (cause) {
    throw new CairnError(
      "unreachable",
      `No address is known for the name ${name}: check its spelling and its DNS records`,
      { cause },
    );
  }
}

async function converse(
  target: TurnTarget,
  { username, password, timeout }: TrialOptions,
  host: Host,
): Promise<TurnConversation> {
  const isStream = target.transport !== "udp";
  const late = Promise.withResolvers<never>();
  const timer = setTimeout(() => late.reject(new Error("It took too long")), timeout);
  const opening = openTurnCarrier(target);
  try {
    const carrier = await Promise.race([opening, late.promise]);
    return new TurnConversation(carrier, isStream ? "stream" : "datagram", {
      username,
      password,
      timeout,
      host,
    });
  } catch (cause) {
    opening.then((carrier) => carrier.close(), () => {});
    throw notOpened(target, cause);
  } finally {
    clearTimeout(timer);
  }
}

function notOpened(
  { address, port, serverName }: TurnTarget,
  cause: unknown,
): CairnError {
  const reason = cause instanceof Error ? cause.message : String(cause);
  const where = `${address.includes(":") ? `[${address}]` : address}:${port}`;
  const sentence = cause instanceof TlsHandshakeFailed
    ? `The TLS handshake with ${where} failed (${reason}): check that this is the relay's port ` +
      `for TLS and that its certificate is for ${serverName}, complete and not expired; name a ` +
      "private authority with --tls-ca"
    : `No connection to ${where} (${reason}): check that the relay runs and that the firewall ` +
      `lets TCP port ${port} in`;
  return new CairnError("unreachable", sentence, { cause });
}

/** Sends until `bytes` have come to `receiver`. */
async function passes(
  { timeout, host = systemHost }: TrialOptions,
  { from, to }: { readonly from: AddressPort; readonly to: AddressPort },
  receiver: TurnConversation,
  bytes: Uint8Array,
  send: () => Promise<void>,
): Promise<void> {
  const deadline = host.monotonic() + timeout;
  while (host.monotonic() < deadline) {
    await send();
    const received = await receiver.receive(RESEND);
    if (received !== undefined && equalBytes(received.bytes, bytes)) return;
  }
  throw new CairnError(
    "unreachable",
    `No datagram comes from ${formatAddressPort(from)} to ${formatAddressPort(to)}: open the ` +
      "relay's port range for UDP in its firewall, and check that its external address is its own",
  );
}

async function step<Result>(options: TrialOptions, ask: () => Promise<Result>): Promise<Result> {
  try {
    return await ask();
  } catch (error) {
    if (error instanceof TurnRefused) throw explain(error, options);
    if (!(error instanceof TurnDisconnected)) throw error;
    throw new CairnError(
      "closed",
      "The relay closed the connection: something else than a TURN server may listen there, or it " +
        "has too many connections of this machine",
      { cause: error },
    );
  }
}

/** What is wrong, by the request that failed and how. */
const ADVICE: ReadonlyMap<string, readonly [CairnErrorCode, string]> = new Map([
  ["allocation timeout", [
    "timeout",
    "It answers as a STUN server but does not relay: give the relay --credentials or --rest-secret",
  ]],
  ["allocation 401", [
    "refused",
    "It does not let this user in: check the user and password, or the secret and that the " +
    "clocks of both machines agree",
  ]],
  ["allocation unusable-challenge", [
    "refused",
    "It asks for credentials in a way that cannot be answered: something between may have " +
    "changed the message",
  ]],
  ["allocation 486", [
    "refused",
    "This user has too many allocations: end some, or raise --user-quota of the relay",
  ]],
  ["allocation 508", [
    "refused",
    "It has no port to relay from: widen its --port-range, allow it more open files, or wait if " +
    "it is about to end",
  ]],
  ["allocation 440", ["refused", "It relays no IPv4 address: give it one with --relay-ip"]],
  ["channel 403", ["refused", NO_HAIRPIN]],
  ["permission 403", ["refused", NO_HAIRPIN]],
]);

function explain(error: TurnRefused, { uri }: TrialOptions): CairnError {
  const { purpose, code } = error;
  const nothing = `Nothing answers on ${TRANSPORT_NAMES[uri.transport]} port ${uri.port}: check ` +
    "that the relay runs and that the firewall lets it in";
  const [kind, sentence] = ADVICE.get(`${purpose} ${code}`) ?? (
    code === "timeout"
      ? ["timeout", nothing] as const
      : ["refused", `It answers a ${purpose} request with ${code}: look into its log`] as const
  );
  return new CairnError(kind, sentence, { cause: error });
}
