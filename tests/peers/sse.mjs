// The published clients of graphql-sse and graphql-ws side by side: `node sse.mjs URL AUTHORIZATION`.
//
// Subscribes over a stream of its own, over a shared stream and over a WebSocket; when all three have heard their first
// message it prints `ready`. Each line that then comes in is a number of messages to wait for; what each of them
// heard is printed as one line of JSON. A subscription that is cut off goes on behind the last cursor.

import { createInterface } from "node:readline";

import { createClient as createStreamClient } from "graphql-sse";
import { createClient as createSocketClient } from "graphql-ws";
import WebSocket from "ws";

const [url, authorization] = process.argv.slice(2);
const query = `subscription Watch($after: Cursor) {
  eventStored(after: $after) { cursor event { id name } }
}`;
const retry = async () => new Promise((resolve) => setTimeout(resolve, 100));

function stream(singleConnection) {
  return createStreamClient({ url, singleConnection, headers: { authorization }, retryAttempts: 100, retry });
}

const clients = {
  distinct: stream(false),
  single: stream(true),
  socket: createSocketClient({
    url: url.replace("http", "ws"),
    webSocketImpl: WebSocket,
    connectionParams: { authorization },
    retryAttempts: 100,
    retryWait: retry,
    shouldRetry: () => true,
  }),
};
const heard = { distinct: [], single: [], socket: [] };
const begun = new Set();
const waiting = [];

for (const [name, client] of Object.entries(clients)) {
  // Read when a connection is made, also when it is made again.
  const variables = { after: null };
  client.subscribe(
    { query, variables },
    {
      next({ data, errors }) {
        if (errors) throw new Error(JSON.stringify(errors));
        begun.add(name);
        variables.after = data.eventStored.cursor;
        if (data.eventStored.event) heard[name].push(data.eventStored.event);
        tell();
      },
      error(problem) {
        console.error(name, problem);
        process.exit(1);
      },
      complete() {
        console.error(name, "completed");
        process.exit(1);
      },
    },
  );
}

function tell() {
  if (begun.size === 3 && begun.add("told")) console.log("ready");
  while (waiting.length && Object.values(heard).every((events) => events.length >= waiting[0])) {
    waiting.shift();
    console.log(JSON.stringify(heard));
  }
}

createInterface({ input: process.stdin })
  .on("line", (count) => {
    waiting.push(Number(count));
    tell();
  })
  .on("close", () => process.exit(0));
