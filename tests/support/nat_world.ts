/**
 * A small internet of network namespaces on this machine: services in the middle, and networks with
 * real NATs around it. Builds and removes itself; it needs root, `ip` and `nft`.
 */

/** What stands between a network and the internet. */
export type NatKind = "none" | "full_cone" | "port_restricted_cone" | "symmetric";

/** What else a network's firewall does. */
export type Firewall =
  | "none"
  | "no udp"
  | "no tcp but 443"
  | "only 443"
  | "every fifth datagram lost";

const MIDDLE = "5.5.5";

/** Why the tests cannot run here; `undefined` when they can. */
export const natWorldObstacle: string | undefined = await findObstacle();

/** Why the scenes that only repeat others in other networks stay out: all of them take minutes. */
export const everyNatObstacle: string | undefined = natWorldObstacle ??
  (Deno.env.get("CAIRN_TEST_EVERY_NAT") === "1" ? undefined : "set CAIRN_TEST_EVERY_NAT=1");

/** Why no scene is of IPv6 alone; `undefined` when one can be. */
export const ipv6Obstacle: string | undefined = natWorldObstacle ?? await findIpv6Obstacle();

/** Why no scene has coturn in it. */
export const coturnObstacle: string | undefined = await new Deno.Command("turnserver", {
  args: ["--help"],
  stdout: "null",
  stderr: "null",
})
  .output().then(() => undefined, () => "Debian package coturn is not installed");

/** A network of one machine. */
export interface NatNetwork {
  /** The namespace in which to run its programs. */
  readonly namespace: string;
  /** The machine's own address. */
  readonly address: string;
  /** The address from which the internet sees it. */
  readonly publicAddress: string;
  /** Changes the address from which the internet sees it, as a new lease does. */
  changeAddress(): Promise<void>;
  /** Changes what its firewall does, from one packet to the next. */
  changeFirewall(firewall: Firewall): Promise<void>;
}

export class NatWorld implements AsyncDisposable {
  /** The namespace of the services. */
  readonly middle: string;
  readonly #prefix: string;
  readonly #namespaces: string[] = [];
  #networks = 0;

  private constructor(prefix: string) {
    this.#prefix = prefix;
    this.middle = `${prefix}-mid`;
  }

  static async open(): Promise<NatWorld> {
    const world = new NatWorld(`cairn${Deno.pid}-${crypto.randomUUID().slice(0, 4)}`);
    try {
      await world.#addNamespace(world.middle);
      const { middle } = world;
      await run("ip", "-n", middle, "link", "add", "br0", "type", "bridge");
      await run("ip", "-n", middle, "link", "set", "br0", "up");
      for (const host of [10, 11, 12]) await world.#addMiddleAddress(host);
      return world;
    } catch (error) {
      await world[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** An address of the services: 10, 11 or 12. */
  service(host: 10 | 11 | 12): string {
    return `${MIDDLE}.${host}`;
  }

  async addNetwork(nat: NatKind, firewall: Firewall = "none"): Promise<NatNetwork> {
    const index = ++this.#networks;
    const outside = `${MIDDLE}.${20 + index}`;
    const namespace = `${this.#prefix}-h${index}`;
    await this.#addNamespace(namespace);
    if (nat === "none") {
      await this.#cable(namespace, this.middle, `u${index}`);
      await run("ip", "-n", this.middle, "link", "set", `u${index}p`, "master", "br0");
      await run("ip", "-n", namespace, "addr", "add", `${outside}/24`, "dev", `u${index}`);
      return {
        namespace,
        address: outside,
        publicAddress: outside,
        changeAddress: () => changeAddress(namespace, `u${index}`, outside, index),
        changeFirewall: () => Promise.reject(new Error("There is nothing to change")),
      };
    }
    const router = `${this.#prefix}-r${index}`;
    const address = `10.77.${index}.2`;
    await this.#addNamespace(router);
    await this.#cable(router, this.middle, `u${index}`);
    await run("ip", "-n", this.middle, "link", "set", `u${index}p`, "master", "br0");
    await this.#cable(namespace, router, `d${index}`);
    await run("ip", "-n", router, "addr", "add", `${outside}/24`, "dev", `u${index}`);
    await run("ip", "-n", router, "addr", "add", `10.77.${index}.1/24`, "dev", `d${index}p`);
    await run("ip", "-n", namespace, "addr", "add", `${address}/24`, "dev", `d${index}`);
    await run("ip", "-n", namespace, "route", "add", "default", "via", `10.77.${index}.1`);
    await inside(router, "sysctl", "-q", "-w", "net.ipv4.ip_forward=1");
    await inside(router, "nft", rules({ nat, firewall, outside: `u${index}`, address }));
    return {
      namespace,
      address,
      publicAddress: outside,
      changeAddress: async () => {
        await changeAddress(router, `u${index}`, outside, index);
        // What was translated to the old address is forgotten, as by a router that redials.
        await inside(router, "nft", "flush ruleset");
        await inside(router, "nft", rules({ nat, firewall, outside: `u${index}`, address }));
      },
      changeFirewall: async (firewall) => {
        await inside(router, "nft", "flush chain ip cairn fw");
        await inside(router, "nft", firewallRules(nat, firewall, `u${index}`));
      },
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const namespace of this.#namespaces.toReversed()) {
      await run("ip", "netns", "delete", namespace);
    }
  }

  async #addNamespace(name: string): Promise<void> {
    await run("ip", "netns", "add", name);
    this.#namespaces.push(name);
    await run("ip", "-n", name, "link", "set", "lo", "up");
  }

  async #addMiddleAddress(host: number): Promise<void> {
    await run("ip", "-n", this.middle, "addr", "add", `${MIDDLE}.${host}/24`, "dev", "br0");
  }

  /** A pair of interfaces, up: `name` here and `name`p there. */
  async #cable(here: string, there: string, name: string): Promise<void> {
    const peer = `${name}p`;
    await run(
      ...["ip", "-n", here, "link", "add", name, "type", "veth"],
      ...["peer", "name", peer, "netns", there],
    );
    await run("ip", "-n", here, "link", "set", name, "up");
    await run("ip", "-n", there, "link", "set", peer, "up");
  }
}

