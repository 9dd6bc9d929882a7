// The calls of the JSON API. A token is kept here alone, until the page is closed.

const PAGE_SIZE = 1000;
/** The page reads so many entries of a list at most. */
export const MOST = 5000;
const PATIENCE = 30_000; // milliseconds

let token = "";

/** Takes the token of the calls that follow; an empty one is none. */
export function useToken(text) {
  token = text.trim();
}

/** A call that failed, with a text for the reader. `needsToken`: another token may help. */
export class CallError extends Error {
  constructor(text, { status = 0, reason = "" } = {}) {
    super(text);
    this.reason = reason;
    this.needsToken = status === 401 || reason === "SCOPE_MISSING";
  }
}

/** Returns the identity that a contact belongs to. */
export async function getIdentity(name) {
  const answer = await call("GET", `/v1/${name}`);
  return answer.identity;
}

/** Returns the identity that owns an identifier, `undefined` if none does. */
export async function lookUp(identifier) {
  const answer = await call("POST", "/v1/identities:lookup", { identifiers: [identifier] });
  return answer.identities?.[0];
}

/** Returns the entries of a list of an identity, `contacts`, `evidence` or `revisions`, and whether there are more. */
export async function list(name, what) {
  const entries = [];
  let next = "";
  do {
    const query = new URLSearchParams({ pageSize: PAGE_SIZE });
    if (next) query.set("pageToken", next);
    const page = await call("GET", `/v1/${name}/${what}?${query}`);
    for (const entry of page[what] ?? []) entries.push(entry);
    next = page.nextPageToken;
  } while (next && entries.length < MOST);
  return { entries: entries.slice(0, MOST), hasMore: Boolean(next) || entries.length > MOST };
}

/** Returns why an identity is one, or what it would be without some evidence. */
export function explain(name, request) {
  return call("POST", `/v1/${name}:explain`, request);
}

async function call(method, path, body) {
  const headers = { accept: "application/json" };
  if (token) headers.authorization = `Bearer ${token}`;
  if (body) headers["content-type"] = "application/json";
  const options = { method, headers, body: body && JSON.stringify(body), cache: "no-store", credentials: "omit" };
  let response;
  let answer;
  try {
    response = await fetch(path, { ...options, signal: AbortSignal.timeout(PATIENCE) });
    answer = await response.json();
  } catch (error) {
    const isLate = error.name === "TimeoutError";
    throw new CallError(isLate ? "The service did not answer in 30 seconds." : "The service cannot be reached.");
  }
  if (response.ok) return answer;
  const { status } = response;
  const reason = answer.details?.find((detail) => detail.reason)?.reason ?? "";
  const text = explanation(status, reason, answer.message, response.headers.get("retry-after"));
  throw new CallError(text, { status, reason });
}

/** Returns what a failed call means, in a sentence. Messages of the service quote no value. */
function explanation(status, reason, message, retryAfter) {
  if (status === 401) {
    return token
      ? "The service does not know this token."
      : "The service wants a token of a caller with the scope read.";
  }
  if (reason === "SCOPE_MISSING") return "The caller of this token lacks the scope read.";
  if (reason === "ORIGIN_NOT_ALLOWED") return "The host name in the address bar is not in HTTP_HOST_NAMES.";
  if (reason === "IDENTITY_UNKNOWN") return "No customer has a contact with this id.";
  const again = retryAfter ? ` Try again in ${retryAfter} s.` : " Try again later.";
  if (status === 429) return `The service has too many requests.${again}`;
  if (status === 503 || status === 504) return `The service cannot answer now: ${message}.${again}`;
  return `The service refused the call: ${message ?? status}.`;
}
