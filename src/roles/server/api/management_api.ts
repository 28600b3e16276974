import { bodyLimit } from "hono/body-limit";
import { dashboardRoutes } from "../dashboard/dashboard_routes.ts";
import { backupRoutes } from "./backup_routes.ts";
import type { EventStreams } from "./event_streams.ts";
import { healthRoutes } from "./health_routes.ts";
import { requireKnownHost } from "./host_check.ts";
import { inquiryRoutes } from "./inquiry_routes.ts";
import type { ManagedServer } from "./managed_server.ts";
import { observationRoutes } from "./observation_routes.ts";
import { pairingRoutes } from "./pairing_routes.ts";
import { peerRoutes } from "./peer_routes.ts";
import { problem } from "../../problem.ts";
import { problemOf } from "./problem.ts";
import { queueRoutes } from "./queue_routes.ts";
import { type Api, newApi } from "./route.ts";
import { TokenGate } from "./token_auth.ts";

const MAX_BODY = 16 * 1024;
const DOCUMENT_PATH = "/openapi.json";

export interface ApiOptions {
  readonly token: string;
  /** Host names beside `localhost` and IP addresses under which the API is reached. */
  readonly hosts?: readonly string[];
  readonly streams: EventStreams;
  /** Hears the status of every answer. */
  readonly onAnswer?: (status: number) => void;
  /** Hears of every wrong token. */
  readonly onWrongToken?: () => void;
}

/** The management API. Serve its `fetch`; it keeps no state but what guesses at the token cost. */
export function createApi(server: ManagedServer, options: ApiOptions): Api {
  const { token, hosts = [], streams, onAnswer } = options;
  const gate = new TokenGate(token, server.host, options.onWrongToken);
  const api = newApi();
  api.onError(problemOf);

  api.use(async (context, next) => {
    await next();
    if (!context.res.headers.has("cache-control")) context.header("cache-control", "no-store");
    context.header("x-content-type-options", "nosniff");
    onAnswer?.(context.res.status);
  });
  api.use(requireKnownHost(hosts));
  api.use(bodyLimit({
    maxSize: MAX_BODY,
    onError: (context) => {
      return problem(context, 413, "too-large", `A body has at most ${MAX_BODY} bytes`);
    },
  }));
  api.route("/", dashboardRoutes());
  api.route("/", healthRoutes(server, gate));
  api.use(async (context, next) => {
    gate.admit(context);
    await next();
  });
  for (
    const routes of [
      peerRoutes(server),
      pairingRoutes(server),
      queueRoutes(server),
      backupRoutes(server),
      inquiryRoutes(server),
      observationRoutes(server, streams),
    ]
  ) api.route("/", routes);

  api.openAPIRegistry.registerComponent("securitySchemes", "bearer", {
    type: "http",
    scheme: "bearer",
  });
  api.doc31(DOCUMENT_PATH, {
    openapi: "3.1.0",
    info: {
      title: "cairn server management",
      version: server.version,
      description: "Ask with `Authorization: Bearer` and the management token.",
      license: { name: "MIT" },
    },
    servers: [{ url: "http://localhost:9090" }],
    security: [{ bearer: [] }],
  });
  refuseTheRest(api);
  return api;
}

/** Answers 405 at a path that has other methods, else 404. */
function refuseTheRest(api: Api): void {
  const paths = new Map<string, { pattern: RegExp; methods: Set<string> }>();
  for (const { path, method } of api.routes) {
    if (method === "ALL") continue;
    const pattern = new RegExp(`^${path.replaceAll(".", "\\.").replaceAll(/:\w+/g, "[^/]+")}$`);
    const known = paths.get(path) ?? { pattern, methods: new Set() };
    paths.set(path, known);
    known.methods.add(method);
    if (method === "GET") known.methods.add("HEAD");
  }
  api.all("*", (context) => {
    const methods = [...paths.values()].filter(({ pattern }) => pattern.test(context.req.path))
      .flatMap(({ methods }) => [...methods]);
    if (methods.length === 0) {
      return problem(context, 404, "not-found", "There is nothing at this path");
    }
    const allow = [...new Set(methods)].sort().join(", ");
    context.header("allow", allow);
    return problem(context, 405, "method-not-allowed", `This path answers to ${allow}`);
  });
}
