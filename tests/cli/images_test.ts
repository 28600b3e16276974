/** Holds the Dockerfiles and compose files against the program: what they run is run here. */

import { deepEqual, equal, match, ok } from "node:assert/strict";
import { parse } from "yaml";
import { z } from "zod";
import { OPTIONS } from "../../src/cli/options.ts";
import { mayBeFile, type OptionRow } from "../../src/cli/settings.ts";
import { within } from "../support/deadline.ts";
import { freePort } from "../support/free_port.ts";
import { PrintedLines } from "../support/processes.ts";
import { parseDockerfile, variablesOf, wordsOf } from "./dockerfile.ts";
import { runCairn } from "./run_cairn.ts";

const ROOT = new URL("../../", import.meta.url).pathname;
const DEADLINE = 300_000;
const DOCKERFILES = ["Dockerfile", "demo/server-node/Dockerfile"];
const COMPOSE_FILES = ["compose.yaml", "demo/server-node/docker-compose.yml"];

const Service = z.strictObject({
  image: z.string().optional(),
  build: z.strictObject({
    context: z.string(),
    target: z.string().optional(),
    dockerfile: z.string().optional(),
  }),
  entrypoint: z.array(z.string()).optional(),
  command: z.string().optional(),
  network_mode: z.literal("none").optional(),
  depends_on: z.record(
    z.string(),
    z.strictObject({ condition: z.enum(["service_completed_successfully", "service_started"]) }),
  ).optional(),
  environment: z.record(z.string(), z.string()).default({}),
  ports: z.array(z.string()).default([]),
  volumes: z.array(z.string()).default([]),
  stop_grace_period: z.string().optional(),
  restart: z.literal("unless-stopped").optional(),
});
type Service = z.infer<typeof Service>;
const Compose = z.strictObject({
  services: z.record(z.string(), Service),
  volumes: z.record(z.string(), z.null()),
});

for (const file of DOCKERFILES) {
  Deno.test(`${file} makes images that are not root's, keep /data and look after themselves`, async () => {
    const stages = parseDockerfile(await Deno.readTextFile(`${ROOT}${file}`));
    const build = await Deno.readTextFile(`${ROOT}tasks/build.ts`);
    const [, version] = /DENO_VERSION = "([\d.]+)"/.exec(build) ?? [];
    for (const stage of stages.values()) equal(stage.base, `denoland/deno:${version}`);
    const { instructions } = stages.get("default") ?? { instructions: [] };
    const of = (word: string) =>
      instructions.filter(([each]) => each === word).map(([, rest]) => rest);
    deepEqual(of("USER"), ["deno"]);
    deepEqual(of("VOLUME"), ["/data"]);
    match(of("HEALTHCHECK").join(), /--timeout=10s .*CMD \["cairn", "health"\]$/);
    match(of("RUN").join(), /install -d -o deno -g deno -m 0700 \/data \/secrets/);
    for (const copied of of("COPY").filter((rest) => !rest.startsWith("--from"))) {
      const [from = ""] = copied.split(" ");
      ok((await Deno.stat(`${ROOT}${from}`)).isDirectory);
    }
    deepEqual((stages.get("build")?.instructions ?? []).at(-1), ["RUN", "deno task build"]);
  });
}

Deno.test("Each image runs its role, under its own name, and takes verbs and options", async () => {
  await using machine = await Machine.make();
  const stages = parseDockerfile(await Deno.readTextFile(`${ROOT}Dockerfile`));
  const images: readonly (readonly [image: string, args: readonly string[], shown: RegExp])[] = [
    ["default", [], /^Usage: cairn server /],
    ["default", ["relay"], /^Usage: cairn relay /],
    ["default", ["up"], /^Usage: cairn up /],
    ["cairn-signal", [], /^Usage: cairn signal /],
    ["cairn-relay", [], /^Usage: cairn relay /],
    ["cairn-relay", ["check"], /^Usage: cairn relay check /],
    ["cairn-server", [], /^Usage: cairn server /],
    ["cairn-server", ["pair", "--pin"], /^Usage: cairn server pair /],
  ];
  for (const [image, args, shown] of images) {
    const stage = stages.get(image);
    ok(stage, image);
    const command = args.length > 0 ? args : wordsOf(stage, "CMD");
    const { code, stdout } = await machine.run([
      ...wordsOf(stage, "ENTRYPOINT"),
      ...command,
      "--help",
    ]);
    equal(code, 0, image);
    match(stdout, shown);
  }
});

