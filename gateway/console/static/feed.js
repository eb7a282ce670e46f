// The last events, as they are stored. Paused, it goes on counting and keeping them.

import { ask } from "./api.js";
import { coalesced } from "./coalesce.js";
import { h, say } from "./dom.js";
import { count, exactTime, shortId, since, time } from "./format.js";
import { panel } from "./panel.js";
import { operations } from "./queries.js";

const KEPT = 200;
const SHOW_MS = 150;

export class FeedPanel {
  #token;
  #panel;
  #list = h("ol", { class: "events", tabindex: 0, "aria-label": "Events, the newest first" });
  #state = h("p", { class: "feed-state" });
  #pause = h("button", { type: "button", class: "quiet", "aria-pressed": "false" }, "Pause");
  #waiting = [];
  #paused = false;
  #missed = 0;
  #last = null;
  #ownUser = null;
  #soon = coalesced(() => this.#flush(), SHOW_MS);

  constructor(section, token) {
    this.#token = token;
    this.#pause.onclick = () => this.#toggle();
    this.#panel = panel(section, {
      title: "What has just happened?",
      actions: [this.#pause],
      operations: [
        { label: "The last events", operation: operations.lastEvents },
        { label: "New events, live", operation: operations.eventStored },
      ],
    });
    this.#panel.body.append(this.#state, this.#list);
    setInterval(() => this.#tell(), 1000);
    this.load();
  }

  /** Reads the list afresh: at the start, and when live updates have a gap. */
  async load() {
    try {
      const { events } = await ask(operations.lastEvents, this.#token);
      this.#list.replaceChildren(...events.nodes.map((event) => this.#row(event)));
      this.#last = events.nodes[0]?.at ?? null;
      this.#panel.show(null);
    } catch (problem) {
      this.#panel.show(problem);
    }
    this.#tell();
  }

  /** A message of `eventStored`. */
  stored({ event }) {
    if (!event) return;
    this.#last = new Date().toISOString();
    this.#waiting.push(event);
    if (this.#waiting.length > KEPT) this.#waiting.shift();
    if (this.#paused) this.#missed += 1;
    else this.#soon();
  }

  /** Whose events are marked as the visitor's own. */
  ownUser(id) {
    if (id === this.#ownUser) return;
    this.#ownUser = id;
    for (const mark of this.#list.querySelectorAll(".who")) {
      if (mark.title === id) mark.replaceWith(h("span", { class: "tag" }, "you"));
    }
  }

  #flush() {
    if (this.#paused) return;
    const rows = this.#waiting.splice(0).reverse().map((event) => this.#row(event, true));
    this.#list.prepend(...rows);
    while (this.#list.children.length > KEPT) this.#list.lastChild.remove();
    this.#tell();
  }

  #toggle() {
    this.#paused = !this.#paused;
    this.#pause.setAttribute("aria-pressed", String(this.#paused));
    say(this.#pause, this.#paused ? "Go on" : "Pause");
    if (!this.#paused) {
      this.#missed = 0;
      this.#flush();
    }
    this.#tell();
  }

  #tell() {
    const quiet = this.#last === null ? "none so far" : `last event ${since(this.#last)}`;
    const recent = this.#last !== null && Date.now() - new Date(this.#last) < 10_000;
    if (this.#paused) say(this.#state, `Paused: ${count(this.#missed)} new`);
    else say(this.#state, recent ? "Live, the newest first" : `Waiting for events… ${quiet}`);
  }

  #row({ id, name, at, user }, fresh = false) {
    const own = user !== null && user.id === this.#ownUser;
    return h("li", { class: fresh ? "fresh" : null, "data-event": id },
      h("time", { datetime: at, title: exactTime(at) }, time(at)),
      h("span", { class: "event-name" }, name),
      own ? h("span", { class: "tag" }, "you") : h("span", { class: "who", title: user?.id }, user ? shortId(user.id) : "new"));
  }
}
