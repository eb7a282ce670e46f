// What changes is also said to screen readers: politely, in one sentence, at most once in 30 seconds.

const EVERY_MS = 30_000;

export class Announcer {
  #region;
  #moves = 0;
  #goals = 0;
  #own = "";
  #last = -Infinity;

  constructor(region) {
    this.#region = region;
    setInterval(() => this.#speak(), 1000);
  }

  moved(completed) {
    this.#moves += 1;
    if (completed) this.#goals += 1;
  }

  /** The visitor's own journey: said first, and only the newest. */
  own(sentence) {
    this.#own = sentence;
  }

  #speak() {
    const now = performance.now();
    if (now - this.#last < EVERY_MS || !(this.#own || this.#moves)) return;
    const crowd = this.#moves ? `Moves on the map: ${this.#moves}; journeys completed: ${this.#goals}.` : "";
    this.#region.textContent = [this.#own, crowd].filter(Boolean).join(". ");
    this.#last = now;
    this.#own = "";
    this.#moves = this.#goals = 0;
  }
}
