import { equalBytes, utf8 } from "../../base/bytes.ts";
import { sha256 } from "../crypto/primitives.ts";

const BUCKETS = 256;
const BUCKET_LENGTH = 8;
/** Bytes of a whole digest. */
export const DIGEST_LENGTH = BUCKETS * BUCKET_LENGTH;

/**
 * Tells two indexes apart in little: paths fall into 256 buckets, and each bucket has the exclusive
 * or of the digests of its records. It is kept up with each change and needs no look at the rest.
 */
export class FolderDigest {
  readonly #bytes = new Uint8Array(DIGEST_LENGTH);

  /** A record comes or goes. */
  toggle(path: string, digest: Uint8Array): void {
    const start = bucketOf(path) * BUCKET_LENGTH;
    for (let i = 0; i < BUCKET_LENGTH; i++) {
      this.#bytes[start + i] = (this.#bytes[start + i] ?? 0) ^ (digest[i] ?? 0);
    }
  }

  /** The buckets, one behind the other. */
  get bytes(): Uint8Array<ArrayBuffer> {
    return this.#bytes.slice();
  }

  /** Whether another device's digest is the same. */
  equals(other: Uint8Array): boolean {
    return equalBytes(this.#bytes, other);
  }

  /** A test of whether the bucket of a path differs in `other`. */
  differing(other: Uint8Array): (path: string) => boolean {
    const own = this.bytes;
    const isOther = Array.from({ length: BUCKETS }, (_, bucket) => {
      const [start, end] = [bucket * BUCKET_LENGTH, (bucket + 1) * BUCKET_LENGTH];
      return !equalBytes(own.subarray(start, end), other.subarray(start, end));
    });
    return (path) => isOther[bucketOf(path)] ?? false;
  }
}

/** Files of one folder fall together rarely: by the hash of the whole path. */
function bucketOf(path: string): number {
  return sha256(utf8(path))[0] ?? 0;
}
