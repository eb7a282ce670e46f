// One visitor of the shop: an anonymousId of its own, a token that opens this one journey, and its journey, live.

import { ask, mint } from "./api.js";
import { coalesced } from "./coalesce.js";
import { Live } from "./live.js";
import { operations } from "./queries.js";

const KEY = "journey-gateway.visitor";
const REFRESH_MS = 60;
// Should a live message be late or missing, the journey is read all the same.
const FALLBACK_MS = [800, 2500];
const RETRY_MS = 1500;

export class Visitor {
  #pageToken;
  #tell;
  #token = null;
  #expiresAt = 0;
  #live = null;
  #queue = Promise.resolve();
  #shown = null;
  #clicked = 0;
  #visit = 0;

  #refresh = coalesced(() => this.#load(), REFRESH_MS);

  /** `onJourney(journey, ms)`: ms since the click that moved it, or null. `onSent({event, verdict, ms})`. */
  constructor(pageToken, { onUser, onJourney, onSent, onProblem }) {
    this.#pageToken = pageToken;
    this.#tell = { onUser, onJourney, onSent, onProblem };
  }

  /** Whether this tab has been a visitor already. */
  get isBack() {
    return sessionStorage.getItem(KEY) !== null;
  }

  /** Mints a token unless there is one that is still good. Throws Problem. */
  async enter() {
    if (Date.now() < this.#expiresAt - 30_000) return;
    const anonymousId = sessionStorage.getItem(KEY) ?? newId();
    sessionStorage.setItem(KEY, anonymousId);
    const { token, expiresAt } = await mint({ anonymousId }, this.#pageToken);
    this.#token = token;
    this.#expiresAt = expiresAt;
    this.#live?.close();
    this.#live = new Live(token, (state) => state === "live" && this.#refresh());
    this.#live.subscribe(operations.journeyChanged, ({ user }) => {
      if (user) this.#tell.onUser(user.id);
      this.#refresh();
    });
  }

  /** Sends an event; one after the other, so that they are stored in the order of the clicks. */
  track(event, properties) {
    // With an id of its own an event may be sent again: it is stored once.
    const input = { event, properties, messageId: newId() };
    const clicked = performance.now();
    const visit = this.#visit;
    this.#queue = this.#queue.then(async () => {
      while (visit === this.#visit && !(await this.#send(input, clicked))) {
        await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
      }
    });
  }

  /** Forgets who this was; the next `enter` is somebody new. */
  leave() {
    this.close();
    this.#visit += 1;
    sessionStorage.removeItem(KEY);
    this.#token = this.#shown = null;
    this.#expiresAt = 0;
  }

  close() {
    this.#live?.close();
    this.#live = null;
  }

  /** Whether that was the end of it: false while the gateway is away. */
  async #send(input, clicked) {
    try {
      await this.enter();
      // Before the answer: the live message may well be quicker.
      this.#clicked = clicked;
      const { track } = await ask(operations.track, this.#token, { input });
      const [error] = track.errors;
      if (error) throw new Error([error.message, error.hint].filter(Boolean).join(" "));
      this.#tell.onSent({ event: input.event, verdict: track.verdict, ms: performance.now() - clicked });
      for (const pause of FALLBACK_MS) setTimeout(this.#refresh, pause);
    } catch (problem) {
      this.#tell.onProblem(problem);
      return !problem.away;
    }
    return true;
  }

  async #load() {
    const token = this.#token;
    if (token === null) return;
    try {
      const { me } = await ask(operations.myJourney, token);
      // The answer may be about somebody who has left meanwhile.
      if (me === null || token !== this.#token) return;
      this.#tell.onProblem(null);
      this.#tell.onUser(me.id);
      const text = JSON.stringify(me.journey);
      if (text === this.#shown) return;
      this.#shown = text;
      this.#tell.onJourney(me.journey, this.#clicked ? performance.now() - this.#clicked : null);
      this.#clicked = 0;
    } catch (problem) {
      this.#tell.onProblem(problem);
    }
  }
}

// randomUUID exists on https and on this machine only.
function newId() {
  if (crypto.randomUUID) return crypto.randomUUID();
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}
