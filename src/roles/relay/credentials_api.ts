import { getLogger } from "@logtape/logtape";
import { Hono } from "hono";
import { toHex, utf8 } from "../../base/bytes.ts";
import { type Host, systemHost } from "../../base/host.ts";
import { timeLimitedPassword } from "../../protocol/turn/credentials.ts";
import { bearerCheck } from "../bearer_check.ts";
import { problem } from "../problem.ts";

const log = getLogger(["cairn", "relay", "api"]);

/** Seconds. */
const DEFAULT_TTL = 3_600;
const MIN_TTL = 60;
const MAX_TTL = 86_400;
const NAME_BYTES = 8;

/** What `GET /credentials` hands out, read at each request: a reload may change it. */
export interface CredentialsSource {
  /** Vouches for what is handed out. */
  readonly secret: string;
  /** What a request must bear. */
  readonly token: string;
  /** Where the relay is, as in `turn:relay.example.com:3478`. */
  readonly uris: readonly string[];
}

/** The API that hands out time-limited credentials. Serve its `fetch`; it keeps no state. */
export function createCredentialsApi(
  source: () => CredentialsSource | undefined,
  host: Host = systemHost,
): Hono {
  const app = new Hono();

  app.use(async (context, next) => {
    await next();
    context.header("cache-control", "no-store");
    context.header("x-content-type-options", "nosniff");
  });

  app.get("/credentials", (context) => {
    const current = source();
    if (current === undefined) {
      return problem(context, 404, "not-found", "This relay has no secret to make credentials by");
    }
    const authorization = context.req.header("authorization");
    if (!/^bearer /i.test(authorization ?? "")) {
      context.header("www-authenticate", 'Bearer realm="cairn"');
      return problem(context, 401, "unauthorized", "A bearer token is required");
    }
    if (!bearerCheck(current.token)(authorization)) {
      return problem(context, 403, "forbidden", "This bearer token is not the right one");
    }
    const ttl = parseTtl(context.req.query("ttl"));
    if (ttl === undefined) {
      return problem(context, 400, "bad-request", "ttl must be a whole number of seconds");
    }
    const expiry = Math.floor(host.now() / 1000) + ttl;
    const username = `${expiry}:${toHex(host.random(NAME_BYTES))}`;
    const password = timeLimitedPassword(username, utf8(current.secret));
    return context.json({ username, password, ttl, uris: current.uris });
  });

  app.all("/credentials", (context) => {
    context.header("allow", "GET, HEAD");
    return problem(context, 405, "method-not-allowed", "This path answers to GET, HEAD");
  });
  app.notFound((context) =>
    problem(context, 404, "not-found", "There is nothing at this path; ask for /credentials")
  );
  app.onError((error, context) => {
    log.error("A request for credentials failed: {error}", { error });
    return problem(context, 500, "internal-error", "The relay failed; its log says why");
  });

  return app;
}

/** Seconds between the bounds; `undefined` when `text` is no whole number. */
function parseTtl(text: string | undefined): number | undefined {
  if (text === undefined) return DEFAULT_TTL;
  if (!/^\d{1,20}$/.test(text)) return undefined;
  return Math.min(MAX_TTL, Math.max(MIN_TTL, Number(text)));
}