for (const file of COMPOSE_FILES) {
  Deno.test(`${file} names variables, images and volumes that there are`, async () => {
    const { services, volumes } = await readCompose(file);
    const rows: readonly OptionRow<unknown>[] = Object.values(OPTIONS);
    const known = rows.flatMap((row) => mayBeFile(row) ? [row.env, `${row.env}_FILE`] : [row.env]);
    const folder = file.replace(/[^/]+$/, "");
    for (
      const [name, { build, environment, volumes: mounts, depends_on = {} }] of Object.entries(
        services,
      )
    ) {
      for (const variable of Object.keys(environment)) ok(known.includes(variable), variable);
      for (const other of Object.keys(depends_on)) ok(services[other], `${name} needs ${other}`);
      for (const mount of mounts) ok((mount.split(":")[0] ?? "") in volumes, mount);
      const context = new URL(`${folder}${build.context}/`, `file://${ROOT}`).pathname;
      equal(context.replace(/\/\.?\/?$/, "/"), ROOT);
      const dockerfile = await Deno.readTextFile(`${ROOT}${build.dockerfile ?? "Dockerfile"}`);
      ok(parseDockerfile(dockerfile).has(build.target ?? "default"), `${name}: ${build.target}`);
    }
  });

  Deno.test(`The services of ${file} make a stack in which a peer pairs and the relay relays`, async () => {
    await using machine = await Machine.make();
    const { services } = await readCompose(file);
    const { "relay-secret": once, signaling, relay, server } = services;
    ok(once && signaling && relay && server);
    for (const _again of [1, 2]) equal((await machine.service(once)).code, 0);
    const secretFile = machine.path("/secrets/relay");
    equal(((await Deno.stat(secretFile)).mode ?? 0) & 0o777, 0o600);
    const secret = await Deno.readTextFile(secretFile);
    await machine.start(signaling, /Signaling server listens/);
    await machine.start(relay, /Relay listens/);
    await machine.start(server, /Server Qm\w+ accepts links/);
    for (
      const [service, role] of [[signaling, "signal"], [relay, "relay"], [
        server,
        "server",
      ]] as const
    ) {
      const { code, stdout } = await machine.service({
        ...service,
        entrypoint: ["cairn", "health", "--timeout", "1m"],
      });
      deepEqual([code, /^ok: (\w+) at /.exec(stdout)?.[1]], [0, role], stdout);
    }

    const made = await machine.service({
      ...server,
      entrypoint: ["cairn-server", "pair", "--link", "--leave-open"],
    });
    equal(made.code, 0, made.stderr);
    const peer = { env: { CAIRN_PEER_DIR: machine.path("/peer") } };
    const paired = await runCairn(["peer", "pair", made.stdout.trim()], peer);
    equal(paired.code, 0, paired.stderr);
    const check = ["relay", "check", `turn:127.0.0.1:${machine.port(3478)}`, "--timeout", "1m"];
    const relayed = await runCairn(check, { env: { CAIRN_RELAY_REST_SECRET: secret.trim() } });
    equal(relayed.code, 0, relayed.stderr);
  });
}

async function readCompose(file: string): Promise<z.infer<typeof Compose>> {
  const text = await Deno.readTextFile(`${ROOT}${file}`);
  return Compose.parse(parse(text, { strict: true, uniqueKeys: true }));
}

/** Stands for the containers: their files in one folder, their ports on the loopback. */
class Machine implements AsyncDisposable {
  readonly #ports = new Map<number, number>();
  readonly #deadline = AbortSignal.timeout(DEADLINE);
  readonly #running: { readonly child: Deno.ChildProcess; readonly log: PrintedLines }[] = [];

  private constructor(readonly folder: string) {}

  static async make(): Promise<Machine> {
    const folder = await Deno.makeTempDir({ prefix: "cairn-images-" });
    const machine = new Machine(folder);
    for (const name of ["bin", "data", "secrets"]) {
      await Deno.mkdir(`${folder}/${name}`, { mode: 0o700 });
    }
    const run =
      `exec ${Deno.execPath()} run --quiet -A --unstable-kv --unstable-net ${ROOT}main.ts "$@"`;
    await Deno.writeTextFile(`${folder}/bin/cairn`, `#!/bin/sh\n${run}\n`, { mode: 0o755 });
    return machine;
  }

