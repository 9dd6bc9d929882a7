// What the page knows of a customer, now and at earlier moments. It draws nothing and calls nobody.

const KINDS = { email: "e-mail", phone: "phone" };

/** Returns a text by which moments of the API can be ordered, whatever digits their fractions have. */
export function momentKey(time) {
  const [, seconds, fraction = ""] = /^([^.Z]*)\.?(\d*)Z?$/.exec(time ?? "") ?? [null, ""];
  return `${seconds}.${fraction.padEnd(9, "0")}`;
}

/** Returns a moment for people, in UTC. */
export function momentText(time) {
  return time ? time.replace("T", " ").replace(/Z$/, " UTC") : "";
}

/** Returns the text by which an identifier is found in maps. */
export function keyOf({ kind, value }) {
  return `${kind} ${value}`;
}

/** Returns "1 set", "2 sets". */
export function count(number, one, many = `${one}s`) {
  return `${number} ${number === 1 ? one : many}`;
}

/** Reads what somebody typed: `{name}` of a contact's identity, or an `{identifier}`; `undefined` if it is empty. */
export function readWho(text) {
  const who = text.trim();
  const id = /^(?:identities\/|id\s*|#)(\d{1,19})$/i.exec(who)?.[1];
  if (id) return { name: `identities/${id}` };
  if (who === "") return undefined;
  return { identifier: { kind: who.includes("@") ? "email" : "phone", value: who } };
}

/** The groups that joins make of some things. */
class Groups {
  #parents = new Map();

  root(thing) {
    if (!this.#parents.has(thing)) this.#parents.set(thing, thing);
    let root = thing;
    while (this.#parents.get(root) !== root) root = this.#parents.get(root);
    while (thing !== root) {
      const next = this.#parents.get(thing);
      this.#parents.set(thing, root);
      thing = next;
    }
    return root;
  }

  join(left, right) {
    this.#parents.set(this.root(right), this.root(left));
  }
}

/** A customer with its contacts, evidence and history. */
export class Customer {
  constructor(identity, contacts, evidence, revisions) {
    this.identity = identity;
    this.contacts = contacts.map((contact) => ({
      ...contact,
      moment: momentKey(contact.createTime),
      keys: (contact.identifiers ?? []).map(keyOf),
    }));
    this.evidence = evidence.map((set) => ({
      ...set,
      moment: momentKey(set.createTime),
      keys: (set.identifiers ?? []).map(keyOf),
    }));
    this.identifiers = this.#numbered([...contacts, ...evidence].flatMap((entry) => entry.identifiers ?? []));
    this.changes = revisions.map(({ change, evidence: name }) => ({ ...change, evidence: name }));
    for (const set of this.evidence) if (!set.keys.length) set.contacts = this.#linked(set.name);
    this.steps = this.#steps();
  }

  /** Returns the identifiers by their keys, each with a name that tells nothing of its value. */
  #numbered(identifiers) {
    const all = new Map();
    const last = {};
    for (const identifier of identifiers) {
      const key = keyOf(identifier);
      if (all.has(key)) continue;
      const { kind } = identifier;
      last[kind] = (last[kind] ?? 0) + 1;
      all.set(key, { ...identifier, key, alias: `${KINDS[kind] ?? kind} ${last[kind]}` });
    }
    return all;
  }

  /** Returns the contacts that a link joins: that of its name, and the primary then. No identifier confirms it. */
  #linked(name) {
    const id = /^evidence\/l(\d+)$/.exec(name)?.[1];
    const change = this.changes.find(({ evidence }) => evidence === name);
    const primary = String(change?.primaryContactId ?? this.identity.primaryContactId);
    return [id, primary].filter((contact) => this.contacts.some((other) => String(other.id) === contact));
  }

  /** Returns the identifiers between which a set is drawn as a line: for a link, one of each of its contacts. */
  ends({ keys, contacts = [] }) {
    if (keys.length) return keys;
    return contacts.map((id) => this.contacts.find((contact) => String(contact.id) === id)?.keys[0]).filter(Boolean);
  }

  /** Returns the moments at which something changed, the oldest first, with what changed. */
  #steps() {
    const steps = new Map();
    for (const change of this.changes) {
      const moment = momentKey(change.time);
      if (!steps.has(moment)) steps.set(moment, { moment, time: change.time, texts: [] });
      steps.get(moment).texts.push(changeText(change));
    }
    return [...steps.values()].sort((left, right) => (left.moment < right.moment ? -1 : 1));
  }

  /** Returns what there was after a step; after the last one, what there is. */
  at(step) {
    const isNow = step >= this.steps.length - 1;
    const { moment, time } = this.steps[step] ?? {};
    const then = isNow ? () => true : (entry) => entry.moment <= moment;
    const contacts = this.contacts.filter(then);
    const evidence = this.evidence.filter(then);
    const keys = new Set([...contacts, ...evidence].flatMap((entry) => entry.keys));
    const customers = isNow ? this.#one(contacts, keys) : this.#customers(contacts, evidence, keys, moment);
    return { isNow, readTime: isNow ? undefined : time, contacts, evidence, keys, customers };
  }

  #one(contacts, keys) {
    const primary = String(this.identity.primaryContactId);
    return [{ primary, contacts: contacts.map(({ id }) => String(id)), keys: [...keys] }];
  }

  /** Returns the customers that these contacts were at a moment, the oldest first. Its contact with the oldest date is
   * the primary. */
  #customers(contacts, evidence, keys, moment) {
    const groups = new Groups();
    const there = new Set(contacts.map(({ id }) => `contact ${id}`));
    const sets = new Map(evidence.map((set) => [set.name, set]));
    for (const { id, keys: own } of contacts) {
      // Identifiers of a contact that are in no set join nobody: an operator had them ignored.
      const [first] = sets.get(`evidence/c${id}`)?.keys ?? (own.length === 1 ? own : []);
      if (first) groups.join(`contact ${id}`, first);
    }
    for (const { keys: own } of evidence) for (const key of own) groups.join(own[0], key);
    // Links join contacts, and so did evidence that is deleted.
    for (const { primaryContactId: primary, contactIds = [], absorbed = [], time } of this.changes) {
      if (momentKey(time) > moment) continue;
      for (const id of [...contactIds, ...absorbed].map((id) => `contact ${id}`)) {
        if (there.has(id) && there.has(`contact ${primary}`)) groups.join(`contact ${primary}`, id);
      }
    }
    const customers = new Map();
    const oldestFirst = contacts.toSorted((left, right) =>
      left.moment === right.moment ? Number(left.id) - Number(right.id) : left.moment < right.moment ? -1 : 1,
    );
    for (const { id } of oldestFirst) {
      const root = groups.root(`contact ${id}`);
      if (!customers.has(root)) customers.set(root, { primary: String(id), contacts: [], keys: [] });
      customers.get(root).contacts.push(String(id));
    }
    const carriers = new Map(contacts.flatMap(({ id, keys: own }) => own.map((key) => [key, `contact ${id}`])));
    for (const key of keys) {
      const owner = customers.get(groups.root(key)) ?? customers.get(groups.root(carriers.get(key)));
      owner?.keys.push(key);
    }
    return [...customers.values()];
  }
}

