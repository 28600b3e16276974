/// <reference lib="dom" />
import { connectWebSocket } from "../../src/roles/web_socket.ts";

/** What a test does with sockets in a page. */
const page = {
  /** Why a URL cannot be opened, by code and in words. */
  async failure(url: string): Promise<readonly [code: string, message: string]> {
    return await connectWebSocket(url).then(
      () => ["none", "opened"],
      ({ code, message }) => [String(code), String(message)],
    );
  },
};

Object.assign(globalThis, { page });
