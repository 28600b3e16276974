import { deepEqual } from "node:assert/strict";
import { ConnectionStates } from "../../../src/roles/peer/connection_state.ts";

Deno.test("ConnectionStates tells the story of a link that is lost and found", () => {
  const { states, said } = recorded();
  states.searching();
  states.searchFailed("too early to say anything");
  states.linkUp();
  states.steady(true);
  states.steady(false);
  states.steady(false);
  states.steady(true);
  states.linkDown("connection lost");
  states.linkDown("connection lost");
  states.searching();
  states.searchFailed("unreachable");
  states.searching();
  states.linkUp();
  deepEqual(said, [
    "connected",
    "unstable: no answer",
    "connected",
    "disconnected: connection lost",
    "reconnecting",
    "suspended: unreachable",
    "reconnecting",
    "reconnected",
    "connected",
  ]);
});

Deno.test("ConnectionStates says once that a server will not have this peer", () => {
  const { states, said } = recorded();
  states.linkUp();
  states.linkDown("not-paired");
  states.failed("not paired");
  states.searching();
  states.failed("not paired");
  deepEqual(said, ["connected", "disconnected: not-paired", "failed: not paired"]);
  states.linkUp();
  deepEqual(said.slice(3), ["reconnected", "connected"]);
});

function recorded() {
  const said: string[] = [];
  const states = new ConnectionStates((state, reason) => {
    said.push(reason === "" ? state : `${state}: ${reason}`);
  });
  return { states, said };
}
