import { freePort } from "./free_port.ts";
import { untilHolds } from "./rested.ts";

const TOKEN = "token-of-denokv";

/** `denokv serve`, the KV Connect server of Deno's authors, where it is installed. */
export class Denokv implements AsyncDisposable {
  readonly token = TOKEN;

  private constructor(readonly url: string, private readonly child: Deno.ChildProcess) {}

  static async isInstalled(): Promise<boolean> {
    try {
      const command = new Deno.Command("denokv", { args: ["--help"], stdout: "null" });
      return (await command.output()).success;
    } catch {
      return false;
    }
  }

  /** With a file in `folder`. */
  static async start(folder: string): Promise<Denokv> {
    const address = `127.0.0.1:${freePort()}`;
    const child = new Deno.Command("denokv", {
      args: [
        ...["--sqlite-path", `${folder}/denokv.sqlite`, "serve"],
        ...["--addr", address, "--access-token", TOKEN],
      ],
      stdout: "null",
      stderr: "null",
    }).spawn();
    const server = new Denokv(`http://${address}`, child);
    const answers = async () => {
      const response = await fetch(server.url).catch(() => undefined);
      await response?.body?.cancel();
      return response !== undefined;
    };
    await untilHolds(answers, () => "denokv answers");
    return server;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.child.kill("SIGKILL");
    await this.child.status;
  }
}
