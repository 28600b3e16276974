/** Pages by their path, served on this machine only; without a port, on a free one. */
export function serveSite(pages: Readonly<Record<string, string>>, port = 0) {
  const server = Deno.serve(
    { hostname: "127.0.0.1", port, onListen() {} },
    ({ url }) => {
      const { pathname } = new URL(url);
      const page = Object.hasOwn(pages, pathname) ? pages[pathname] : undefined;
      const type = TYPES.find(([ending]) => pathname.endsWith(ending))?.[1] ?? "text/html";
      return page === undefined
        ? new Response(null, { status: 404 })
        : new Response(page, { headers: { "content-type": `${type}; charset=utf-8` } });
    },
  );
  return {
    url: `http://127.0.0.1:${server.addr.port}/`,
    [Symbol.asyncDispose]: () => server.shutdown(),
  };
}

const TYPES = [[".js", "text/javascript"], [".css", "text/css"]] as const;
