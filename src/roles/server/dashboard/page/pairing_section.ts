/// <reference lib="dom" />
import type { PairingOffer, PairingPin, PairingQr, PeerOutcome } from "./answers.ts";
import { clock, type Ending, ending } from "./ending.ts";
import { notify } from "./dialogs.ts";
import { button, byId, element, KeyedList, type Row, setText } from "./elements.ts";
import { type MadeOffer, OfferDialog } from "./offer_dialog.ts";
import { offerText } from "./offer_wording.ts";
import { sentenceOf, type Session } from "./session.ts";
import { countdownText, shortId } from "./wording.ts";

type Offer = Ending<PairingOffer>;

/** Makes PINs and links, tells what becomes of them, and approves peers by their id. */
export class PairingSection {
  readonly #session: Session;
  readonly #onChanged: () => void;
  readonly #nameOf: (peerId: string) => string;
  readonly #list = new KeyedList<Offer>(
    byId("offer-list", HTMLUListElement),
    ({ id }) => id,
    (offer) => this.#row(offer),
    byId("pairing-title", HTMLElement),
  );
  #offers: readonly Offer[] = [];
  #dialog: OfferDialog | undefined;

  /** `onChanged` hears that something was done. */
  constructor(session: Session, nameOf: (peerId: string) => string, onChanged: () => void) {
    this.#session = session;
    this.#nameOf = nameOf;
    this.#onChanged = onChanged;
    byId("make-pin", HTMLButtonElement).onclick = () => void this.#open(() => this.#makePin());
    byId("make-link", HTMLButtonElement).onclick = () => void this.#open(() => this.#makeLink());
    byId("approve-form", HTMLFormElement).onsubmit = (event) => {
      event.preventDefault();
      void this.#approve();
    };
  }

  show(offers: readonly Offer[]): void {
    this.#offers = offers;
    this.#dialog?.show(offers, this.#nameOf);
    this.#list.show(offers);
  }

  /** Counts down. */
  tick(): void {
    this.#list.show(this.#offers);
    this.#dialog?.tick();
  }

  async #open(make: () => Promise<MadeOffer>): Promise<void> {
    try {
      this.#dialog = new OfferDialog(this.#session, await make());
    } catch (error) {
      notify(sentenceOf(error));
    }
    this.#onChanged();
  }

  async #makePin(): Promise<MadeOffer> {
    const made = ending(await this.#session.send<PairingPin>("POST", "pairing/pin"));
    return { ...made, kind: "pin", secret: made.pin, signalServers: made.signal_servers };
  }

  async #makeLink(): Promise<MadeOffer> {
    const made = ending(await this.#session.ask<PairingQr>("pairing/qr"));
    return { ...made, kind: "link", secret: made.uri };
  }

  async #approve(): Promise<void> {
    const input = byId("approve-id", HTMLInputElement);
    const said = byId("approve-problem", HTMLElement);
    const peerId = input.value.trim();
    try {
      await this.#session.send<PeerOutcome>("POST", "peers/approve", { peer_id: peerId });
      said.className = "fine";
      setText(said, `${shortId(peerId)} may pair: on the peer, cairn peer pair --peer SERVER_ID`);
      input.value = "";
    } catch (error) {
      said.className = "problem";
      setText(said, sentenceOf(error));
      input.focus();
    }
    this.#onChanged();
  }

  #row({ id, kind }: Offer): Row<Offer> {
    const state = element("p");
    const rest = element("p", { class: "fine" });
    const withdraw = button("Withdraw", () => {
      void this.#session.send("DELETE", `pairing/offers/${id}`)
        .catch((error) => notify(sentenceOf(error)))
        .finally(this.#onChanged);
    }, { class: "small", "aria-label": kind === "pin" ? "Withdraw the PIN" : "Withdraw the link" });
    const buttons = element("div", { class: "buttons" }, withdraw);
    return {
      node: element("li", { class: "offer" }, state, rest, buttons),
      update: (offer) => {
        setText(state, offerText(offer, this.#nameOf));
        const isOpen = offer.state === "open";
        setText(rest, isOpen ? `Expires in ${countdownText(offer.until - clock())}` : "");
        rest.hidden = !isOpen;
        if (!isOpen && withdraw === document.activeElement) {
          byId("pairing-title", HTMLElement).focus();
        }
        buttons.hidden = !isOpen;
      },
    };
  }
}
