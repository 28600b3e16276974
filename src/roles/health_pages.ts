/** The pages by which programs look after a role: `/healthz`, `/readyz` and `/metrics`. */

import type { IncomingMessage, ServerResponse } from "node:http";
import type { Host } from "../base/host.ts";
import { listen, type ListenAddress, parseListenAddress } from "./http.ts";
import { METRICS_CONTENT_TYPE, type MetricsRegistry } from "./metrics.ts";
import { describeProcess } from "./process_metrics.ts";

const PLAIN = { "content-type": "text/plain; charset=utf-8" };

/** Why a role should get no further clients, in a word or some; `undefined` when it should. */
export type Unreadiness = "draining" | "the bus is lost" | "the bus refuses" | undefined;

/** Answers `/healthz`, and `/readyz` with 503 and why where it is so. Returns whether it did. */
export function answerHealth(
  request: IncomingMessage,
  response: ServerResponse,
  unreadiness: Unreadiness,
): boolean {
  if (!isGet(request)) return false;
  switch (pathOf(request)) {
    case "/healthz":
      response.writeHead(200, PLAIN).end("ok\n");
      return true;
    case "/readyz":
      response.writeHead(unreadiness ? 503 : 200, PLAIN).end(`${unreadiness ?? "ok"}\n`);
      return true;
    default:
      return false;
  }
}

export interface MetricsPageOptions {
  /** `host:port`, and the option that it came from. */
  readonly address: string;
  readonly option: string;
  /** What the names of the metrics begin with, as in `cairn_signal`. */
  readonly prefix: string;
  readonly registry: MetricsRegistry;
  /** What stands behind the metrics of `registry`, in the same format. */
  readonly more?: () => Promise<string>;
  readonly unreadiness: () => Unreadiness;
  readonly host: Host;
}

/** Serves `/metrics`, beside the health pages, on an address of its own. */
export async function serveMetrics(
  options: MetricsPageOptions,
): Promise<{ readonly address: ListenAddress } & AsyncDisposable> {
  const { address, option, prefix, registry, more, unreadiness, host } = options;
  const watched = describeProcess(registry, prefix, host);
  try {
    const listener = await listen({
      ...parseListenAddress(address),
      option,
      onRequest: async (request, response) => {
        if (answerHealth(request, response, unreadiness())) return;
        if (isGet(request) && pathOf(request) === "/metrics") {
          const text = registry.text() + (await more?.() ?? "");
          response.writeHead(200, { "content-type": METRICS_CONTENT_TYPE }).end(text);
        } else {
          response.writeHead(404, PLAIN).end("Not found\n");
        }
      },
    });
    return {
      address: listener.address,
      async [Symbol.asyncDispose]() {
        watched[Symbol.dispose]();
        await listener.close();
      },
    };
  } catch (error) {
    watched[Symbol.dispose]();
    throw error;
  }
}

function isGet({ method }: IncomingMessage): boolean {
  return method === "GET" || method === "HEAD";
}

function pathOf({ url = "" }: IncomingMessage): string {
  return url.split("?", 1)[0] ?? "";
}
