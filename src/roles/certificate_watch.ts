import { statSync } from "node:fs";
import { getLogger } from "@logtape/logtape";
import { CairnError } from "../base/errors.ts";
import type { Host } from "../base/host.ts";
import type { HttpListener } from "./http.ts";

const POLL_INTERVAL = 10_000;
const DAY = 86_400_000;
/** Days before the end at which to warn, and the part of its life that a short one has left. */
const WARNINGS = [{ days: 30, part: 1 / 3 }, { days: 7, part: 1 / 10 }, { days: 0, part: 0 }];

/** What a watched certificate did. */
export type CertificateEvent = "reloaded" | "failed";

export interface CertificateWatchOptions {
  readonly listener: Pick<HttpListener, "certificate" | "reloadCertificate">;
  readonly tls: { readonly certPath: string; readonly keyPath: string };
  readonly host: Host;
  /** The role that the log names. */
  readonly role: string;
  readonly onEvent?: (event: CertificateEvent) => void;
  /** Milliseconds. Default 10,000. */
  readonly interval?: number;
}

/**
 * Takes a renewed certificate into use without a restart, and warns before one ends. The files are
 * asked for again and again: a file system's events miss mounted single files and network mounts.
 * A symbolic link that is turned over, as certbot and Kubernetes do, counts as a change.
 */
export class CertificateWatch {
  readonly #options: CertificateWatchOptions;
  readonly #timer: ReturnType<typeof setInterval>;
  readonly #log;
  #used: string;
  /** State of the files with which loading failed, and whether that was said. */
  #failed: { readonly state: string; said: boolean } | undefined;
  /** How many of the warnings were given for the certificate in use. */
  #warnings = 0;

  constructor(options: CertificateWatchOptions) {
    this.#options = options;
    this.#log = getLogger(["cairn", options.role]);
    this.#used = this.#state();
    this.#timer = setInterval(() => this.check(), options.interval ?? POLL_INTERVAL);
    this.#warnOfEnd();
  }

  /** Looks at the files now; a pair that is half renewed is given until the next look. */
  check(): void {
    const state = this.#state();
    const isKnown = state === this.#used || (this.#failed?.state === state && this.#failed.said);
    if (!isKnown) this.#load(state, this.#failed?.state === state);
    this.#warnOfEnd();
  }

  /** Loads the files whether or not they changed, and says at once when that fails. */
  reload(): void {
    this.#load(this.#state(), true);
    this.#warnOfEnd();
  }

  close(): void {
    clearInterval(this.#timer);
  }

  #load(state: string, say: boolean): void {
    const { listener, onEvent } = this.#options;
    try {
      listener.reloadCertificate();
    } catch (error) {
      if (!(error instanceof CairnError)) throw error;
      this.#failed = { state, said: say };
      if (!say) return;
      onEvent?.("failed");
      this.#log.warn("Keeping the former certificate: {message}", { message: error.message });
      return;
    }
    this.#used = state;
    this.#failed = undefined;
    this.#warnings = 0;
    onEvent?.("reloaded");
    this.#log.info("New connections get the renewed certificate, which ends on {date}", {
      date: listener.certificate?.validToDate.toISOString().slice(0, 10),
    });
  }

  #warnOfEnd(): void {
    const { listener, host, tls } = this.#options;
    const { certificate } = listener;
    if (!certificate) return;
    const end = certificate.validToDate.getTime();
    const life = end - certificate.validFromDate.getTime();
    const left = end - host.now();
    const due = WARNINGS.filter(({ days, part }) => left <= Math.min(days * DAY, life * part));
    if (due.length <= this.#warnings) return;
    this.#warnings = due.length;
    this.#log.warn(
      left <= 0
        ? "The certificate {path} has expired; clients refuse it until it is renewed"
        : "The certificate {path} ends in {days} days; renew it, no restart is needed",
      { path: tls.certPath, days: Math.floor(left / DAY) },
    );
  }

  /** Changes when either file does. */
  #state(): string {
    const { certPath, keyPath } = this.#options.tls;
    return `${fileState(certPath)}, ${fileState(keyPath)}`;
  }
}

function fileState(path: string): string {
  try {
    const { dev, ino, mtimeMs, size } = statSync(path);
    return `${dev} ${ino} ${mtimeMs} ${size}`;
  } catch {
    return "unreadable";
  }
}
