/** Sockets that systemd, or whoever speaks its protocol, has opened for this process. */

import { CairnError } from "../base/errors.ts";

/** sd_listen_fds(3). */
const FIRST = 3;

/** The variables of the protocol. */
export interface SocketVariables {
  readonly LISTEN_PID?: string | undefined;
  readonly LISTEN_FDS?: string | undefined;
  readonly LISTEN_FDNAMES?: string | undefined;
}

/**
 * The file descriptors by name. Those without a name of ours (`FileDescriptorName=` in a unit of
 * systemd) are, in their order, the `names` that are left.
 *
 * @throws {CairnError} `invalid-option` when there are more sockets than `names`.
 */
export function inheritedSockets(...names: readonly string[]): Map<string, number> {
  return namedSockets(names, {
    LISTEN_PID: Deno.env.get("LISTEN_PID"),
    LISTEN_FDS: Deno.env.get("LISTEN_FDS"),
    LISTEN_FDNAMES: Deno.env.get("LISTEN_FDNAMES"),
  }, Deno.pid);
}

/** As {@linkcode inheritedSockets}, for a process whose id is `pid`. */
export function namedSockets(
  names: readonly string[],
  variables: SocketVariables,
  pid: number,
): Map<string, number> {
  const found = new Map<string, number>();
  // The variables of another process may have been handed down.
  if (Number(variables.LISTEN_PID) !== pid) return found;
  const count = Number(variables.LISTEN_FDS);
  const given = (variables.LISTEN_FDNAMES ?? "").split(":");
  if (!Number.isInteger(count) || count < 1) return found;
  if (count > names.length) {
    throw new CairnError(
      "invalid-option",
      `There are ${count} inherited sockets (LISTEN_FDS); this role takes ${names.length}: ` +
        names.join(", "),
    );
  }
  const left = names.filter((name) => !given.includes(name));
  for (let index = 0; index < count; index++) {
    const own = names.find((name) => name === given[index] && !found.has(name));
    const name = own ?? left.shift();
    if (name !== undefined) found.set(name, FIRST + index);
  }
  return found;
}
