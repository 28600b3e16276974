/**
 * Machines as they come from a fresh installation: Debian, a user who may use sudo, and nothing of
 * ours. Each has files, processes and a network of its own, and the network leads to the others
 * only. They build and remove themselves; it needs root, and Debian's debootstrap and iproute2.
 */

/** What of it a machine of a developer may lack. */
const TOOLS = ["debootstrap", "unshare", "ip", "mount", "git"];
const USER = "mara";
const SUITE = "bookworm";
const CA_VARIABLES = ["NODE_EXTRA_CA_CERTS", "SSL_CERT_FILE"];
const CA_FILE = "/etc/ssl/certs/ca-certificates.crt";
const NETWORK = "192.168.77";

/**
 * Enters a machine: $1 its files, $2 who, $3 a line of shell, then the variables. The shell stays:
 * whoever changes the user no longer ends with unshare, but all of them end with the first process.
 */
const ENTER = `
root=$1 user=$2 line=$3; shift 3
mount --make-rprivate /
mount -t proc proc "$root/proc"
mount -t tmpfs -o mode=1777 tmpfs "$root/tmp"
mount --rbind /dev "$root/dev"
home=/root; [ "$user" = root ] || home=/home/$user
cd "$root"
chroot "$root" /usr/bin/env -i HOME=$home USER=$user LANG=C.UTF-8 TERM=dumb NO_COLOR=1 \\
  PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin "$@" \\
  setpriv --reuid "$user" --regid "$user" --init-groups bash -c "cd; $line"
exit $?
`;

/** Why no machine can be made here; `undefined` when they can. */
export async function newcomerObstacle(): Promise<string | undefined> {
  if (Deno.build.os !== "linux" || Deno.uid() !== 0) return "it needs Linux and root";
  for (const tool of TOOLS) {
    const { success } = await new Deno.Command("sh", { args: ["-c", `command -v ${tool}`] })
      .output();
    if (!success) return `${tool} is not installed`;
  }
}

/** What a line of shell said and how it ended. */
export interface Said {
  readonly code: number;
  readonly text: string;
}

/** A line of shell that runs on a machine while others are said. */
export interface Running extends AsyncDisposable {
  /** What it has said so far. */
  text(): string;
  /** Waits until it has said `pattern`, and returns what was found. */
  says(pattern: RegExp, within: number): Promise<RegExpExecArray>;
}

export class Machines implements AsyncDisposable {
  readonly #folder: string;
  readonly #prefix = `cairn-new-${Deno.pid}`;
  readonly #undo: (readonly string[])[] = [];

  private constructor(folder: string) {
    this.#folder = folder;
  }

