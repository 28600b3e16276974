/// <reference lib="dom" />
import type { PairingRequest, PeerOutcome } from "./answers.ts";
import { clock, type Ending } from "./ending.ts";
import { notify } from "./dialogs.ts";
import { button, byId, element, KeyedList, type Row, setText } from "./elements.ts";
import { sentenceOf, type Session } from "./session.ts";
import { countdownText, shortId, spacedDigits } from "./wording.ts";

type Request = Ending<PairingRequest>;

/** Peers that ask to be paired, with the digits that must agree. */
export class RequestsSection {
  readonly #session: Session;
  readonly #onChanged: () => void;
  #requests: readonly Request[] = [];
  readonly #list = new KeyedList<Request>(
    byId("request-list", HTMLUListElement),
    // Who asks again gets other digits: nothing that was read may turn into something else.
    ({ peer_id: id, sas }) => `${id} ${sas}`,
    (request) => this.#row(request),
    byId("requests-title", HTMLElement),
  );

  /** `onChanged` hears that something was done. */
  constructor(session: Session, onChanged: () => void) {
    this.#session = session;
    this.#onChanged = onChanged;
  }

  show(requests: readonly Request[]): void {
    this.#requests = requests;
    this.tick();
  }

  /** Counts down. */
  tick(): void {
    const open = this.#requests.filter(({ until }) => until > clock());
    this.#list.show(open);
    byId("no-requests", HTMLElement).hidden = open.length > 0;
  }

  #row({ peer_id: peerId, sas, was_unpaired: wasUnpaired }: Request): Row<Request> {
    const rest = element("p", { class: "fine" });
    const digits = spacedDigits(sas);
    const answer = (path: string, body: unknown, done: string) => () => {
      void this.#session.send<PeerOutcome>("POST", path, body).then(
        () => notify(`${shortId(peerId)} is ${done}`),
        (error) => notify(sentenceOf(error)),
      ).finally(this.#onChanged);
    };
    const approve = button(
      "The digits agree: approve",
      answer("peers/approve", { peer_id: peerId }, "approved"),
      { class: "primary", "aria-label": `The digits agree: approve ${peerId} with ${digits}` },
    );
    const refuse = button(
      "Refuse",
      answer(`pairing/requests/${peerId}/refuse`, undefined, "refused"),
      { class: "danger", "aria-label": `Refuse ${peerId}` },
    );
    return {
      node: element(
        "li",
        { class: "request" },
        element("p", { class: "digits" }, digits),
        element("code", {}, peerId),
        ...wasUnpaired ? [element("p", { class: "warning" }, "It was unpaired here before.")] : [],
        rest,
        element("div", { class: "buttons" }, approve, refuse),
      ),
      update({ until, connected }) {
        const left = `Expires in ${countdownText(until - clock())}`;
        setText(rest, connected ? left : `${left}. It has left, and may pair when it is back.`);
      },
    };
  }
}
