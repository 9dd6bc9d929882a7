// What the page says in words: why two identifiers belong together, and what falls apart.

import { make } from "./dom.js";
import { count, keyOf, momentText, noteText, originText } from "./model.js";
import { colourOf } from "./view.js";

const MOST = 20; // entries of a list; a sentence says how many more there are

/** Returns why two identifiers belong together. `explanation` is the answer, or the two customers that they were. */
export function pathText(picked, explanation, button) {
  const text = (...parts) => make("p", {}, ...parts);
  if (picked.length === 0) return [text("Click an identifier, here or in the tables, and then another one.")];
  if (picked.length === 1) return [text("Picked: ", button(picked[0]), " Click another identifier.")];
  const both = [button(picked[0]), " and ", button(picked[1])];
  if (!explanation) return [text(...both, ": asking the service …")];
  if (explanation.owners) return [text(...both, ` belonged to two customers, ${explanation.owners.join(" and ")}.`)];
  if (!explanation.path.length) return [text(...both, ": no evidence leads from one to the other.")];
  const sets = (evidence) => list("ol", evidence.map((set) => setTold(set, button)));
  return [
    text(...both, ` belong to one customer, by ${count(explanation.path.length, "set")} of identifiers given together:`),
    sets(explanation.path),
    text(`To part them, ${count(explanation.weakestCut.length, "set")} at least would have to be wrong:`),
    sets(explanation.weakestCut),
  ];
}

function setTold(set, button) {
  const keys = (set.identifiers ?? []).map(keyOf);
  const identifiers = keys.flatMap((key, index) => [index ? " with " : "", button(key)]);
  if (!keys.length) identifiers.push(`contact ${set.name.replace(/^evidence\/l/, "")}`);
  const from = ` from ${originText(set)}${noteText(set)}, ${momentText(set.createTime)} (${set.name})`;
  return make("li", {}, ...identifiers, make("span", { className: "hint", textContent: from }));
}

/** Returns the customers of a moment, or the parts that remain without some evidence. */
export function partsText(parts, off, isKnown, isNow, button) {
  if (off && !isKnown) return [make("p", { textContent: "Asking the service …" })];
  const title = off
    ? `Without ${count(off, "set")} of evidence, ${count(parts.length, "part")} would remain.`
    : isNow
      ? "One customer. Switch evidence off in the table below to see what would fall apart."
      : `At that moment: ${count(parts.length, "customer")}.`;
  const rows = parts.length < 2 ? [] : parts.map((part, index) => partTold(part, index, button));
  return [make("p", { textContent: title }), ...(rows.length ? [list("ul", rows)] : [])];
}

function partTold({ primary, keys, contacts }, index, button) {
  const swatch = make("span", { className: "swatch" });
  swatch.style.background = colourOf(index);
  const more = keys.length > MOST ? `and ${keys.length - MOST} more identifiers` : "";
  const name = primary && primary !== "0" ? `Customer ${primary}` : "A customer without a contact";
  const title = ` ${name}, ${count(contacts.length, "contact")}: `;
  return make("li", { className: "part" }, swatch, title, ...keys.slice(0, MOST).map(button), more);
}

/** Returns a list of the first entries. */
function list(name, entries) {
  const shown = entries.slice(0, MOST);
  if (entries.length > MOST) shown.push(make("li", { textContent: `and ${entries.length - MOST} more` }));
  return make(name, {}, ...shown);
}
