import { equal, throws } from "node:assert/strict";
import { ProgramChannels } from "../../src/cli/program_channels.ts";
import { NotTaken } from "../../src/roles/peer/listeners.ts";

const data = new Uint8Array(10);

Deno.test("ProgramChannels leaves what programs say, and nothing else, in the inbox", () => {
  const programs = new ProgramChannels();
  throws(() => programs.drops({ channel: "cairn/folder", data }), NotTaken);
  for (const channel of ["", "chat", "cairn", "my/cairn/folder"]) {
    equal(programs.drops({ channel, data }), false);
  }
});

Deno.test("ProgramChannels leaves so much and no more: people still get in", () => {
  for (const max of [{ messages: 2, bytes: 1_000 }, { messages: 100, bytes: 25 }]) {
    const programs = new ProgramChannels(max);
    for (let left = 0; left < 2; left++) {
      throws(() => programs.drops({ channel: "cairn/folder", data }), NotTaken);
    }
    equal(programs.drops({ channel: "cairn/folder", data }), true);
    equal(programs.drops({ channel: "chat", data }), false);
  }
});
