// A complete Node client of the identity service.
//
//     node identify.mjs HOST:PORT PROTO_FOLDER
//
// It calls Identify and BatchIdentify, and checks every answer. It generates no code: it loads the proto at run time.
// PROTO_FOLDER is the folder proto/ of the repository.

import { isDeepStrictEqual, promisify } from "node:util";

import { Metadata, credentials, loadPackageDefinition, status } from "@grpc/grpc-js";
import { loadSync } from "@grpc/proto-loader";

// Milliseconds. The service gives up a little earlier, so that the caller gets its status.
const TIMEOUT = 10_000;

function connect(address, protoFolder) {
  const files = ["identity/v1/identity_service.proto", "google/rpc/error_details.proto"];
  const definition = loadSync(files, {
    includeDirs: [protoFolder],
    longs: String, // An id can be larger than a JavaScript number holds.
    enums: String,
    defaults: true,
    oneofs: true,
    json: true, // Decodes the details of errors.
  });
  const { IdentityService } = loadPackageDefinition(definition).identity.v1;
  return new IdentityService(address, credentials.createInsecure());
}

// Returns a function that calls a method and waits for its answer.
function caller(service, method) {
  const call = promisify(service[method].bind(service));
  return (request) => call(request, new Metadata(), { deadline: Date.now() + TIMEOUT });
}

function check(what, got, expected) {
  if (!isDeepStrictEqual(got, expected)) {
    throw new Error(`${what}: expected ${JSON.stringify(expected)}, got ${JSON.stringify(got)}`);
  }
}

async function main(service) {
  const identify = caller(service, "Identify");
  const batchIdentify = caller(service, "BatchIdentify");

  // A new customer.
  const created = await identify({ email: "emmett@node.example", phoneNumber: "886 001" });
  check("the first outcome", created.outcome, "OUTCOME_CREATED");
  check("the first e-mails", created.contact.emails, ["emmett@node.example"]);
  check("the first phone numbers", created.contact.phoneNumbers, ["886001"]);

  // The same customer with another e-mail address: the phone number links it.
  const linked = await identify({ email: "doc@node.example", phoneNumber: "886001" });
  check("the second outcome", linked.outcome, "OUTCOME_LINKED");
  check("the primary", linked.contact.primaryContactId, created.contact.primaryContactId);
  check("the second e-mails", linked.contact.emails, ["emmett@node.example", "doc@node.example"]);
  check("the number of secondaries", linked.contact.secondaryContactIds.length, 1);
  // A very large identity may be truncated. Then contactCount says how many contacts it has.
  check("whether it is truncated", linked.contact.truncated, false);
  check("the number of contacts", linked.contact.contactCount, 2);

  // The answer that a request would get. Nothing is written.
  const foreseen = await identify({ email: "new@node.example", validateOnly: true });
  check("the outcome that would be", foreseen.outcome, "OUTCOME_CREATED");

  // Several requests in one call. An invalid item does not affect the others.
  const { results } = await batchIdentify({
    requests: [{ email: "doc@node.example" }, { email: "nobody" }, { email: "clara@node.example" }],
  });
  check("the number of results", results.length, 3);
  const [known, invalid, added] = results;
  check("the outcome of a known item", known.response?.outcome, "OUTCOME_MATCHED");
  check("the kind of the invalid item", invalid.result, "error");
  check("the code of the invalid item", invalid.error.code, status.INVALID_ARGUMENT);
  check("the reason of the invalid item", invalid.error.details[0].reason, "IDENTIFIER_INVALID");
  check("the outcome of a new item", added.response?.outcome, "OUTCOME_CREATED");

  // An invalid e-mail address.
  const error = await identify({ email: "nobody" }).then(
    () => null,
    (error) => error,
  );
  check("the code of an invalid e-mail", error?.code, status.INVALID_ARGUMENT);
}

if (process.argv.length !== 4) {
  console.error("usage: node identify.mjs HOST:PORT PROTO_FOLDER");
  process.exit(2);
}
const service = connect(process.argv[2], process.argv[3]);
try {
  await main(service);
} catch (error) {
  console.error(`identify.mjs: ${error.message}`);
  process.exitCode = 1;
} finally {
  service.close();
}
