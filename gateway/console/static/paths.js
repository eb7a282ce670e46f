// What visitors do after they see a list of products: a Sankey diagram, and where that has no room a ranked list.

import { h } from "./dom.js";
import { count, share } from "./format.js";
import { operations } from "./queries.js";
import { Question } from "./question.js";
import { Sankey } from "./sankey.js";

const NAMES = { other: "Other events", end: "End of the visit" };

export class PathsPanel extends Question {
  constructor(section, token) {
    let total = 0;
    const number = (paths) => `${count(paths)} · ${share(paths, total)}`;
    const sankey = new Sankey({
      all: spoken,
      node: ({ kind, label, paths }) => [NAMES[kind] ?? label, number(paths)],
      link: ({ from, to, paths }) => `${named(from)} → ${named(to)}: ${number(paths)}`,
    });
    const ranked = h("ol", { class: "ranked" });
    super(section, token, {
      title: "Which ways do visitors take?",
      sub: "What they do in a visit once they see a list of products.",
      label: "Paths",
      operation: operations.visitPaths,
      field: "paths",
      empty: (answer) => (answer.total ? null
        : "no visit has a list of products in it"),
      show: (answer, content) => {
        total = answer.total;
        if (!sankey.element.isConnected) content.append(sankey.element, ranked);
        sankey.show(answer);
        ranked.replaceChildren(...answer.columns.map((column) => ranking(column, answer)));
      },
      table,
    });
  }
}

const named = ({ kind, label }) => NAMES[kind] ?? label;
const step = (number) => (number ? `${count(number)} ${number === 1 ? "event" : "events"} later` : "They begin with");

function spoken({ columns, total }) {
  const most = columns.map(({ nodes }) => nodes[0]?.label).filter(Boolean);
  return `${count(total)} visits. The most frequent event of each step: ${most.join(", then ")}. All numbers are under “Show data”.`;
}

function ranking({ number, nodes, exited }, { total }) {
  const entries = nodes.map(({ label, isOther, paths }) => entry(isOther ? NAMES.other : label, paths, total, "got"));
  if (exited) entries.push(entry("Visit over by then", exited, total, "gone"));
  return h("li", {}, h("h3", {}, step(number)), h("ol", {}, entries));
}

function entry(label, paths, total, kind) {
  const bar = h("i", { class: kind });
  bar.style.inlineSize = `${(100 * paths) / total}%`;
  return h("li", {}, h("span", { class: "step-label" }, label),
    h("span", { class: "step-users" }, count(paths), h("small", {}, ` ${share(paths, total)}`)),
    h("span", { class: "step-bar", "aria-hidden": true }, bar));
}

function table({ columns, links, total }) {
  const isOther = (column, label) => columns[column]?.nodes.some((node) => node.label === label && node.isOther);
  const isEvent = (column, label) => columns[column]?.nodes.some((node) => node.label === label);
  const name = (column, label) => {
    if (isOther(column, label)) return NAMES.other;
    return isEvent(column, label) ? label : NAMES.end;
  };
  return {
    caption: "Visits by where they go from one event to the next",
    heads: ["From", "Step", "To", "Visits", "Of all"],
    rows: links.map(({ column, source, target, paths }) =>
      [name(column, source), count(column + 1), name(column + 1, target), count(paths), share(paths, total)]),
  };
}