  /** Makes the first machine, which the others will be copies of. */
  static async open(): Promise<Machines> {
    const machines = new Machines(await Deno.makeTempDir({ prefix: "cairn-newcomer-" }));
    try {
      await machines.#install();
      return machines;
    } catch (error) {
      await machines[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** The files of the first machine. */
  get base(): string {
    return `${this.#folder}/base`;
  }

  /** A line on the first machine, with this machine's network. */
  async onBase(line: string): Promise<Said> {
    return await finished(entering([], this.base, USER, line));
  }

  /** Copies the first machine for each of the names, and joins them by a network of their own. */
  async copy(...names: readonly string[]): Promise<void> {
    const bridge = `${this.#prefix}-net`;
    await this.#namespace(bridge);
    await run("ip", "-n", bridge, "link", "add", "br0", "type", "bridge");
    await run("ip", "-n", bridge, "link", "set", "br0", "up");
    for (const [at, name] of names.entries()) {
      const files = `${this.#folder}/${name}`;
      for (const part of ["up", "work", "root"]) {
        await Deno.mkdir(`${files}/${part}`, { recursive: true });
      }
      const layers = `lowerdir=${this.base},upperdir=${files}/up,workdir=${files}/work`;
      await run("mount", "-t", "overlay", "overlay", "-o", layers, `${files}/root`);
      this.#undo.push(["umount", "--lazy", `${files}/root`]);
      const own = this.#namespaceOf(name);
      await this.#namespace(own);
      const pair = ["type", "veth", "peer", "name", `to-${at}`, "netns", bridge];
      await run("ip", "-n", own, "link", "add", "eth0", ...pair);
      await run("ip", "-n", bridge, "link", "set", `to-${at}`, "master", "br0", "up");
      await run("ip", "-n", own, "addr", "add", `${NETWORK}.${at + 10}/24`, "dev", "eth0");
      await run("ip", "-n", own, "link", "set", "eth0", "up");
      await run("ip", "-n", own, "route", "add", "default", "dev", "eth0");
    }
  }

  /** Runs a line to its end. */
  async on(name: string, line: string): Promise<Said> {
    return await finished(this.#entering(name, line));
  }

  /** Starts a line that goes on. */
  start(name: string, line: string): Running {
    return running(this.#entering(name, line));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const [program = "", ...args] of this.#undo.splice(0).reverse()) {
      await new Deno.Command(program, { args, stdout: "null", stderr: "null" }).output();
    }
    await Deno.remove(this.#folder, { recursive: true });
  }

  async #install(): Promise<void> {
    const include = "ca-certificates,sudo";
    await run("debootstrap", "--variant=minbase", `--include=${include}`, SUITE, this.base);
    await Deno.copyFile("/etc/resolv.conf", `${this.base}/etc/resolv.conf`);
    const [authority] = CA_VARIABLES.flatMap((name) => Deno.env.get(name) ?? []);
    const makeUser = `useradd -m -s /bin/bash ${USER} &&
      echo '${USER} ALL=(ALL) NOPASSWD: ALL' > /etc/sudoers.d/${USER} && apt-get update`;
    const { code, text } = await finished(entering([], this.base, "root", makeUser));
    if (code !== 0) throw new Error(text);
    // Where a proxy with an authority of its own stands before the registries.
    if (authority !== undefined) await Deno.copyFile(authority, `${this.base}${CA_FILE}`);
  }

  async #namespace(name: string): Promise<void> {
    await run("ip", "netns", "add", name);
    this.#undo.push(["ip", "netns", "del", name]);
    await run("ip", "-n", name, "link", "set", "lo", "up");
  }

  #namespaceOf(name: string): string {
    return `${this.#prefix}-${name}`;
  }

  #entering(name: string, line: string): Deno.Command {
    const into = ["ip", "netns", "exec", this.#namespaceOf(name)];
    return entering(into, `${this.#folder}/${name}/root`, USER, line);
  }
}

function entering(
  into: readonly string[],
  root: string,
  user: string,
  line: string,
): Deno.Command {
  // What it has started ends with it.
  const apart = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-c", ENTER];
  const variables = CA_VARIABLES.filter((name) => Deno.env.has(name))
    .map((name) => `${name}=${CA_FILE}`);
  const [program = "", ...args] = [...into, ...apart, "enter", root, user, line, ...variables];
  return new Deno.Command(program, { args, stdin: "null", stdout: "piped", stderr: "piped" });
}

async function finished(command: Deno.Command): Promise<Said> {
  const { code, stdout, stderr } = await command.output();
  const decoder = new TextDecoder();
  return { code, text: decoder.decode(stdout) + decoder.decode(stderr) };
}

function running(command: Deno.Command): Running {
  const child = command.spawn();
  let text = "";
  let tell = Promise.withResolvers<void>();
  const reading = Promise.all([child.stdout, child.stderr].map(async (stream) => {
    for await (const part of stream.pipeThrough(new TextDecoderStream())) {
      text += part.replaceAll("\r", "");
      tell.resolve();
      tell = Promise.withResolvers();
    }
  }));
  return {
    text: () => text,
    async says(pattern, within) {
      const late = Promise.withResolvers<"late">();
      const timer = setTimeout(() => late.resolve("late"), within);
      try {
        while (true) {
          const found = pattern.exec(text);
          if (found) return found;
          const ended = reading.then(() => "ended" as const);
          const next = await Promise.race([tell.promise, ended, late.promise]);
          if (next !== undefined && !pattern.test(text)) {
            throw new Error(`It said no ${pattern} (${next}):\n${text}`);
          }
        }
      } finally {
        clearTimeout(timer);
      }
    },
    async [Symbol.asyncDispose]() {
      try {
        child.kill("SIGKILL");
      } catch {
        // It has ended.
      }
      await child.status;
      await reading;
    },
  };
}

async function run(program: string, ...args: readonly string[]): Promise<void> {
  const { code, text } = await finished(
    new Deno.Command(program, { args: [...args], stdin: "null", stdout: "piped", stderr: "piped" }),
  );
  if (code !== 0) throw new Error(`${program} ${args.join(" ")}: ${text.slice(-2000)}`);
}