function rules(options: {
  readonly nat: NatKind;
  readonly firewall: Firewall;
  readonly outside: string;
  readonly address: string;
}): string {
  const { nat, firewall, outside, address } = options;
  const masquerade = nat === "symmetric" ? "masquerade random,fully-random" : "masquerade";
  const inbound = nat === "full_cone"
    ? `iifname ${outside} udp dport 1024-65535 dnat to ${address}`
    : "";
  return `table ip cairn {
    chain out { type nat hook postrouting priority 100; oifname ${outside} ${masquerade}; }
    chain in { type nat hook prerouting priority -100; ${inbound}; }
    chain self { type filter hook input priority 0; iifname ${outside} ct state new drop; }
    chain fw { type filter hook forward priority 0; }
  }
  ${firewallRules(nat, firewall, outside)}`;
}

function firewallRules(nat: NatKind, firewall: Firewall, outside: string): string {
  const verdicts: Readonly<Record<Firewall, string>> = {
    "none": "",
    "no udp": "meta l4proto udp drop",
    "no tcp but 443": `oifname ${outside} tcp dport != 443 drop`,
    "every fifth datagram lost": "meta l4proto udp numgen random mod 5 == 0 drop",
    "only 443": "ct state established,related accept; tcp dport != 443 drop; " +
      "meta l4proto udp drop",
  };
  const rules = [
    ...verdicts[firewall].split(";").filter((rule) => rule.trim() !== ""),
    `iifname ${outside} ct state new ${nat === "full_cone" ? "accept" : "drop"}`,
  ];
  return rules.map((rule) => `add rule ip cairn fw ${rule}`).join("\n");
}

async function changeAddress(namespace: string, device: string, from: string, index: number) {
  await run("ip", "-n", namespace, "addr", "del", `${from}/24`, "dev", device);
  await run("ip", "-n", namespace, "addr", "add", `${MIDDLE}.${120 + index}/24`, "dev", device);
}

function inside(namespace: string, ...command: string[]): Promise<void> {
  return run("ip", "netns", "exec", namespace, ...command);
}

async function run(command: string, ...args: string[]): Promise<void> {
  const { success, stderr } = await new Deno.Command(command, {
    args,
    stdin: "null",
    stdout: "null",
    stderr: "piped",
  }).output();
  if (success) return;
  const reason = new TextDecoder().decode(stderr).trim();
  throw new Error(`${command} ${args.join(" ")}: ${reason}`);
}

async function findIpv6Obstacle(): Promise<string | undefined> {
  const name = `cairn-try6-${Deno.pid}`;
  try {
    await run("ip", "netns", "add", name);
    await run("ip", "-n", name, "link", "set", "lo", "up");
    await run("ip", "-n", name, "addr", "add", "fd77::1/64", "dev", "lo");
    return undefined;
  } catch (error) {
    return `IPv6 does not work here (${String(error)})`;
  } finally {
    await run("ip", "netns", "delete", name);
  }
}

async function findObstacle(): Promise<string | undefined> {
  const name = `cairn-try-${Deno.pid}`;
  try {
    await run("ip", "netns", "add", name);
  } catch (error) {
    return `network namespaces are not allowed here (${String(error)})`;
  }
  try {
    await run("ip", "-n", name, "link", "add", "br0", "type", "bridge");
    await run("ip", "-n", name, "link", "add", "u1", "type", "veth", "peer", "name", "u1p");
    await inside(
      name,
      "nft",
      rules({ nat: "symmetric", firewall: "no udp", outside: "lo", address: "10.0.0.1" }),
    );
    return undefined;
  } catch (error) {
    return `bridges, cables or nftables do not work here (${String(error)})`;
  } finally {
    await run("ip", "netns", "delete", name);
  }
}
