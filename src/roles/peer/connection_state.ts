import type { NodeEvents } from "./node_api.ts";

/** How the link to one server is doing. */
export type ConnectionState = NodeEvents["state"]["state"];

/**
 * Puts what happens to the link to one server into states. Nothing is said before its first link:
 *
 * connected → unstable | disconnected · unstable → connected | disconnected · disconnected →
 * reconnecting · reconnecting → reconnected | suspended · suspended → reconnecting · reconnected →
 * connected · any → failed, from which only a new pairing leads.
 */
export class ConnectionStates {
  readonly #onChange: (state: ConnectionState, reason: string) => void;
  #state: ConnectionState | undefined;

  constructor(onChange: (state: ConnectionState, reason: string) => void) {
    this.#onChange = onChange;
  }

  linkUp(): void {
    if (this.#state !== undefined) this.#become("reconnected", "");
    this.#become("connected", "");
  }

  linkDown(reason: string): void {
    if (this.#state === "connected" || this.#state === "unstable") {
      this.#become("disconnected", reason);
    }
  }

  /** Whether the way under the link answers. */
  steady(isSteady: boolean): void {
    if (isSteady && this.#state === "unstable") this.#become("connected", "");
    if (!isSteady && this.#state === "connected") this.#become("unstable", "no answer");
  }

  /** A search for a link begins. */
  searching(): void {
    if (this.#state === "disconnected" || this.#state === "suspended") {
      this.#become("reconnecting", "");
    }
  }

  /** It found none; another one follows after a pause. */
  searchFailed(reason: string): void {
    if (this.#state === "reconnecting") this.#become("suspended", reason);
  }

  /** The server will not have this peer: no search can help. */
  failed(reason: string): void {
    if (this.#state !== "failed") this.#become("failed", reason);
  }

  #become(state: ConnectionState, reason: string): void {
    this.#state = state;
    this.#onChange(state, reason);
  }
}
