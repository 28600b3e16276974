import { concatBytes, u16, u64 } from "../../src/base/bytes.ts";

/** How a client puts a frame that need not be a right one (RFC 6455, 5.2). */
export interface FrameForm {
  /** Four bytes; default zeros. `null` sends the frame unmasked. */
  readonly mask?: Uint8Array | null;
  /** Bytes of the length field; default the fewest that hold it. */
  readonly lengthBytes?: 1 | 3 | 9;
  /** What the length field says, where it lies. */
  readonly claims?: number | bigint;
}

/** The bytes of one frame; `firstByte` is FIN, RSV and opcode. */
export function clientFrame(
  firstByte: number,
  payload: Uint8Array = new Uint8Array(0),
  form: FrameForm = {},
): Uint8Array<ArrayBuffer> {
  const { mask = new Uint8Array(4), claims = payload.length } = form;
  const { lengthBytes = claims < 126 ? 1 : claims < 65_536 ? 3 : 9 } = form;
  const bit = mask ? 0x80 : 0;
  const length = lengthBytes === 1
    ? Uint8Array.of(bit | Number(claims))
    : lengthBytes === 3
    ? concatBytes(Uint8Array.of(bit | 126), u16(Number(claims)))
    : concatBytes(Uint8Array.of(bit | 127), u64(claims));
  const masked = payload.map((byte, i) => byte ^ (mask?.[i % 4] ?? 0));
  return concatBytes(Uint8Array.of(firstByte), length, mask ?? new Uint8Array(0), masked);
}
