/** `cairn relay check-peer`: what a relay's gate says of an address. */

import { parseAddressPort, parseIp } from "../base/address.ts";
import { CairnError } from "../base/errors.ts";
import { parseListenAddress } from "../roles/http.ts";
import { machineAddresses, relayAddresses } from "../roles/relay/relay_addresses.ts";
import { peerPolicy } from "../roles/relay/relay_gate.ts";
import { OPTIONS } from "./options.ts";
import type { Settings } from "./settings.ts";
import { printLine } from "./standard_output.ts";

/**
 * Prints the verdict on `text`, an address with or without a port. Returns 0 when clients may reach
 * it, else 1.
 */
export async function relayCheckPeer(settings: Settings, text: string): Promise<number> {
  const address = parseIp(text);
  const peer = parseAddressPort(text) ?? (address && { address, port: 0 });
  if (peer === undefined) {
    throw new CairnError(
      "invalid-option",
      `ADDRESS: "${text}" is not right; expected an IP address, alone or with a port, as in ` +
        "192.0.2.1, 192.0.2.1:5000 or [2001:db8::1]:5000",
    );
  }
  const listenAddr = settings.value(OPTIONS.relayListenAddr);
  const machine = machineAddresses();
  const addresses = relayAddresses({
    listenHost: parseListenAddress(listenAddr).host,
    relayIps: settings.value(OPTIONS.relayIp) ?? [],
    externalIps: settings.value(OPTIONS.relayExternalIp) ?? [],
  }, machine);
  const tcpAddr = settings.value(OPTIONS.relayTcpAddr);
  const metricsAddr = settings.value(OPTIONS.relayMetricsAddr);
  const policy = peerPolicy(
    {
      listenAddr,
      tlsAddr: settings.value(OPTIONS.relayTlsAddr),
      apiAddr: settings.value(OPTIONS.relayApiAddr),
      relayPorts: settings.value(OPTIONS.relayPortRange),
      allowPeers: settings.value(OPTIONS.relayAllowPeers) ?? [],
      denyPeers: settings.value(OPTIONS.relayDenyPeers) ?? [],
      ...(tcpAddr !== undefined && { tcpAddr }),
      ...(metricsAddr !== undefined && { metricsAddr }),
    },
    addresses,
    machine,
  );
  const { verdict, sentence } = policy.explain(peer.address, peer.port);
  await printLine(sentence);
  return verdict === "forbidden" ? 1 : 0;
}
