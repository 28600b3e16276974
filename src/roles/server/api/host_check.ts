import { isIP } from "node:net";
import type { MiddlewareHandler } from "hono";
import { problem } from "../../problem.ts";

/**
 * Lets only requests through that name this server by `localhost`, an IP address or one of `hosts`:
 * a page of another site that makes its own name point here (DNS rebinding) is turned away.
 */
export function requireKnownHost(hosts: readonly string[]): MiddlewareHandler {
  const known = new Set(["localhost", ...hosts.map((host) => host.trim().toLowerCase())]);
  return async (context, next) => {
    const header = context.req.header("host") ?? new URL(context.req.url).host;
    const name = hostName(header);
    if (isIP(name) !== 0 || known.has(name)) return await next();
    return problem(
      context,
      403,
      "unknown-host",
      "This host name is not allowed here: use an IP address, or add the name to CAIRN_MGMT_HOSTS",
    );
  };
}

/** The name in a Host header: lower case, without port, brackets and a trailing dot. */
function hostName(header: string): string {
  const match = /^(?:\[([^\]]*)\]|([^:]*))(?::\d*)?$/.exec(header.trim().toLowerCase());
  return (match?.[1] ?? match?.[2] ?? "").replace(/\.$/, "");
}
