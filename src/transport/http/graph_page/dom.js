// Small helpers that make elements of the page. Texts are always set as text, never as HTML.

/** Returns the element with an id. */
export function byId(id) {
  return document.getElementById(id);
}

/** Returns a new element with attributes or properties, and with children: elements or texts. */
export function make(name, properties = {}, ...children) {
  const element = Object.assign(document.createElement(name), properties);
  element.append(...children);
  return element;
}

/** Shows or hides an element. */
export function reveal(element, isShown) {
  element.hidden = !isShown;
}

/** Rows of a table, some at a time. */
export class Rows {
  #table;
  #pages;
  #row;
  #rows = [];
  #first = 0;
  static SIZE = 100;

  /** Takes the ids of the table and of the place for its buttons, and what makes a `tr` of an entry. */
  constructor(table, pages, row) {
    this.#table = byId(table).tBodies[0];
    this.#pages = byId(pages);
    this.#row = row;
  }

  /** Shows these entries, from the first one or where the reader is. */
  show(entries, fromStart) {
    this.#rows = entries;
    if (fromStart || this.#first >= entries.length) this.#first = 0;
    this.#draw();
  }

  #draw() {
    const last = Math.min(this.#first + Rows.SIZE, this.#rows.length);
    this.#table.replaceChildren(...this.#rows.slice(this.#first, last).map(this.#row));
    const turn = (text, by) => {
      const first = this.#first + by;
      const disabled = first < 0 || first >= this.#rows.length;
      const button = make("button", { type: "button", textContent: text, disabled });
      button.addEventListener("click", () => {
        this.#first = first;
        this.#draw();
      });
      return button;
    };
    const place = this.#rows.length ? `${this.#first + 1} to ${last} of ${this.#rows.length}` : "none";
    const buttons = this.#rows.length > Rows.SIZE ? [turn("Back", -Rows.SIZE), turn("Next", Rows.SIZE)] : [];
    this.#pages.replaceChildren(make("span", { className: "hint", textContent: place }), ...buttons);
  }
}
