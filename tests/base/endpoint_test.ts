import { deepStrictEqual, strictEqual } from "node:assert/strict";
import { parseIp } from "../../src/base/address.ts";
import { Endpoint } from "../../src/base/endpoint.ts";

Deno.test("Endpoint has an address as text, as bytes and as words", () => {
  const v4 = new Endpoint(parseIp("192.0.2.1")!, 3478);
  strictEqual(v4.hostname, "192.0.2.1");
  strictEqual(v4.family, 4);
  deepStrictEqual([v4.w0, v4.w1, v4.w2, v4.w3], [0xc0000201 | 0, 0, 0, 0]);
  const v6 = new Endpoint(parseIp("2001:db8::8000:1")!, 1);
  strictEqual(v6.hostname, "2001:db8::8000:1");
  strictEqual(v6.family, 6);
  deepStrictEqual([v6.w0, v6.w1, v6.w2, v6.w3], [0x20010db8, 0, 0, 0x80000001 | 0]);
  strictEqual(new Endpoint(parseIp("::1")!, 1, "::1%lo").hostname, "::1%lo");
});
