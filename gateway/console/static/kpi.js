// One KPI: its question, its value with the interval that says how sure it is, and what exactly was counted.

import { ask } from "./api.js";
import { coalesced } from "./coalesce.js";
import { h, say } from "./dom.js";
import { count, decimal, exactTime, share, time } from "./format.js";
import { panel } from "./panel.js";
import { operations } from "./queries.js";

// Evaluating reads eight weeks of events: every few seconds is live enough for a number that moves by tenths.
const REFRESH_MS = 8000;
const ENOUGH = 30;

export class KpiPanel {
  #token;
  #panel;
  #value = h("strong", { class: "value" });
  #interval = h("span", { class: "interval" });
  #scale = h("div", { class: "scale", "aria-hidden": true }, h("i", { class: "range" }), h("i", { class: "point" }), h("i", { class: "target" }));
  #verdict = h("span", { class: "verdict" });
  #steps = h("ol", { class: "funnel" });
  #definition = h("p", { class: "definition" });

  /** Asks for the value again. */
  refresh = coalesced(() => this.#load(), REFRESH_MS);

  constructor(section, token) {
    this.#token = token;
    this.#panel = panel(section, {
      title: "Purchase conversion",
      operations: [{ label: "The KPI over eight weeks", operation: operations.conversion }],
    });
    this.#panel.body.append(
      h("p", { class: "figure" }, this.#value, h("span", {}, this.#interval, this.#verdict)), this.#scale, this.#steps, this.#definition);
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

  #show({ question, unit, definition, target, result }) {
    const { value, n, low, high, asOf, steps } = result;
    const sign = unit === "percent" ? " %" : ` ${unit}`;
    const few = n < ENOUGH;
    this.#panel.title(question);
    this.#panel.body.classList.toggle("few", few);
    say(this.#value, value === null ? "–" : decimal(value) + sign);
    say(this.#interval, few || low === null
      ? `n = ${count(n)}`
      : `95 % interval ${decimal(low)} to ${decimal(high)}${sign} · n = ${count(n)}`);
    say(this.#verdict, few ? "n < 30: too few to tell." : judge(value, low, high, target, sign));
    this.#draw(few ? null : value, low, high, target);
    this.#steps.replaceChildren(...steps.map((step, index) => bar(step, steps[0], steps[index - 1])));
    const moment = h("time", { datetime: asOf, title: exactTime(asOf) }, time(asOf));
    this.#definition.replaceChildren(definition.replace(/\.$/, ""), "; last 56 days, as of ", moment, ".");
  }

  #draw(value, low, high, target) {
    this.#scale.hidden = value === null || low === null || high === null;
    if (this.#scale.hidden) return;
    // The scale leaves room around what it shows, and begins at 0.
    const end = Math.max(high, target ?? 0) * 1.25 || 1;
    const [range, point, goal] = this.#scale.children;
    const at = (number) => `${(100 * number) / end}%`;
    range.style.left = at(low);
    range.style.width = at(high - low);
    point.style.left = at(value);
    goal.hidden = target === null;
    goal.style.left = at(target ?? 0);
  }
}

// The interval decides, not the value: within it, the difference may be chance.
function judge(value, low, high, target, sign) {
  if (target === null || value === null) return "";
  const goal = `the target of ${decimal(target)}${sign}`;
  if (low > target) return `Above ${goal}.`;
  if (high < target) return `Below ${goal}.`;
  return `No clear difference from ${goal}.`;
}

function bar({ label, users }, first, before) {
  const fill = h("i", { "aria-hidden": true });
  fill.style.width = `${first.users ? (100 * users) / first.users : 0}%`;
  return h("li", {},
    h("span", { class: "step-label" }, label),
    h("span", { class: "step-bar" }, fill),
    h("span", { class: "step-users" }, count(users), before && h("small", {}, ` ${share(users, before.users) ?? "–"} of those`)));
}
