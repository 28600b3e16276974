import { systemHost } from "../../src/base/host.ts";
import {
  encodeStunMessage,
  MessageClass,
  Method,
  TRANSACTION_ID_LENGTH,
} from "../../src/protocol/stun/message.ts";
import { concatBytes, u16 } from "../../src/base/bytes.ts";

/** A Binding request, which anybody may make. */
export function bindingRequest(): Uint8Array<ArrayBuffer> {
  return encodeStunMessage({
    method: Method.Binding,
    messageClass: MessageClass.Request,
    transactionId: systemHost.random(TRANSACTION_ID_LENGTH),
    attributes: [],
  });
}

/** An Allocate request without credentials. */
export function bareAllocate(): Uint8Array<ArrayBuffer> {
  return encodeStunMessage({
    method: Method.Allocate,
    messageClass: MessageClass.Request,
    transactionId: systemHost.random(TRANSACTION_ID_LENGTH),
    attributes: [],
  });
}

/** ChannelData as a stream has it: padded to four bytes. */
export function paddedChannelData(channel: number, data: Uint8Array): Uint8Array<ArrayBuffer> {
  const padding = new Uint8Array(-data.length & 3);
  return concatBytes(u16(channel), u16(data.length), data, padding);
}
