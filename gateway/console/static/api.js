// Queries and mutations: POST /graphql, and POST /v1/token. Whatever goes wrong becomes a Problem that reads as words.

export class Problem extends Error {
  /** `denied`: the credential does not open this (any more). `away`: it may work in a moment. */
  constructor(message, { hint = "", denied = false, away = false } = {}) {
    super(message);
    this.hint = hint;
    this.denied = denied;
    this.away = away;
  }

  get words() {
    return this.hint ? `${this.message} ${this.hint}` : this.message;
  }
}

/** The data of an operation; `variables` in place of its own. Throws Problem. */
export async function ask(operation, token, variables = operation.variables) {
  const { query } = operation;
  const { body } = await post("/graphql", { query, variables }, token);
  const [error] = body.errors ?? [];
  if (error) throw problemOf(error.message, error.extensions);
  return body.data;
}

/** `{token, expiresAt}` for `{code}` or, with the page's token, for `{anonymousId}`. Throws Problem. */
export async function mint(content, token) {
  const { body, ok } = await post("/v1/token", content, token);
  if (!ok) throw problemOf(body.message, body);
  return { token: body.token, expiresAt: Date.parse(body.expiresAt) };
}

async function post(path, content, token) {
  const headers = { "content-type": "application/json" };
  if (token) headers.authorization = `Bearer ${token}`;
  try {
    const response = await fetch(path, { method: "POST", headers, body: JSON.stringify(content) });
    return { body: await response.json(), ok: response.ok };
  } catch {
    throw new Problem("The gateway does not answer.", { hint: "Is it still running?", away: true });
  }
}

function problemOf(message = "The gateway answered with an error.", { code = "", hint = "" } = {}) {
  return new Problem(message, { hint, denied: ["UNAUTHENTICATED", "FORBIDDEN"].includes(code), away: code === "UNAVAILABLE" });
}
