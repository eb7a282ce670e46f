// What funnel, paths and retention have in common: a question is asked, its answer shown with the definition that the
// API gives it, and it is asked again as events come. An old answer stays while a new one is on its way.

import { ask } from "./api.js";
import { coalesced } from "./coalesce.js";
import { h, say } from "./dom.js";
import { exactTime, time } from "./format.js";
import { DAYS } from "./numbers.js";
import { panel } from "./panel.js";
import { whileSeen } from "./seen.js";
import { DataTable } from "./table.js";

const REFRESH_MS = 15_000;
// However long a question takes, the gateway has three times as long for others.
const REST = 3;

const noEvents = (why) =>
  `No events in the last ${DAYS} days: ${why}. Enter the shop on this page, or send events, and it fills by itself.`;

export class Question {
  #section;
  #token;
  #panel;
  #asked;
  #state = h("p", { class: "state", role: "status" }, "Reading…");
  #content = h("div", { class: "content", hidden: true });
  #definition = h("p", { class: "definition", hidden: true });
  #table = new DataTable();
  #shown = "";
  #refused = false;
  #refresh;

  /**
   * `field` names the answer in the data. Of an answer, `empty` says in words that there is nothing in it, or null;
   * `show(answer, content)` draws it; `table` gives `{caption, heads, rows}`.
   */
  constructor(section, token, { title, sub, label, operation, field, empty, show, table }) {
    this.#section = section;
    this.#token = token;
    this.#asked = { operation, field, empty, show, table };
    this.#panel = panel(section, { title, sub, data: this.#table, operations: [{ label, operation }] });
    this.#panel.body.append(this.#state, this.#content, this.#definition);
    this.#refresh = whileSeen(section, coalesced(() => this.#load(), REFRESH_MS, REST));
    section.setAttribute("aria-busy", "true");
    this.refresh();
  }

  /** Asks again, soon, if somebody looks. */
  refresh() {
    if (!this.#refused) this.#refresh();
  }

  async #load() {
    const { operation, field } = this.#asked;
    try {
      const data = await ask(operation, this.#token);
      this.#show(data[field]);
      this.#panel.show(null);
    } catch (problem) {
      this.#fail(problem);
    }
    this.#section.removeAttribute("aria-busy");
  }

  #fail(problem) {
    // A permission does not come by asking again.
    this.#refused = problem.denied === true;
    if (problem.away) setTimeout(() => this.refresh(), REFRESH_MS);
    // What is shown stays: it says as of when it is.
    this.#state.hidden = true;
    this.#panel.show(problem);
  }

  #show(answer) {
    const nothing = this.#asked.empty(answer);
    say(this.#state, nothing === null ? "" : noEvents(nothing));
    this.#state.hidden = nothing === null;
    this.#content.hidden = nothing !== null;
    this.#definition.hidden = false;
    this.#define(answer);
    if (nothing === null) this.#draw(answer);
  }

  #draw(answer) {
    const { show, table } = this.#asked;
    // Nothing flickers, and nothing under the pointer is replaced, as long as the numbers are the same.
    const { asOf, start, end, ...rest } = answer;
    const shown = JSON.stringify(rest);
    if (shown === this.#shown) return;
    this.#shown = shown;
    show(answer, this.#content);
    const { caption, heads, rows } = table(answer);
    this.#table.show(caption, heads, rows);
  }

  #define({ definition, asOf }) {
    const moment = h("time", { datetime: asOf, title: exactTime(asOf) }, time(asOf));
    this.#definition.replaceChildren(definition, " As of ", moment, ".");
  }
}
