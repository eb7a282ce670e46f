// The audits of graphql-http against a running gateway: `node audits.mjs URL AUTHORIZATION` prints them as JSON.

import { serverAudits } from "graphql-http";

const [url, authorization] = process.argv.slice(2);

const fetchFn = (address, options = {}) =>
  fetch(address, { ...options, headers: { ...options.headers, authorization } });

const results = [];
for (const audit of serverAudits({ url, fetchFn })) {
  const { status, reason } = await audit.fn();
  results.push({ id: audit.id, name: audit.name, status, reason });
}
console.log(JSON.stringify(results));
