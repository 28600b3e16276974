/* Why roles/accept_watch.ts is there: the day this fails, it can go. */

import assert from "node:assert/strict";

const SERVER = `
  import { createServer } from "node:net";
  const server = createServer((socket) => {
    socket.on("error", () => {});
    socket.end("x");
  });
  server.on("error", () => console.log("error"));
  server.listen(0, "127.0.0.1", () => console.log(server.address().port));
  for await (const _ of Deno.stdin.readable);
  Deno.exit();
`;
const FILES = 60;
const PATIENCE_MS = 3_000;
/** A server that is held up while a crowd comes and goes accepts its members one after the other. */
const MAX_CROWDS = 20;

Deno.test("node:net of Deno accepts nothing after it had no file descriptor for a connection", {
  ignore: Deno.build.os !== "linux",
}, async () => {
  const script = await Deno.makeTempFile({ suffix: ".mjs" });
  await Deno.writeTextFile(script, SERVER);
  const child = new Deno.Command("sh", {
    args: ["-c", `ulimit -n ${FILES}; exec "$0" run -A --no-lock "$1"`, Deno.execPath(), script],
    stdin: "piped",
    stdout: "piped",
  }).spawn();
  const output = child.stdout.pipeThrough(new TextDecoderStream()).getReader();
  const port = Number((await output.read()).value);
  const connect = () => Deno.connect({ hostname: "127.0.0.1", port });
  assert.equal(await isAnswered(await connect()), true);
  let isDeaf = false;
  for (let crowds = 0; crowds < MAX_CROWDS && !isDeaf; crowds++) {
    const crowd = await Promise.all(Array.from({ length: 2 * FILES }, connect));
    for (const connection of crowd) connection.close();
    isDeaf = !await isAnswered(await connect());
  }
  assert.ok(isDeaf, "it goes on");
  await child.stdin.close();
  assert.equal((await output.read()).done, true, "it said nothing of it");
  await child.status;
  await Deno.remove(script);
});

async function isAnswered(connection: Deno.TcpConn): Promise<boolean> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<null>((resolve) => timer = setTimeout(resolve, PATIENCE_MS, null));
  const read = connection.read(new Uint8Array(1)).catch(() => null);
  const count = await Promise.race([read, late]);
  clearTimeout(timer);
  connection.close();
  await read;
  return count === 1;
}
