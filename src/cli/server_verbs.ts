/** The verbs of `cairn server`, which ask the running server over its management API. */

import { getLogger } from "@logtape/logtape";
import { CairnError } from "../base/errors.ts";
import { findServerDataDir } from "./data_dir.ts";
import { OPTIONS } from "./options.ts";
import type { Settings } from "./settings.ts";
import { printLine } from "./standard_output.ts";

const logger = getLogger(["cairn", "cli"]);

const ANSWER_WITHIN_MS = 10_000;

/** `cairn server id`: prints the Peer ID of the running server. */
export async function serverId(settings: Settings): Promise<number> {
  const health = await askRunningServer(settings, "/health");
  const peerId = typeof health === "object" && health !== null && "peer_id" in health
    ? health.peer_id
    : undefined;
  if (typeof peerId !== "string") {
    throw new CairnError(
      "refused",
      "The server's answer does not name its Peer ID; is the management token the right one?",
    );
  }
  await printLine(peerId);
  return 0;
}

/** `cairn server pair`: will ask the running server for a PIN, a link or a QR code. */
export function serverPair(settings: Settings): Promise<number> {
  const asked = [OPTIONS.makePin, OPTIONS.makeLink, OPTIONS.makeQr]
    .filter((row) => settings.value(row) === true);
  if (asked.length !== 1) {
    throw new CairnError("invalid-option", "Say one of --pin, --link and --qr");
  }
  throw new CairnError(
    "refused",
    `Pairing by ${asked[0]?.flag} is not built yet; set CAIRN_PSK on the server and pair with ` +
      "cairn peer pair --psk KEY --peer ID",
  );
}

/** Asks the management API of the server that runs on this machine. */
async function askRunningServer(settings: Settings, path: string): Promise<unknown> {
  const token = settings.value(OPTIONS.mgmtToken) ?? readTokenFile(findServerDataDir(settings));
  const url = `${settings.value(OPTIONS.mgmtUrl) ?? localManagement(settings)}${path}`;
  let response: Response;
  try {
    response = await fetch(url, {
      headers: { authorization: `Bearer ${token}` },
      signal: AbortSignal.timeout(ANSWER_WITHIN_MS),
      redirect: "error",
    });
  } catch (cause) {
    logger.debug("Asking {url} failed", { url, cause });
    throw new CairnError(
      "unreachable",
      `No server answers at ${url}; start cairn server, or say where it is with ` +
        settings.howToSet(OPTIONS.mgmtUrl),
      { cause },
    );
  }
  if (response.status === 401) {
    await response.body?.cancel();
    throw new CairnError(
      "refused",
      `The server at ${url} refuses the management token; give the right one in CAIRN_MGMT_TOKEN`,
    );
  }
  if (!response.ok) {
    await response.body?.cancel();
    throw new CairnError("refused", `The server at ${url} answers with status ${response.status}`);
  }
  try {
    return await response.json();
  } catch (cause) {
    throw new CairnError(
      "refused",
      `What answers at ${url} is not a cairn server; say where it is with ` +
        settings.howToSet(OPTIONS.mgmtUrl),
      { cause },
    );
  }
}

function localManagement(settings: Settings): string {
  const bind = settings.value(OPTIONS.mgmtBind);
  const host = bind === "0.0.0.0" ? "127.0.0.1" : bind === "::" ? "::1" : bind;
  const port = settings.value(OPTIONS.mgmtPort);
  return `http://${host.includes(":") ? `[${host}]` : host}:${port}`;
}

function readTokenFile(dataDir: string): string {
  const path = `${dataDir}/mgmt_token`;
  try {
    return Deno.readTextFileSync(path).trim();
  } catch (cause) {
    throw new CairnError(
      "refused",
      `Cannot read the management token from "${path}"; give it in CAIRN_MGMT_TOKEN, or name ` +
        "the server's data folder with --data-dir",
      { cause },
    );
  }
}
