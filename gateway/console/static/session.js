// The page's credential: a one-time code in the address is exchanged for a token, which lives as long as this tab.

import { mint } from "./api.js";

const KEY = "journey-gateway.page";

let code = null;

/** Stands for its token wherever one is written, also after the token has been renewed. */
class Session {
  constructor({ token, expiresAt }) {
    Object.assign(this, { token, expiresAt });
  }

  toString() {
    return this.token;
  }

  /** Exchanges the token for the next one. Throws Problem. */
  async renew() {
    Object.assign(this, await mint({ renew: true }, this.token));
    keep(this);
  }
}

/** The Session, or null when a fresh address is needed. Throws Problem when the gateway does not answer. */
export async function openSession() {
  const given = new URLSearchParams(location.hash.slice(1)).get("code");
  if (given !== null) {
    code = given;
    // At once, so that the code is neither bookmarked nor seen over a shoulder; it opens nothing a second time.
    history.replaceState(null, "", location.pathname + location.search);
  }
  if (code === null) return kept();
  try {
    const session = new Session(await mint({ code }));
    keep(session);
    code = null;
    return session;
  } catch (problem) {
    if (!problem.denied) throw problem;
    code = null;
    // An old address in a tab that is signed in already does no harm.
    return kept();
  }
}

export function forgetSession() {
  sessionStorage.removeItem(KEY);
}

function keep({ token, expiresAt }) {
  sessionStorage.setItem(KEY, JSON.stringify({ token, expiresAt }));
}

function kept() {
  try {
    const session = JSON.parse(sessionStorage.getItem(KEY));
    return session?.expiresAt > Date.now() ? new Session(session) : null;
  } catch {
    return null;
  }
}
