// GraphiQL with the examples as tabs. Who is signed in on the page at / is signed in here too: in the headers of a tab
// `<page>` stands for the page's token, `<visitor>` for the token of the visitor that the page makes up.

import { mint } from "/assets/api.js";
import { openSession } from "/assets/session.js";

const VISITOR = "journey-gateway.visitor";
const EARLY_MS = 60_000;

const examples = JSON.parse(document.querySelector("#examples").textContent);
const url = location.origin + location.pathname;
const session = await openSession().catch(() => null);
let visitor = null;

async function pageToken() {
  if (!session) {
    throw new Error(
      "Nobody is signed in. Open the address that `journey-gateway page` prints and come back, " +
        "or put a credential into the Headers tab in place of the words in angle brackets.",
    );
  }
  if (session.expiresAt - Date.now() < EARLY_MS) await session.renew();
  return String(session);
}

async function visitorToken() {
  if (!visitor || visitor.expiresAt - Date.now() < EARLY_MS) {
    const anonymousId = sessionStorage.getItem(VISITOR) ?? crypto.randomUUID();
    sessionStorage.setItem(VISITOR, anonymousId);
    visitor = await mint({ anonymousId }, await pageToken());
  }
  return visitor.token;
}

async function filled(headers = {}) {
  const given = {};
  for (const [name, value] of Object.entries(headers)) {
    given[name] = String(value);
    if (given[name].includes("<page>")) given[name] = given[name].replace("<page>", await pageToken());
    if (given[name].includes("<visitor>")) given[name] = given[name].replace("<visitor>", await visitorToken());
  }
  return given;
}

const send = GraphiQL.createFetcher({ url, subscriptionUrl: url.replace(/^http/, "ws") });

async function fetcher(parameters, options = {}) {
  try {
    return await send(parameters, { ...options, headers: await filled(options.headers) });
  } catch (problem) {
    return { errors: [{ message: problem.words ?? problem.message }] };
  }
}

/** For completion and documentation, before anybody has signed in. */
async function readSchema() {
  const response = await fetch("/schema.graphql");
  return GraphiQL.GraphQL.buildSchema(await response.text(), { assumeValid: true });
}

const TABS = "graphiql:tabState";

/** As GraphiQL itself keeps them, which waits until half a second has passed without a change. */
function keepTabs(tabs) {
  const text = JSON.stringify(tabs, (key, value) => (key === "hash" || key === "response" ? null : value));
  try {
    sessionStorage.setItem(TABS, text);
  } catch {
    // It is full: the next visit opens what fitted last.
  }
}

/** What the address asks for, else the tab that was open before, else the first example. */
function shown() {
  const { query, variables } = Object.fromEntries(new URLSearchParams(location.search));
  const headers = examples[0].headers;
  if (query) return { query, variables, headers };
  // GraphiQL itself keeps the text apart, and a while later: after a quick leave it is of another tab.
  const { tabs, activeTabIndex } = JSON.parse(sessionStorage.getItem(TABS) ?? "{}");
  const open = tabs?.[activeTabIndex];
  return open ? { query: open.query ?? "", variables: open.variables ?? "", headers: open.headers ?? "" } : examples[0];
}

const schema = await readSchema();
const { query, variables, headers } = shown();

ReactDOM.createRoot(document.querySelector("#graphiql")).render(
  React.createElement(GraphiQL, {
    fetcher,
    schema,
    query,
    variables: variables ?? undefined,
    headers,
    defaultTabs: examples,
    onTabChange: keepTabs,
    defaultHeaders: examples[0].headers,
    defaultEditorToolsVisibility: true,
    isHeadersEditorEnabled: true,
    // As the page does: what is typed here lasts as long as the tab of the browser.
    storage: sessionStorage,
    shouldPersistHeaders: true,
    plugins: [GraphiQLPluginExplorer.explorerPlugin()],
  }),
);
