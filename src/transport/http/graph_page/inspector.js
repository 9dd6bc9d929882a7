// The part of the page about one customer: what is picked, switched off, and at which moment it is seen.

import { CallError, explain } from "./api.js";
import { byId, make, reveal, Rows } from "./dom.js";
import { count, keyOf, momentKey, momentText, noteText, originText } from "./model.js";
import { pathText, partsText } from "./explanation.js";
import { colourOf, View } from "./view.js";

const PAUSE = 150; // milliseconds without a change, before the service is asked

/** Shows a customer. `failed` gets the errors of calls. */
export class Inspector {
  #failed;
  #view = new View(byId("graph"), (key) => (key ? this.#pick(key) : this.#unpick()));
  #contacts = new Rows("contacts", "contacts-pages", (contact) => this.#contactRow(contact));
  #evidence = new Rows("evidence", "evidence-pages", (set) => this.#evidenceRow(set));
  #customer;
  #state;
  #step = 0;
  #hidesValues = false;
  #picked = [];
  #off = new Set();
  #whole; // a promise of the answer about all of the customer: bridges, and since when evidence is complete
  #known; // that answer
  #question = ""; // the moment and the picked identifiers that `#explanation` is about
  #explanation;
  #parts; // what remains without the evidence that is off
  #turn = 0; // answers to older questions are dropped
  #timer;

