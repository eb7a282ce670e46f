// The funnel of the purchase map: who got how far, and how many stopped where.

import { h, say } from "./dom.js";
import { count, duration, fraction, interval } from "./format.js";
import { operations } from "./queries.js";
import { Question } from "./question.js";

export class FunnelPanel extends Question {
  constructor(section, token) {
    const steps = new Steps();
    super(section, token, {
      title: "Where do shoppers give up?",
      sub: "The way of the purchase map, step by step. Who still has time is in no share.",
      label: "The funnel",
      operation: operations.purchaseFunnel,
      field: "funnel",
      empty: ({ funnel }) => (funnel.entered ? null
        : `nobody has begun with “${funnel.steps[0].label}”`),
      show: ({ funnel }, content) => steps.show(funnel, content),
      table,
    });
  }
}

class Steps {
  #list = h("ol", { class: "drops" });
  #rows = new Map();

  show({ entered, steps }, content) {
    if (!this.#list.isConnected) content.append(this.#list);
    const labels = steps.map(({ number, label }) => `${number} ${label}`);
    if (labels.join() !== [...this.#rows.keys()].join()) this.#build(steps, labels);
    steps.forEach((step, index) => this.#fill(this.#rows.get(labels[index]), step, entered, steps[index + 1]));
  }

  #build(steps, labels) {
    this.#rows = new Map(labels.map((key, index) => [key, row(steps[index])]));
    this.#list.replaceChildren(...[...this.#rows.values()].map((parts) => parts.element));
  }

  #fill(parts, step, entered, next) {
    say(parts.reached, count(step.reached));
    say(parts.share, step.number > 1 ? ` ${fraction(step.ofFirst.value)}` : "");
    // From the start of the line, so that it is the same when read from right to left.
    parts.bar.style.inlineSize = `${(100 * step.reached) / entered}%`;
    parts.left.style.inlineSize = `${(100 * (step.dropped ?? 0)) / entered}%`;
    say(parts.note, next ? left(step, next) : "");
    parts.note.hidden = !next;
  }
}

function row({ label }) {
  const parts = {
    reached: h("strong", {}),
    share: h("small", {}),
    bar: h("i", { class: "got" }),
    left: h("i", { class: "gone" }),
    note: h("p", { class: "drop" }),
  };
  parts.element = h("li", {},
    h("span", { class: "step-label" }, label),
    h("span", { class: "step-users" }, parts.reached, parts.share),
    h("span", { class: "drop-bar", "aria-hidden": true }, h("span", {}, parts.bar), h("span", {}, parts.left)),
    parts.note);
  return parts;
}

function left({ dropped, open }, { ofPrevious: { value } }) {
  const gone = `${count(dropped ?? 0)} stopped here (${fraction(value === null ? null : 1 - value)})`;
  return open ? `${gone}; ${count(open)} still have time` : gone;
}

function table({ funnel }) {
  return {
    caption: "How many reached each step, and how many stopped there",
    heads: ["Step", "Reached", "Of the first", "95% interval", "Of the one before", "Stopped here", "Still have time", "Median time since the one before"],
    rows: funnel.steps.map((step) => [
      step.label, count(step.reached), fraction(step.ofFirst.value), interval(step.ofFirst, fraction),
      step.number > 1 ? fraction(step.ofPrevious.value) : "–", step.dropped === null ? "–" : count(step.dropped),
      step.open === null ? "–" : count(step.open), duration(step.sincePrevious.p50),
    ]),
  };
}
