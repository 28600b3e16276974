/// <reference lib="dom" />
import { button, byId, element, setText } from "./elements.ts";

const NOTICE_MS = 8_000;
let lastId = 0;
let noticeTimer: ReturnType<typeof setTimeout> | undefined;

/**
 * A modal dialog, shown until it is closed. The browser keeps the focus inside and gives it back
 * afterwards to what had it.
 */
export function openDialog(title: string, ...children: readonly Node[]): HTMLDialogElement {
  const id = `dialog-${++lastId}`;
  const dialog = element(
    "dialog",
    { "aria-labelledby": id },
    element("h2", { id }, title),
    ...children,
  );
  dialog.addEventListener("close", () => dialog.remove());
  document.body.append(dialog);
  dialog.showModal();
  return dialog;
}

/** Asks before something is done that cannot be undone; the harmless button has the focus. */
export function confirmed(title: string, sentence: string, action: string): Promise<boolean> {
  return new Promise((resolve) => {
    let isSure = false;
    const no = button("Cancel", () => dialog.close());
    const yes = button(action, () => {
      isSure = true;
      dialog.close();
    }, { class: "danger" });
    const dialog = openDialog(
      title,
      element("p", {}, sentence),
      element("div", { class: "buttons" }, no, yes),
    );
    dialog.addEventListener("close", () => resolve(isSure));
    no.focus();
  });
}

/** Asks for a name; `null` for none, `undefined` when it is to stay as it is. */
export function askName(title: string, current: string): Promise<string | null | undefined> {
  return new Promise((resolve) => {
    let name: string | null | undefined;
    const form = nameForm(current, () => {
      name = form.name();
      dialog.close();
    });
    form.node.append(button("Cancel", () => dialog.close()));
    const dialog = openDialog(title, form.node);
    dialog.addEventListener("close", () => resolve(name));
    form.focus();
  });
}

/** A field for a name, with a button that saves it. */
export function nameForm(current: string, onSave: () => void) {
  const id = `name-${++lastId}`;
  const input = element("input", { id, type: "text", maxlength: "64", autocomplete: "off" });
  input.value = current;
  const node = element(
    "form",
    {},
    element("label", { for: id }, "Name, for you and the peers of this server"),
    input,
    element("button", { class: "primary" }, "Save"),
  );
  node.addEventListener("submit", (event) => {
    event.preventDefault();
    onSave();
  });
  return { node, focus: () => input.select(), name: () => input.value.trim() || null };
}

/** Says what was done, or why not, for a few seconds. */
export function notify(text: string): void {
  const notice = byId("notice", HTMLElement);
  setText(notice, text);
  clearTimeout(noticeTimer);
  noticeTimer = setTimeout(() => setText(notice, ""), NOTICE_MS);
}

/** A button that copies text and says so. */
export function copyButton(what: string, text: () => string): HTMLButtonElement {
  return button("Copy", async () => {
    try {
      await navigator.clipboard.writeText(text());
      notify(`Copied ${what}`);
    } catch {
      // A page of another machine that came without TLS may not write to the clipboard.
      notify(`The browser does not allow copying here: select ${what} instead`);
    }
  }, { class: "small", "aria-label": `Copy ${what}` });
}
