// How live the page is. What was lost stands in words with its age, and what is shown stays on the page meanwhile.

import { h, say } from "./dom.js";
import { count, stopwatch } from "./format.js";

const NOTICE_MS = 20_000;
const WORDS = { connecting: "Connecting", live: "Live", lost: "Not live", denied: "Signed out" };

export class Banner {
  #pill;
  #words;
  #bar;
  #lostAt = null;
  #notice = "";
  #noticeUntil = 0;

  constructor(pill, words, bar) {
    this.#pill = pill;
    this.#words = words;
    this.#bar = bar;
    setInterval(() => this.#show(), 500);
  }

  state(state) {
    if (state !== "lost") this.#lostAt = null;
    else this.#lostAt ??= Date.now();
    this.#pill.dataset.state = state;
    say(this.#words, WORDS[state]);
    this.#show();
  }

  /** A gap: what happened cannot be had any more. */
  gap({ missed }) {
    const many = missed === null ? "" : ` (up to ${count(missed)})`;
    this.#notice = `Some live updates could not be had any more${many}; everything shown has been read again.`;
    this.#noticeUntil = Date.now() + NOTICE_MS;
    this.#show();
  }

  #show() {
    const noticed = Date.now() < this.#noticeUntil;
    this.#bar.hidden = this.#lostAt === null && !noticed;
    if (this.#bar.hidden) return;
    if (!this.#bar.firstChild) this.#bar.append(h("p", {}));
    const lost = this.#lostAt === null ? "" : `Live updates lost ${stopwatch(this.#lostAt)} ago, retrying. What you see is from before.`;
    say(this.#bar.firstChild, [lost, noticed ? this.#notice : ""].filter(Boolean).join(" "));
  }
}
