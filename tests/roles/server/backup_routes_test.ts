import { deepEqual, equal, match } from "node:assert/strict";
import { CairnError } from "../../../src/base/errors.ts";
import { AUTHORIZED, ManagedScene } from "./managed_scene.ts";

const PASSPHRASE = "nine green apples in a row";

class BackupScene extends ManagedScene {
  readonly passphrases: string[] = [];
  failure: Error | undefined;
  override readonly backups = {
    open: (passphrase: string) => {
      if (this.failure) return Promise.reject(this.failure);
      this.passphrases.push(passphrase);
      return Promise.resolve(ReadableStream.from([new Uint8Array([1, 2, 3])]));
    },
  };

  /** `POST /backup` on a connection of this kind. */
  take(socket: object): Response | Promise<Response> {
    const request = new Request("http://localhost/backup", {
      method: "POST",
      headers: { ...AUTHORIZED, "content-type": "application/json" },
      body: JSON.stringify({ passphrase: PASSPHRASE }),
    });
    return this.api.fetch(request, { incoming: { socket } } as never);
  }
}

Deno.test("POST /backup streams a backup, and the audit log knows who took it", async () => {
  const scene = new BackupScene();
  const response = await scene.send("POST", "/backup", { passphrase: PASSPHRASE });
  equal(response.status, 200);
  equal(response.headers.get("content-type"), "application/octet-stream");
  deepEqual(await response.bytes(), new Uint8Array([1, 2, 3]));
  deepEqual(scene.passphrases, [PASSPHRASE]);
  deepEqual(scene.audit.records.map(({ action }) => action), ["backup.take"]);
  equal(JSON.stringify(scene.audit.records).includes(PASSPHRASE), false);
});

Deno.test("A passphrase is taken over TLS or from this machine, not over a network in clear", async () => {
  const scene = new BackupScene();
  for (const remoteAddress of ["127.0.0.1", "::1", "::ffff:127.0.0.1"]) {
    equal((await scene.take({ remoteAddress })).status, 200, remoteAddress);
  }
  equal((await scene.take({ remoteAddress: "192.0.2.7", encrypted: true })).status, 200);
  for (const remoteAddress of ["192.0.2.7", "::ffff:192.0.2.7", undefined]) {
    const response = await scene.take({ remoteAddress });
    equal(response.status, 409, String(remoteAddress));
    const { error, code } = await response.json();
    equal(code, "not-private");
    match(error, /without TLS/);
  }
});

Deno.test("A backup that cannot begin is refused with the reason", async () => {
  const scene = new BackupScene();
  for (
    const [failure, status] of [
      [new CairnError("invalid-option", "The passphrase is too short"), 422],
      [new CairnError("refused", "Another backup is being taken"), 409],
      [new CairnError("disk-full", "The disk is full"), 507],
    ] as const
  ) {
    scene.failure = failure;
    const response = await scene.send("POST", "/backup", { passphrase: PASSPHRASE });
    equal(response.status, status);
    equal((await response.json()).error, failure.message);
  }
  equal((await scene.send("POST", "/backup", {})).status, 422);
  equal((await scene.ask("/backup")).status, 405);
  const without = await new ManagedScene().send("POST", "/backup", { passphrase: PASSPHRASE });
  equal((await without.json()).code, "no-backups");
});
