import { deepEqual, equal, ok, throws } from "node:assert/strict";
import { fileURLToPath } from "node:url";
import { namedSockets } from "../../src/cli/inherited_sockets.ts";
import { within } from "../support/deadline.ts";
import { freePort } from "../support/free_port.ts";
import { PrintedLines } from "../support/processes.ts";

const ACTIVATOR = fileURLToPath(new URL("../support/socket_activator.py", import.meta.url));
const MAIN = fileURLToPath(new URL("../../main.ts", import.meta.url));
const DEADLINE = 300_000;
const hasPython = new Deno.Command("sh", { args: ["-c", "command -v python3"], stdout: "null" })
  .outputSync().success;

Deno.test("Inherited sockets are told by their names, else by their order", () => {
  const of = (fds: string, fdNames?: string, pid = "7") =>
    Object.fromEntries(
      namedSockets(["links", "management"], {
        LISTEN_PID: pid,
        LISTEN_FDS: fds,
        LISTEN_FDNAMES: fdNames,
      }, 7),
    );
  deepEqual(of("2", "management:links"), { management: 3, links: 4 });
  deepEqual(of("2"), { links: 3, management: 4 });
  deepEqual(of("1", "management"), { management: 3 });
  deepEqual(of("2", "unknown:links"), { management: 3, links: 4 });
  deepEqual(of("2", "links:management", "8"), {}, "they are another process's");
  deepEqual(of("0"), {});
  deepEqual(of("many"), {});
  throws(() => of("3"), {
    code: "invalid-option",
    message: /this role takes 2: links, management/,
  });
});

for (
  const { role, names, pages } of [
    { role: "signal", names: ["signal"], pages: ["/healthz"] },
    { role: "server", names: ["links", "management"], pages: ["/", "/health"] },
    { role: "up", names: ["signal", "links", "management"], pages: ["/healthz", "/", "/health"] },
  ]
) {
  Deno.test({
    name: `cairn ${role} serves on the sockets that it inherits, and ends in order`,
    ignore: !hasPython || Deno.build.os === "windows",
    async fn() {
      await using process = await Activated.start(role, names);
      // What connects before the role runs waits for it.
      const answers = await Promise.all(
        pages.map((page, index) => fetch(`http://127.0.0.1:${process.ports[index]}${page}`)),
      );
      const statuses = answers.map(({ status }) => status);
      await Promise.all(answers.map(({ body }) => body?.cancel()));
      deepEqual(
        statuses,
        pages.map((page) => page === "/" ? 404 : 200),
        process.log.all.join("\n"),
      );
      equal(await process.end(), 0);
    },
  });
}

/** A role with sockets that were opened for it. */
class Activated implements AsyncDisposable {
  ports: readonly number[] = [];
  readonly log: PrintedLines;
  readonly #child: Deno.ChildProcess;
  readonly #output: PrintedLines;
  readonly #deadline = AbortSignal.timeout(DEADLINE);

  private constructor(role: string, names: readonly string[], readonly folder: string) {
    const run = [Deno.execPath(), "run", "--quiet", "-A", "--unstable-kv", "--unstable-net", MAIN];
    this.#child = new Deno.Command("python3", {
      args: [ACTIVATOR, names.join(":"), ...run, role],
      env: {
        CAIRN_DATA_DIR: folder,
        // Nobody listens there: the sockets stand in place of the addresses.
        CAIRN_SIGNAL_LISTEN_ADDR: "192.0.2.1:1",
        CAIRN_SERVER_LISTEN_ADDR: "192.0.2.1:2",
        CAIRN_MGMT_BIND: "192.0.2.1",
        CAIRN_RELAY_LISTEN_ADDR: `127.0.0.1:${freePort()}`,
      },
      stdin: "null",
      stdout: "piped",
      stderr: "piped",
    }).spawn();
    const describe = () => `cairn ${role}\n${this.log.all.join("\n")}`;
    this.#output = new PrintedLines(this.#child.stdout, this.#deadline, describe);
    this.log = new PrintedLines(this.#child.stderr, this.#deadline, describe);
  }

  static async start(role: string, names: readonly string[]): Promise<Activated> {
    const process = new Activated(role, names, await Deno.makeTempDir({ prefix: "cairn-fd-" }));
    process.ports = (await process.#output.first(names.length)).map(Number);
    ok(process.ports.every((port) => port > 0));
    return process;
  }

  async end(): Promise<number> {
    this.#child.kill("SIGTERM");
    const { code } = await within(this.#deadline, this.#child.status, () => "its end");
    return code;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    try {
      this.#child.kill("SIGKILL");
    } catch {
      // It has ended.
    }
    await this.#child.status;
    await Promise.all([this.#output.ended, this.log.ended]);
    await Deno.remove(this.folder, { recursive: true });
  }
}