/** Returns a change in words. */
function changeText({ kind, primaryContactId: primary, contactIds = [], absorbed = [], evidence }) {
  const contacts = `${contactIds.length === 1 ? "contact" : "contacts"} ${contactIds.slice(0, 5).join(", ")}`;
  const by = evidence ? ` (${evidence})` : "";
  switch (kind) {
    case "CHANGE_KIND_CREATED":
      return `Customer ${primary} was created${by}.`;
    case "CHANGE_KIND_LINKED":
      return `Customer ${primary} got ${contacts}${by}.`;
    case "CHANGE_KIND_MERGED":
      return `Customer ${primary} absorbed ${absorbed.length ? absorbed.join(", ") : contacts}${by}.`;
    case "CHANGE_KIND_EVIDENCE":
      return `Customer ${primary} got evidence${by}.`;
    default:
      return `Customer ${primary} changed${by}.`;
  }
}

/** Returns where evidence is from, in words. */
export function originText({ name, origin }) {
  const contact = /^evidence\/c(\d+)$/.exec(name)?.[1];
  switch (origin) {
    case "EVIDENCE_ORIGIN_CONTACT":
      return contact ? `contact ${contact}` : "contact";
    case "EVIDENCE_ORIGIN_MERGE":
      return "a merge";
    case "EVIDENCE_ORIGIN_MATCH":
      return "a repeated request";
    case "EVIDENCE_ORIGIN_MANUAL":
      return "a link of another system";
    default:
      return "unknown";
  }
}

/** Returns what the caller who brought evidence said about it, after a comma. */
export function noteText({ source, externalRef, occurredTime }) {
  const of = [source, externalRef].filter(Boolean).join(" ");
  const when = occurredTime ? `of ${momentText(occurredTime)}` : "";
  const note = [of, when].filter(Boolean).join(" ");
  return note && `, ${note}`;
}