  /** Where a path of the containers is. */
  path(inContainer: string): string {
    return `${this.folder}${inContainer}`;
  }

  /** The port of this machine that stands for one of the containers. */
  port(inContainer: number): number {
    const port = this.#ports.get(inContainer) ?? freePort();
    this.#ports.set(inContainer, port);
    return port;
  }

  /** Runs the command line of an image to its end. */
  async run(words: readonly string[], env: Readonly<Record<string, string>> = {}) {
    const { code, stdout, stderr } = await this.#command(words, env).output();
    const decoder = new TextDecoder();
    return { code, stdout: decoder.decode(stdout), stderr: decoder.decode(stderr) };
  }

  /** Runs a service to its end. */
  async service(service: Service) {
    return await this.run(...await this.#lineOf(service));
  }

  /** Starts a service, and waits until its log says `ready`. */
  async start(service: Service, ready: RegExp): Promise<void> {
    const child = this.#command(...await this.#lineOf(service)).spawn();
    const log: PrintedLines = new PrintedLines(
      child.stderr,
      this.#deadline,
      () => `${ready}\n${log.all.join("\n")}`,
    );
    this.#running.push({ child, log });
    void child.stdout.cancel();
    for await (const line of log) if (ready.test(line)) return;
    throw new Error(`It ended before ${ready}:\n${log.all.join("\n")}`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const { child, log } of this.#running) {
      try {
        child.kill("SIGKILL");
      } catch {
        // It has ended.
      }
      await within(
        this.#deadline,
        Promise.all([child.status, log.ended]),
        () => "the end of a role",
      );
    }
    await Deno.remove(this.folder, { recursive: true });
  }

  #command(words: readonly string[], env: Readonly<Record<string, string>>): Deno.Command {
    const [program = "", ...args] = words;
    const kept = ["HOME", "DENO_DIR"].flatMap((name) => {
      const value = Deno.env.get(name);
      return value === undefined ? [] : [[name, value]];
    });
    return new Deno.Command("/bin/sh", {
      args: ["-c", 'exec "$0" "$@"', program, ...args.map((arg) => this.#moved(arg))],
      clearEnv: true,
      env: {
        ...Object.fromEntries(kept),
        PATH: `${this.folder}/bin:${ROOT}packaging/bin:/usr/bin:/bin`,
        NO_COLOR: "1",
        ...env,
      },
      stdin: "null",
      stdout: "piped",
      stderr: "piped",
    });
  }

  /** The words and variables of a service as they are here, with none of its settings given. */
  async #lineOf(service: Service): Promise<[words: string[], env: Record<string, string>]> {
    const { build, entrypoint, command, environment } = service;
    const text = await Deno.readTextFile(`${ROOT}${build.dockerfile ?? "Dockerfile"}`);
    const stage = parseDockerfile(text).get(build.target ?? "default");
    ok(stage);
    const words = entrypoint ?? [
      ...wordsOf(stage, "ENTRYPOINT"),
      ...(command === undefined ? wordsOf(stage, "CMD") : command.split(" ")),
    ];
    const all = Object.entries({
      CAIRN_SERVER_LISTEN_ADDR: "0.0.0.0:9091",
      CAIRN_MGMT_PORT: "9090",
      ...variablesOf(stage),
      ...environment,
    });
    return [words, Object.fromEntries(all.map(([name, value]) => [name, this.#moved(value)]))];
  }

  #moved(value: string): string {
    return interpolated(value)
      .replace(/^\/(data|secrets)\b/, `${this.folder}/$1`)
      .replace(/0\.0\.0\.0|\/\/signaling|:relay/, (host) => host.replace(/[\w.]+$/, "127.0.0.1"))
      .replace(/^9090$|(?<=:)(8443|3478|909[01])$/, (port) => String(this.port(Number(port))))
      .replace("49152-49251", "49152-65535");
  }
}

/** As Compose does it where no variable is set. */
function interpolated(value: string): string {
  return value.replace(/\$\{\w+:\+(?:[^${}]|\$\{\w+\})*\}/g, "").replace(
    /\$\{\w+:-([^}]*)\}/g,
    "$1",
  );
}
