/// <reference lib="dom" />
import type { PairingOffer } from "./answers.ts";
import { clock, type Ending } from "./ending.ts";
import { copyButton, nameForm, notify, openDialog } from "./dialogs.ts";
import { button, element, setText } from "./elements.ts";
import { offerText } from "./offer_wording.ts";
import { rename } from "./peers_section.ts";
import { sentenceOf, type Session } from "./session.ts";
import { countdownText } from "./wording.ts";

/** A PIN or link with its secret, which the server tells only once. */
export interface MadeOffer {
  readonly id: string;
  readonly kind: "pin" | "link";
  /** The PIN, or the link. */
  readonly secret: string;
  /** The link as a QR code. */
  readonly svg?: string;
  /** Where a PIN is good. */
  readonly signalServers?: readonly string[];
  readonly until: number;
}

/** Shows a PIN or link, and what becomes of it; to close it leaves it open for its peer. */
export class OfferDialog {
  readonly #session: Session;
  readonly #made: MadeOffer;
  readonly #state = element("p", { class: "outcome", role: "status" });
  readonly #rest = element("p", { class: "fine" });
  readonly #withdraw = button("Withdraw", () => void this.#end());
  readonly #close = button("Close", () => this.#dialog.close());
  readonly #buttons = element("div", { class: "buttons" }, this.#withdraw, this.#close);
  readonly #secret: HTMLElement;
  readonly #dialog: HTMLDialogElement;
  #isOver = false;

  constructor(session: Session, made: MadeOffer) {
    this.#session = session;
    this.#made = made;
    this.#secret = made.kind === "pin" ? pinView(made) : linkView(made);
    this.#dialog = openDialog(
      made.kind === "pin" ? "Pair by PIN" : "Pair by link or QR code",
      this.#secret,
      this.#state,
      this.#rest,
      this.#buttons,
    );
    setText(this.#state, offerText({ ...made, state: "open", failures: 0, peer_id: null }, String));
    this.#close.focus();
    this.tick();
  }

  /** Tells what has become of it. */
  show(offers: readonly Ending<PairingOffer>[], nameOf: (peerId: string) => string): void {
    const offer = offers.find(({ id }) => id === this.#made.id);
    if (offer === undefined || this.#isOver) return;
    setText(this.#state, offerText(offer, nameOf));
    if (offer.state === "open") return;
    this.#isOver = true;
    this.#secret.remove();
    this.#rest.remove();
    const hadFocus = this.#withdraw === document.activeElement;
    this.#withdraw.remove();
    if (hadFocus) this.#close.focus();
    if (offer.state === "paired" && offer.peer_id !== null) this.#offerName(offer.peer_id);
  }

  /** Counts down. */
  tick(): void {
    setText(this.#rest, `Expires in ${countdownText(this.#made.until - clock())}`);
  }

  #offerName(peerId: string): void {
    const form = nameForm("", () => {
      void rename(this.#session, peerId, form.name()).then(
        () => this.#dialog.close(),
        (error) => {
          this.#dialog.close();
          notify(sentenceOf(error));
        },
      );
    });
    this.#buttons.before(form.node);
    form.focus();
  }

  async #end(): Promise<void> {
    try {
      await this.#session.send<PairingOffer>("DELETE", `pairing/offers/${this.#made.id}`);
    } catch (error) {
      setText(this.#state, sentenceOf(error));
    }
  }
}

function pinView({ secret: pin, signalServers = [] }: MadeOffer): HTMLElement {
  const signal = signalServers.length > 0 ? ` --signal ${signalServers.join(",")}` : "";
  const command = `cairn peer pair --pin ${pin}${signal}`;
  return element(
    "div",
    { class: "offered" },
    element("p", { class: "secret" }, pin),
    element(
      "p",
      { class: "fine" },
      "On the peer: ",
      element("code", {}, command),
    ),
    copyButton("the command", () => command),
  );
}

function linkView({ secret, svg = "" }: MadeOffer): HTMLElement {
  return element(
    "div",
    { class: "offered" },
    element("img", {
      class: "code-image",
      alt: "QR code of the link",
      width: "240",
      height: "240",
      // As an image it can neither run a script nor load anything.
      src: `data:image/svg+xml,${encodeURIComponent(svg)}`,
    }),
    element("p", { class: "fine" }, "Scan the code, or on the peer: cairn peer pair 'LINK'"),
    element("p", { class: "link" }, element("code", {}, secret)),
    copyButton("the link", () => secret),
  );
}
