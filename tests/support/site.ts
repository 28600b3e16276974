/** Pages by their path, on a port of its own of this machine. */
export function serveSite(pages: Readonly<Record<string, string>>) {
  const server = Deno.serve(
    { hostname: "127.0.0.1", port: 0, onListen() {} },
    ({ url }) => {
      const { pathname } = new URL(url);
      const page = pages[pathname];
      const type = pathname.endsWith(".js") ? "text/javascript" : "text/html";
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
