/** What `cairn doctor` and `cairn peer doctor` find out about the local network. */

import { systemHost } from "../base/host.ts";
import type { PeerId } from "../protocol/crypto/peer_id.ts";
import { LocalLook } from "../roles/mdns/local_look.ts";
import { ServerFinder } from "../roles/mdns/server_finder.ts";
import type { Diagnosis } from "./doctor.ts";

/** The first URL at which `server`, or any server that `isRight` takes, is announced around here. */
export async function findAnnounced(
  server: PeerId | undefined,
  isRight: (url: URL) => boolean = () => true,
): Promise<string | undefined> {
  const finder = new ServerFinder(systemHost);
  const { promise, resolve } = Promise.withResolvers<string | undefined>();
  const look = new LocalLook(finder, {
    server,
    hasOtherWays: false,
    onUrl: (url) => isRight(new URL(url)) && resolve(url),
    onOver: () => resolve(undefined),
  });
  try {
    return await promise;
  } finally {
    look[Symbol.dispose]();
    await finder.close();
  }
}

/** Whether a server of this machine is announced. */
export async function* examineAnnouncement(): AsyncGenerator<Diagnosis> {
  const own = new Set(Deno.networkInterfaces().map(({ address }) => address));
  const url = await findAnnounced(undefined, ({ hostname }) => {
    return own.has(hostname.replace(/^\[|\]$/g, ""));
  });
  const shape = { check: "mdns", subject: "local network" };
  yield url === undefined
    ? {
      ...shape,
      state: "note",
      sentence: "no server of this machine is announced by mDNS: it does not run, or only on " +
        "loopback, or this network has no multicast (a container needs the host's network)",
    }
    : { ...shape, state: "ok", sentence: `the server is announced by mDNS at ${url}` };
}
