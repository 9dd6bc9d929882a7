// The page: finds a customer by what somebody typed, reads all of it, and shows it.
//
// The address of the page has the id of the customer at most. Identifiers are sent in the bodies of calls alone.

import { CallError, getIdentity, list, lookUp, MOST, useToken } from "./api.js";
import { byId, reveal } from "./dom.js";
import { Inspector } from "./inspector.js";
import { count, Customer, keyOf, momentText, readWho } from "./model.js";

const TRIES = 3; // readings of a customer that changes meanwhile
const who = byId("who");
const inspector = new Inspector(failed);
let turn = 0; // only the last question is answered

/** Shows an error, and asks for a token if one may help. */
function failed(error, otherId) {
  byId("busy").textContent = "";
  byId("message-text").textContent = error.message;
  reveal(byId("as-id"), Boolean(otherId));
  byId("as-id").textContent = otherId ? `Show the customer of the contact with the id ${otherId}` : "";
  byId("as-id").onclick = () => {
    who.value = `identities/${otherId}`;
    find();
  };
  reveal(byId("message"), true);
  if (error instanceof CallError && error.needsToken) {
    reveal(byId("access"), true);
    byId("token").focus();
  }
}

/** Says what will be looked up, while somebody types. */
function sayMeaning() {
  const read = readWho(who.value);
  byId("meaning").textContent = !read
    ? "The page only reads. It never makes a customer."
    : read.name
      ? `Looks up the contact with the id ${read.name.slice("identities/".length)}.`
      : read.identifier.kind === "email"
        ? "Looks up an e-mail address."
        : "Looks up a phone number. Write identities/3 for the contact with the id 3.";
}

/** Finds and shows what is in the field. */
async function find() {
  sayMeaning();
  const read = readWho(who.value);
  if (!read) return;
  turn += 1;
  const mine = turn;
  reveal(byId("message"), false);
  byId("busy").textContent = "Reading …";
  try {
    const { name, identifier } = read;
    const identity = name ? { name } : await lookUp(identifier);
    if (mine !== turn) return;
    if (!identity) {
      // A number alone may be meant as an id.
      const isNumber = /^\d{1,19}$/.test(identifier.value);
      const what = identifier.kind === "email" ? "e-mail address" : "phone number";
      failed(new Error(`No customer has this ${what}.`), isNumber && identifier.value);
      return;
    }
    const whole = await readCustomer(identity.name ?? `identities/${identity.primaryContactId}`);
    if (mine !== turn) return;
    showCustomer(whole, identifier);
    byId("busy").textContent = "";
  } catch (error) {
    if (mine === turn) failed(error);
    if (!(error instanceof CallError)) throw error;
  }
}

/** Reads a customer and its lists. If it changed between the calls, it is read again. */
async function readCustomer(name) {
  let identity = await getIdentity(name);
  for (let attempt = 1; ; attempt += 1) {
    const [contacts, evidence, revisions] = await Promise.all([
      list(name, "contacts"),
      list(name, "evidence"),
      list(name, "revisions"),
    ]);
    const after = await getIdentity(name);
    const isWhole = after.etag === identity.etag;
    identity = after;
    if (isWhole || attempt === TRIES) return { identity, contacts, evidence, revisions, isWhole };
  }
}

function showCustomer({ identity, contacts, evidence, revisions, isWhole }, identifier) {
  const customer = new Customer(identity, contacts.entries, evidence.entries, revisions.entries);
  const { primaryContactId: id, createTime, updateTime } = identity;
  byId("title").textContent = `Customer ${id}`;
  const sizes = [
    count(customer.contacts.length, "contact"),
    count(customer.identifiers.size, "identifier"),
    `${count(customer.evidence.length, "set")} of evidence`,
  ];
  const dates = `created ${momentText(createTime)}, last changed ${momentText(updateTime)}`;
  byId("summary").textContent = `${sizes.join(", ")}; ${dates}.`;
  const notes = [];
  for (const [what, { hasMore }] of Object.entries({ contacts, evidence, revisions })) {
    if (hasMore) notes.push(`The page reads ${MOST} ${what} at most; there are more.`);
  }
  if (!isWhole) notes.push("The customer changes right now: its tables may be of different moments.");
  byId("notes").textContent = notes.join(" ");
  const hash = `#identities/${id}`;
  if (location.hash !== hash) history.pushState(null, "", hash);
  inspector.show(customer, identifier && keyOf(identifier));
}

/** Shows the customer that the address of the page names. */
function showAddressed() {
  const id = /^#identities\/(\d{1,19})$/.exec(location.hash)?.[1];
  if (!id) return;
  who.value = `identities/${id}`;
  find();
}

byId("find").addEventListener("submit", (event) => {
  event.preventDefault();
  find();
});
byId("access").addEventListener("submit", (event) => {
  event.preventDefault();
  useToken(byId("token").value);
  byId("token").value = "";
  reveal(byId("access"), false);
  find();
});
byId("hide").addEventListener("change", () => {
  const hides = byId("hide").checked;
  who.classList.toggle("hidden-value", hides);
  inspector.hideValues(hides);
});
who.addEventListener("input", sayMeaning);
window.addEventListener("popstate", showAddressed);
// Before, a browser would send the form by itself.
byId("show").disabled = false;
showAddressed();
