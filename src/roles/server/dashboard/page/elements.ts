/// <reference lib="dom" />

type Child = Node | string;

/**
 * An element with attributes and children. Text becomes text, never HTML; a name that a peer was
 * given can say what it wants.
 */
export function element<Tag extends keyof HTMLElementTagNameMap>(
  tag: Tag,
  attributes: Readonly<Record<string, string>> = {},
  ...children: readonly Child[]
): HTMLElementTagNameMap[Tag] {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

/** A button that does something. */
export function button(
  text: string,
  onClick: () => void,
  attributes: Readonly<Record<string, string>> = {},
): HTMLButtonElement {
  const made = element("button", { type: "button", ...attributes }, text);
  made.addEventListener("click", onClick);
  return made;
}

/** The element of the page with this id. @throws {TypeError} when it is not of this kind. */
export function byId<Kind extends Element>(id: string, kind: new () => Kind): Kind {
  const found = document.getElementById(id);
  if (found instanceof kind) return found;
  throw new TypeError(`The page has no ${kind.name} with the id ${id}`);
}

/** Sets text only where it differs, so that no screen reader hears the same twice. */
export function setText(node: Node, text: string): void {
  if (node.textContent !== text) node.textContent = text;
}

/** What shows one item of a list. */
export interface Row<Item> {
  readonly node: HTMLElement;
  update(item: Item): void;
}

/** A list whose rows stay the same nodes while their items change, so that focus stays, too. */
export class KeyedList<Item> {
  readonly #rows = new Map<string, Row<Item>>();

  /** `fallback` gets the focus when the row that had it goes. */
  constructor(
    private readonly parent: HTMLElement,
    private readonly keyOf: (item: Item) => string,
    private readonly makeRow: (item: Item) => Row<Item>,
    private readonly fallback: HTMLElement,
  ) {}

  show(items: readonly Item[]): void {
    const keys = new Set(items.map(this.keyOf));
    for (const [key, { node }] of [...this.#rows]) {
      if (keys.has(key)) continue;
      const hadFocus = node.contains(document.activeElement);
      node.remove();
      this.#rows.delete(key);
      if (hadFocus) this.fallback.focus();
    }
    let next = this.parent.firstElementChild;
    for (const item of items) {
      const key = this.keyOf(item);
      const row = this.#rows.get(key) ?? this.makeRow(item);
      this.#rows.set(key, row);
      row.update(item);
      // A node that is in its place is not touched: moving it would take its focus.
      if (row.node === next) next = next.nextElementSibling;
      else this.parent.insertBefore(row.node, next);
    }
  }
}