  constructor(failed) {
    this.#failed = failed;
    byId("fit").addEventListener("click", () => this.#view.fit());
    byId("near").addEventListener("click", () => this.#view.showNear());
    byId("moment").addEventListener("input", () => this.#goTo(Number(byId("moment").value)));
    byId("earlier").addEventListener("click", () => this.#goTo(this.#step - 1));
    byId("later").addEventListener("click", () => this.#goTo(this.#step + 1));
    byId("unpick").addEventListener("click", () => this.#unpick());
    byId("cut-off").addEventListener("click", () => this.#switch(this.#explanation?.weakestCut ?? [], false));
    byId("all-on").addEventListener("click", () => this.#switch([...this.#off].map((name) => ({ name })), true));
    byId("filter").addEventListener("input", () => this.#drawTables(true));
  }

  /** Shows a customer as it is now, with an identifier in the middle if one was looked up. */
  show(customer, wanted) {
    this.#customer = customer;
    this.#step = Math.max(0, customer.steps.length - 1);
    this.#picked = [];
    this.#off = new Set();
    this.#known = undefined;
    this.#whole = explain(customer.identity.name, {});
    this.#whole.catch(() => {}); // The call that waits for it gets the error.
    byId("moment").max = String(this.#step);
    byId("moment").disabled = this.#step === 0;
    byId("filter").value = "";
    reveal(byId("customer"), true);
    const isDrawn = this.#view.show(customer);
    reveal(byId("graph"), isDrawn);
    reveal(byId("undrawn"), !isDrawn);
    const size = customer.identifiers.size;
    byId("undrawn").textContent = `${size} identifiers are too many for a drawing. The tables have them.`;
    this.#changed(true);
    requestAnimationFrame(() => this.#view.fit()); // The labels have their size then.
    const key = [...customer.identifiers.keys()].find((key) => key.toLowerCase() === wanted?.toLowerCase());
    if (key) this.#pick(key);
  }

  /** Shows values of identifiers, or names that tell nothing of them. */
  hideValues(hides) {
    this.#hidesValues = hides;
    if (this.#customer) this.#draw(false);
  }

  #label(key) {
    const identifier = this.#customer.identifiers.get(key);
    return this.#hidesValues ? identifier.alias : identifier.value;
  }

  #goTo(step) {
    this.#step = Math.min(Math.max(step, 0), Math.max(0, this.#customer.steps.length - 1));
    this.#changed(false);
  }

  #pick(key) {
    if (!this.#state.keys.has(key)) return;
    if (this.#picked.length === 2) this.#picked = [];
    this.#picked = this.#picked.includes(key) ? this.#picked.filter((other) => other !== key) : [...this.#picked, key];
    this.#changed(false);
  }

  #unpick() {
    if (!this.#picked.length) return;
    this.#picked = [];
    this.#changed(false);
  }

  #switch(sets, isOn) {
    for (const { name } of sets) {
      if (isOn) this.#off.delete(name);
      else this.#off.add(name);
    }
    this.#changed(false);
  }

  /** Draws what is known, and asks the service for the rest. */
  #changed(fromStart) {
    this.#state = this.#customer.at(this.#step);
    this.#picked = this.#picked.filter((key) => this.#state.keys.has(key));
    const question = JSON.stringify([this.#customer.identity.name, this.#step, this.#picked]);
    if (question !== this.#question) this.#explanation = undefined;
    this.#question = question;
    this.#parts = undefined;
    this.#draw(fromStart);
    this.#turn += 1;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#ask(this.#turn), PAUSE);
  }

  async #ask(turn) {
    try {
      const [explanation, parts, whole] = await Promise.all([this.#askPath(), this.#askParts(), this.#whole]);
      if (turn !== this.#turn) return;
      [this.#explanation, this.#parts] = [explanation, parts];
      this.#known = whole;
      reveal(byId("truncated"), Boolean(whole.truncated));
      this.#draw(false);
    } catch (error) {
      if (!(error instanceof CallError)) throw error;
      if (turn === this.#turn) this.#failed(error);
    }
  }

  /** Asks the service about a customer of the moment that is shown. */
  #explain(primary, request) {
    const { readTime } = this.#state;
    return explain(`identities/${primary}`, { ...request, ...(readTime && { readTime }) });
  }

  async #askPath() {
    if (this.#picked.length < 2 || this.#explanation) return this.#explanation;
    const owners = this.#picked.map((key) => this.#state.customers.find(({ keys }) => keys.includes(key))?.primary);
    if (owners[0] !== owners[1]) return { owners };
    const between = this.#picked.map((key) => {
      const { kind, value } = this.#customer.identifiers.get(key);
      return { kind, value };
    });
    const { path = [], weakestCut = [] } = await this.#explain(owners[0], { between });
    return { path, weakestCut };
  }

  /** Returns the parts of each customer of the moment; a customer whose evidence is all on is one part. */
  async #askParts() {
    const off = this.#state.evidence.filter(({ name }) => this.#off.has(name));
    if (!off.length) return undefined;
    const parts = this.#state.customers.map(async ({ primary, keys, contacts }) => {
      const own = new Set(keys);
      const isOwn = (set) => own.has(this.#customer.ends(set)[0]);
      const withoutEvidence = off.filter(isOwn).map(({ name }) => name);
      if (!withoutEvidence.length) return [{ primary, keys, contacts }];
      const answer = await this.#explain(primary, { withoutEvidence });
      return (answer.parts ?? []).map(({ primaryContactId, identifiers = [], contactIds = [] }) => ({
        primary: primaryContactId && String(primaryContactId),
        keys: identifiers.map(keyOf),
        contacts: contactIds.map(String),
      }));
    });
    return (await Promise.all(parts)).flat();
  }

  #draw(fromStart) {
    const { steps, identifiers } = this.#customer;
    const { keys, evidence, customers, isNow } = this.#state;
    byId("moment").value = String(this.#step);
    byId("earlier").disabled = this.#step === 0;
    byId("later").disabled = this.#step >= steps.length - 1;
    byId("moment-text").textContent = this.#momentText();
    const parts = this.#parts ?? customers;
    const names = (sets) => new Set((sets ?? []).map(({ name }) => name));
    this.#view.update({
      keys,
      sets: new Set(evidence.map(({ name }) => name)),
      colours: new Map(parts.flatMap(({ keys: own }, index) => own.map((key) => [key, colourOf(index)]))),
      labels: new Map([...identifiers.keys()].map((key) => [key, this.#label(key)])),
      off: this.#off,
      path: names(this.#explanation?.path),
      cut: names(this.#explanation?.weakestCut),
      bridges: this.#bridges(),
      picked: this.#picked,
    });
    const button = (key) => this.#valueButton(key);
    byId("path-text").replaceChildren(...pathText(this.#picked, this.#explanation, button));
    reveal(byId("unpick"), this.#picked.length > 0);
    reveal(byId("cut-off"), Boolean(this.#explanation?.weakestCut?.length));
    byId("parts-text").replaceChildren(...partsText(parts, this.#off.size, Boolean(this.#parts), isNow, button));
    reveal(byId("all-on"), this.#off.size > 0);
    this.#drawTables(fromStart);
  }

  #momentText() {
    const { steps } = this.#customer;
    const { isNow, contacts, evidence } = this.#state;
    const { time, texts = [] } = steps[this.#step] ?? {};
    const what = `${count(contacts.length, "contact")} and ${count(evidence.length, "set")} of evidence`;
    if (!time) return `Now: ${what}.`;
    const more = texts.length > 3 ? ` And ${texts.length - 3} more.` : "";
    const when = isNow ? "Now. Last change" : "As of";
    const place = `${this.#step + 1} of ${steps.length}`;
    return `${when} ${momentText(time)} (${place}): ${what}. ${texts.slice(0, 3).join(" ")}${more}${this.#exactness()}`;
  }

  /** Returns the evidence that holds the customer together alone, as it is now. */
  #bridges() {
    const bridges = this.#state.isNow ? (this.#known?.bridges ?? []) : [];
    return new Set(bridges.map(({ name }) => name));
  }

  /** Returns whether an earlier moment may lack evidence. */
  #exactness() {
    const { isNow, readTime } = this.#state;
    if (isNow || !this.#known) return "";
    const { completeSince } = this.#known;
    if (!completeSince) return " Some evidence of that time may be missing.";
    if (momentKey(readTime) >= momentKey(completeSince)) return "";
    return ` Evidence is complete since ${momentText(completeSince)}: this moment may lack some.`;
  }

  #drawTables(fromStart) {
    const wanted = byId("filter").value.trim().toLowerCase();
    const has = (text) => text.toLowerCase().includes(wanted);
    const isWanted = ({ name, keys }) => !wanted || has(name) || keys.some((key) => has(this.#label(key)));
    this.#contacts.show(this.#state.contacts.filter(isWanted), fromStart);
    this.#evidence.show(this.#state.evidence.filter(isWanted), fromStart);
  }

  #contactRow({ id, keys, createTime, updateTime }) {
    const owner = this.#state.customers.find(({ contacts }) => contacts.includes(String(id)))?.primary;
    const role = owner === String(id) ? "primary" : `secondary of ${owner}`;
    return make(
      "tr",
      {},
      make("td", { className: "name", textContent: id }),
      make("td", { className: "name", textContent: role }),
      make("td", {}, ...keys.map((key) => this.#valueButton(key))),
      make("td", { className: "when", textContent: momentText(createTime) }),
      make("td", { className: "when", textContent: momentText(updateTime) }),
    );
  }

  #evidenceRow(set) {
    const { name, createTime } = set;
    const [isOff, isBridge] = [this.#off.has(name), this.#bridges().has(name)];
    const box = make("input", { type: "checkbox", checked: !isOff, ariaLabel: `${name} counts` });
    box.addEventListener("change", () => this.#switch([set], box.checked));
    const explanation = [...(this.#explanation?.path ?? []), ...(this.#explanation?.weakestCut ?? [])];
    const isMarked = explanation.some((other) => other.name === name);
    return make(
      "tr",
      { className: `${isOff ? "off" : ""} ${isMarked ? "marked" : ""}`.trim() },
      make("td", {}, box),
      make("td", { className: "name", textContent: name }),
      make("td", {}, ...this.#evidenceTold(set)),
      make("td", { className: "name", textContent: originText(set) + noteText(set) }),
      make("td", { className: "when", textContent: momentText(createTime) }),
      make("td", { textContent: isBridge ? "yes" : "" }),
    );
  }

  /** Returns the identifiers of evidence, or the contacts that a link joins. */
  #evidenceTold({ keys, contacts = [] }) {
    return keys.length ? keys.map((key) => this.#valueButton(key)) : [`contacts ${contacts.join(" and ")}`];
  }

  /** Returns an identifier that can be picked, also with the keyboard. */
  #valueButton(key) {
    if (!this.#customer.identifiers.has(key)) return make("span", { textContent: "another identifier" });
    const isPicked = this.#picked.includes(key);
    const button = make("button", { type: "button", className: "value", textContent: this.#label(key) });
    button.ariaPressed = String(isPicked);
    button.addEventListener("click", () => this.#pick(key));
    return button;
  }
}
