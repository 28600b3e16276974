import type { Host } from "../../base/host.ts";
import { SignalClient } from "../signal_client.ts";

/** The signaling servers that a peer uses: those of its user, and those that others named. */
export class KnownSignaling {
  /** All of them; whoever holds this array sees those that come later. */
  readonly clients: SignalClient[] = [];

  constructor(private readonly host: Host) {}

  /** Begins to use those of `urls` that are not used yet; returns these. */
  add(urls: readonly string[], authToken?: string): SignalClient[] {
    const added: SignalClient[] = [];
    for (const url of urls) {
      if (this.clients.some((client) => isSame(client.url, url))) continue;
      const { host } = this;
      const client = new SignalClient({
        url,
        host,
        ...(authToken !== undefined && { authToken }),
      });
      this.clients.push(client);
      added.push(client);
      client.start();
    }
    return added;
  }

  /** Connects again at once: by another way where the one that was used `isLost`. */
  networkChanged(isLost: boolean): void {
    for (const client of this.clients) {
      if (isLost) client.renew();
      client.hurry();
    }
  }

  /**
   * Works with the servers of `urls` as well, and keeps them if it succeeds. They are given no
   * token: it is for the user's own.
   */
  async through<T>(urls: readonly string[], work: () => Promise<T>): Promise<T> {
    const added = this.add(urls);
    try {
      return await work();
    } catch (error) {
      for (const client of added) {
        this.clients.splice(this.clients.indexOf(client), 1);
        await client.close();
      }
      throw error;
    }
  }

  async close(): Promise<void> {
    await Promise.all(this.clients.map((client) => client.close()));
  }
}

function isSame(url: string, other: string): boolean {
  return (URL.parse(url)?.href ?? url) === (URL.parse(other)?.href ?? other);
}
