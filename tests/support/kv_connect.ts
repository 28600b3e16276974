/**
 * A server for the protocol KV Connect (github.com/denoland/denokv, proto/kv-connect.md, version 3)
 * that keeps everything in memory, for one token. What it does not do (sums, expiry, queues) it
 * refuses. tests/interop/kv_connect_test.ts holds it against Deno's own store, and denokv.
 */

import protobuf from "protobufjs";
import { compareBytes, equalBytes, fromUtf8 } from "../../src/base/bytes.ts";

const SCHEMA = protobuf.parse(`
syntax = "proto3";
message SnapshotRead { repeated ReadRange ranges = 1; }
message ReadRange { bytes start = 1; bytes end = 2; int32 limit = 3; bool reverse = 4; }
message SnapshotReadOutput {
  repeated ReadRangeOutput ranges = 1;
  bool read_is_strongly_consistent = 4;
  int32 status = 8;
}
message ReadRangeOutput { repeated KvEntry values = 1; }
message KvEntry { bytes key = 1; bytes value = 2; int32 encoding = 3; bytes versionstamp = 4; }
message AtomicWrite {
  repeated Check checks = 1;
  repeated Mutation mutations = 2;
  repeated Enqueue enqueues = 3;
}
message Enqueue { bytes payload = 1; }
message Check { bytes key = 1; bytes versionstamp = 2; }
message Mutation {
  bytes key = 1;
  KvValue value = 2;
  int32 mutation_type = 3;
  int64 expire_at_ms = 4;
}
message KvValue { bytes data = 1; int32 encoding = 2; }
message AtomicWriteOutput { int32 status = 1; bytes versionstamp = 2; }
`).root;

const VERSION = 3;
const SET = 1;
const DELETE = 2;
const SUCCESS = 1;
const CHECK_FAILURE = 2;

interface Entry {
  readonly key: Uint8Array;
  readonly value: Uint8Array;
  readonly encoding: number;
  readonly versionstamp: Uint8Array;
}

interface SnapshotRead {
  readonly ranges: readonly {
    readonly start: Uint8Array;
    readonly end: Uint8Array;
    readonly limit: number;
    readonly reverse: boolean;
  }[];
}

interface AtomicWrite {
  readonly checks: readonly { readonly key: Uint8Array; readonly versionstamp: Uint8Array }[];
  readonly mutations: readonly {
    readonly key: Uint8Array;
    readonly value?: { readonly data: Uint8Array; readonly encoding: number };
    readonly mutationType: number;
    readonly expireAtMs: unknown;
  }[];
  readonly enqueues: readonly unknown[];
}

/** A store that processes reach over HTTP. */
export class KvConnectServer implements AsyncDisposable {
  /** The access token that it asks for. */
  readonly token = "token-of-the-store";
  /** In the order of their keys. */
  #entries: Entry[] = [];
  #version = 0n;
  readonly #server = Deno.serve(
    { hostname: "127.0.0.1", port: 0, onListen() {} },
    (request) => this.#answer(request),
  );

  /** For `CAIRN_KV_URL`. */
  get url(): string {
    return `http://127.0.0.1:${this.#server.addr.port}`;
  }

  /** What it holds, to be put back. */
  copy(): readonly Entry[] {
    return [...this.#entries];
  }

  /** Puts back what it held, as after a loss. */
  restore(entries: readonly Entry[]): void {
    this.#entries = [...entries];
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#server.shutdown();
  }

  async #answer(request: Request): Promise<Response> {
    const body = await request.bytes();
    if (request.headers.get("authorization") !== `Bearer ${this.token}`) {
      return new Response("Unauthorized", { status: 401 });
    }
    if (request.method !== "POST") return new Response(null, { status: 405 });
    switch (new URL(request.url).pathname) {
      case "/":
        if (!JSON.parse(fromUtf8(body)).supportedVersions?.includes(VERSION)) {
          return new Response("No common version of the protocol", { status: 400 });
        }
        return Response.json({
          version: VERSION,
          databaseId: "6a5b1c9e-0000-4000-8000-000000000000",
          endpoints: [{ url: `${this.url}/v2`, consistency: "strong" }],
          token: this.token,
          expiresAt: "2999-01-01T00:00:00Z",
        });
      case "/v2/snapshot_read":
        return encoded("SnapshotReadOutput", this.#read(decoded("SnapshotRead", body)));
      case "/v2/atomic_write": {
        const write = decoded<AtomicWrite>("AtomicWrite", body);
        if (!isServed(write)) return new Response("Not served here", { status: 400 });
        return encoded("AtomicWriteOutput", this.#write(write));
      }
      default:
        return new Response("Not found", { status: 404 });
    }
  }

  #read({ ranges }: SnapshotRead) {
    return {
      ranges: ranges.map(({ start, end, limit, reverse }) => {
        const values = this.#entries.filter(({ key }) =>
          compareBytes(key, start) >= 0 && compareBytes(key, end) < 0
        );
        return { values: (reverse ? values.reverse() : values).slice(0, limit) };
      }),
      readIsStronglyConsistent: true,
      status: SUCCESS,
    };
  }

  #write({ checks, mutations }: AtomicWrite) {
    const holds = checks.every(({ key, versionstamp }) => {
      const present = this.#entries.find((entry) => equalBytes(entry.key, key));
      return equalBytes(present?.versionstamp ?? new Uint8Array(0), versionstamp);
    });
    if (!holds) return { status: CHECK_FAILURE };
    const versionstamp = new Uint8Array(10);
    new DataView(versionstamp.buffer).setBigUint64(0, ++this.#version);
    for (const { key, value, mutationType } of mutations) {
      this.#entries = this.#entries.filter((entry) => !equalBytes(entry.key, key));
      if (mutationType === SET && value) {
        this.#entries.push({ key, value: value.data, encoding: value.encoding, versionstamp });
      }
    }
    this.#entries.sort((a, b) => compareBytes(a.key, b.key));
    return { status: SUCCESS, versionstamp };
  }
}

function isServed({ mutations, enqueues }: AtomicWrite): boolean {
  return enqueues.length === 0 &&
    mutations.every(({ mutationType, expireAtMs, value }) =>
      Number(expireAtMs) === 0 && (mutationType === DELETE || mutationType === SET && value)
    );
}

function decoded<T>(type: "SnapshotRead" | "AtomicWrite", body: Uint8Array): T {
  const message = SCHEMA.lookupType(type);
  return message.toObject(message.decode(body), { defaults: true, arrays: true }) as T;
}

function encoded(type: string, value: Record<string, unknown>): Response {
  const message = SCHEMA.lookupType(type);
  // The bytes may lie in a larger buffer of the codec.
  const bytes = Uint8Array.from(message.encode(message.fromObject(value)).finish());
  return new Response(bytes, { headers: { "content-type": "application/x-protobuf" } });
}
