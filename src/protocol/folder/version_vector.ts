import { ProtocolError } from "../../base/errors.ts";
import { type CborMap, CborMap as Fields } from "../cbor.ts";
import type { CborValue } from "../cbor_value.ts";
import { fromHex, toHex } from "../../base/bytes.ts";

/** Most devices that ever changed one file. */
export const MAX_DEVICES = 64;
/** Counters are times in Unix milliseconds or a little more; this leaves room above all of them. */
export const MAX_COUNTER = 2 ** 52;
const PEER_ID_LENGTH = 34;

/** A device in a version vector: its Peer ID's 34 bytes in hexadecimal. */
export type DeviceId = string;

/**
 * Which changes of a file a record has taken in: per device the counter of its latest. A counter is
 * above all others that its device knew of that file, so that the highest one names the latest
 * change along every line of descent, and is what decides where there are several.
 */
export type VersionVector = ReadonlyMap<DeviceId, number>;

/** How `a` stands to `b`. */
export function compareVersions(
  a: VersionVector,
  b: VersionVector,
): "equal" | "older" | "newer" | "concurrent" {
  const isOlder = [...b].some(([device, counter]) => (a.get(device) ?? 0) < counter);
  const isNewer = [...a].some(([device, counter]) => (b.get(device) ?? 0) < counter);
  if (isOlder) return isNewer ? "concurrent" : "older";
  return isNewer ? "newer" : "equal";
}

/** What has taken in the changes of both. */
export function mergeVersions(a: VersionVector, b: VersionVector): VersionVector {
  const merged = new Map(a);
  for (const [device, counter] of b) {
    merged.set(device, Math.max(counter, merged.get(device) ?? 0));
  }
  return merged;
}

/** A change by `device` at `now` (Unix milliseconds) upon `version`; its counter is above `past`. */
export function advanceVersion(
  version: VersionVector,
  device: DeviceId,
  now: number,
  past = 0,
): VersionVector {
  const counter = Math.min(MAX_COUNTER, Math.max(now, past + 1, latestChange(version).counter + 1));
  return new Map(version).set(device, counter);
}

/** The change that decides: the highest counter, and of equal ones that of the highest device. */
export function latestChange(version: VersionVector): { device: DeviceId; counter: number } {
  let latest = { device: "", counter: 0 };
  for (const [device, counter] of version) {
    const isLater = counter > latest.counter ||
      (counter === latest.counter && device > latest.device);
    if (isLater) latest = { device, counter };
  }
  return latest;
}

/** As an array: device, counter, device, counter and so on, by device. */
export function versionToCbor(version: VersionVector): CborValue[] {
  return sortedVersion(version).flatMap(([device, counter]) => [fromHex(device), counter]);
}

/** @throws {ProtocolError} `malformed`. */
export function versionFromCbor(row: CborMap, key: number): VersionVector {
  const items = row.array(key, 2 * MAX_DEVICES);
  const fields = new Fields(new Map(items.entries()));
  const version = new Map<DeviceId, number>();
  for (let index = 0; index < items.length; index += 2) {
    const device = toHex(fields.bytes(index, PEER_ID_LENGTH));
    version.set(device, fields.uint(index + 1, MAX_COUNTER));
  }
  if (version.size === 0 || version.size * 2 !== items.length) {
    throw new ProtocolError("malformed", "Version vector is empty or names a device twice");
  }
  return version;
}

/** The entries by device. */
export function sortedVersion(version: VersionVector): [DeviceId, number][] {
  return [...version].sort(([a], [b]) => a < b ? -1 : 1);
}
