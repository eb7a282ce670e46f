// One KPI: its question, its value with the interval that says how sure it is, and what exactly was counted.

import { ask } from "./api.js";
import { coalesced } from "./coalesce.js";
import { h, say } from "./dom.js";
import { amount, bare, count, exactTime, interval, share, time } from "./format.js";
import { ENOUGH, judged } from "./judging.js";
import { DAYS } from "./numbers.js";
import { panel } from "./panel.js";
import { operations } from "./queries.js";
import { Scale } from "./scale.js";
import { DataTable } from "./table.js";

// Evaluating reads eight weeks of events: every few seconds is live enough for a number that moves by tenths.
const REFRESH_MS = 8000;

export class KpiPanel {
  #token;
  #panel;
  #value = h("strong", { class: "value" });
  #interval = h("span", { class: "interval" });
  #scale = new Scale();
  #verdict = h("span", { class: "verdict" });
  #steps = h("ol", { class: "funnel" });
  #definition = h("p", { class: "definition" });
  #data = new DataTable();

  /** Which it is. */
  key = operations.conversion.variables.key;

  /** Asks for the value again. */
  refresh = coalesced(() => this.#load(), REFRESH_MS);

  constructor(section, token) {
    this.#token = token;
    this.#panel = panel(section, {
      title: "Purchase conversion",
      data: this.#data,
      operations: [{ label: "The KPI over eight weeks", operation: operations.conversion }],
    });
    this.#panel.body.append(
      h("p", { class: "figure" }, this.#value, h("span", {}, this.#interval, this.#verdict)), this.#scale.element, this.#steps, this.#definition);
    this.refresh();
  }

  async #load() {
    try {
      const { kpi } = await ask(operations.conversion, this.#token);
      if (kpi === null) throw new Error("The contract has no KPI with the key “purchase_conversion”.");
      this.#show(kpi);
      this.#panel.show(null);
    } catch (problem) {
      this.#panel.show(problem);
    }
  }

  #show(kpi) {
    const { question, unit, definition, target, result } = kpi;
    const { value, n, asOf, steps } = result;
    const write = (number) => amount(number, unit);
    const few = n < ENOUGH;
    this.#panel.title(question);
    this.#panel.body.classList.toggle("few", few);
    say(this.#value, write(value));
    say(this.#interval, few || result.low === null ? `n = ${count(n)}` : `95% interval ${interval(result, (number) => bare(number, unit))} · n = ${count(n)}`);
    say(this.#verdict, judged(kpi, result).words);
    this.#scale.show(few ? { value: null } : result, target);
    this.#steps.replaceChildren(...steps.map((step, index) => bar(step, steps[0], steps[index - 1])));
    const moment = h("time", { datetime: asOf, title: exactTime(asOf) }, time(asOf));
    this.#definition.replaceChildren(definition.replace(/\.$/, ""), `; last ${DAYS} days, as of `, moment, ".");
    this.#data.show(question, ["Step", "People", "Of those before"], steps.map(({ label, users }, index) =>
      [label, count(users), (index && share(users, steps[index - 1].users)) || "–"]));
  }
}

function bar({ label, users }, first, before) {
  const fill = h("i", { "aria-hidden": true });
  fill.style.inlineSize = `${first.users ? (100 * users) / first.users : 0}%`;
  return h("li", {},
    h("span", { class: "step-label" }, label),
    h("span", { class: "step-bar" }, fill),
    h("span", { class: "step-users" }, count(users), before && h("small", {}, ` ${share(users, before.users) ?? "–"} of those`)));
}
