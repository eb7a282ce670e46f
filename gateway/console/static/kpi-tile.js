// One KPI as a tile: its value with the interval, how many it is from, its target, what is to be said of it.

import { ask } from "./api.js";
import { copyAsGraphQL } from "./copy.js";
import { h, say } from "./dom.js";
import { amount, bare, count, exactTime, interval, time } from "./format.js";
import { ENOUGH, judged } from "./judging.js";
import { operations } from "./queries.js";
import { Scale } from "./scale.js";

const MARKS = { good: "●", even: "◐", warning: "▲", critical: "■", none: "" };
const WITHOUT = { PLANNED: "Planned: nothing computes it yet.", BROKEN: "Broken: " };

export class KpiTile {
  #kpi;
  #operation;
  #result = null;
  #kind = "none";
  #value = h("strong", { class: "value" }, "…");
  #interval = h("span", { class: "interval" });
  #mark = h("span", { class: "mark", "aria-hidden": true });
  #words = h("span", {});
  #scale = new Scale();
  #definition = h("span", {});
  #moment = h("time", {});
  #problem = h("p", { class: "problem", hidden: true });

  /** `kpi`: as `kpis` of the API gives it, without a result. */
  constructor(kpi) {
    this.#kpi = kpi;
    this.#operation = { ...operations.kpiResult, variables: { ...operations.kpiResult.variables, key: kpi.key } };
    say(this.#definition, kpi.definition);
    const label = h("h3", { id: `tile-${kpi.key}` }, kpi.question);
    this.element = h("article", { class: "tile", "data-kpi": kpi.key, "aria-labelledby": label.id },
      label,
      h("p", { class: "figure" }, this.#value, h("span", {}, this.#interval, h("span", { class: "verdict" }, this.#mark, this.#words))),
      this.#scale.element,
      // Two lines of it; all of it when it is opened.
      h("details", { class: "definition" }, h("summary", {}, h("span", {}, this.#definition, this.#moment))),
      this.#problem,
      this.isLive && copyAsGraphQL([{ label: "This KPI", operation: this.#operation }]));
    if (!this.isLive) this.#without();
  }

  get isLive() {
    return this.#kpi.status === "LIVE";
  }

  get key() {
    return this.#kpi.key;
  }

  /** Asks for the value; what changed of its status in words, or null. */
  async load(token) {
    try {
      const { kpi } = await ask(this.#operation, token);
      this.#problem.hidden = true;
      return kpi === null ? null : this.#show(kpi.result);
    } catch (problem) {
      // The value stays: it says as of when it is.
      if (this.#result === null) say(this.#value, "–");
      this.#problem.hidden = false;
      say(this.#problem, problem.words ?? problem.message);
      return null;
    }
  }

  /** Its row in the table of all KPIs. */
  get row() {
    const { question, unit, target } = this.#kpi;
    const write = (number) => amount(number, unit);
    const { value = null, n = null, low = null, high = null } = this.#result ?? {};
    return [question, write(value), interval({ low, high }, (number) => bare(number, unit)), n === null ? "–" : count(n),
      target === null ? "–" : write(target), this.#words.textContent || "–", this.#result?.definition ?? this.#kpi.definition];
  }

  #without() {
    say(this.#value, "–");
    say(this.#words, WITHOUT[this.#kpi.status] + (this.#kpi.statusReason ?? ""));
    this.#mark.dataset.kind = "none";
  }

  #show(result) {
    const { unit, target, question } = this.#kpi;
    const { value, n, open, definition, asOf } = result;
    const write = (number) => amount(number, unit);
    const first = this.#result === null;
    const few = n < ENOUGH;
    this.#result = result;
    this.element.classList.toggle("few", few);
    say(this.#value, write(value));
    const waiting = open ? ` · ${count(open)} not to be judged yet` : "";
    const sure = few || result.low === null ? "" : `95% interval ${interval(result, (number) => bare(number, unit))} · `;
    say(this.#interval, `${sure}n\u00a0=\u00a0${count(n)}${waiting}`);
    const { kind, words } = judged(this.#kpi, result);
    say(this.#mark, MARKS[kind] && `${MARKS[kind]} `);
    this.#mark.dataset.kind = kind;
    say(this.#words, value === null ? "Nothing to count yet." : words);
    this.#scale.show(few ? { value: null } : result, target);
    say(this.#definition, `${definition.replace(/\.$/, "")}; as of `);
    this.#moment.dateTime = asOf;
    this.#moment.title = exactTime(asOf);
    say(this.#moment, `${time(asOf)}.`);
    const changed = !first && kind !== this.#kind;
    this.#kind = kind;
    return changed && words ? `${question} ${words}` : null;
  }
}
