// What all areas have in common: a title, a line for what went wrong, and the way to their GraphQL.

import { copyAsGraphQL, copyBlock } from "./copy.js";
import { h, say } from "./dom.js";

/** Fills a `<section>`; `data` is its DataTable. `show` takes a Problem, or null when all is well again. */
export function panel(section, { title, sub = null, actions = [], data = null, operations }) {
  const heading = h("h2", { id: `${section.id}-title` }, title);
  const lead = h("p", { class: "sub" }, sub);
  const problem = h("p", { class: "problem", role: "status", hidden: true });
  const body = h("div", { class: "body" });
  const copies = copyAsGraphQL(operations);
  section.replaceChildren(
    h("header", { class: "card-head" }, h("div", {}, heading, lead), h("div", { class: "actions" }, actions)),
    body,
    // Below, so that nothing moves away under a pointer that is about to click.
    problem,
    ...(data ? [data.element] : []),
    copies,
  );
  return {
    body,
    title: (text) => say(heading, text),
    /** One more operation that feeds it. */
    copied: (entry) => copies.append(copyBlock(entry)),
    sub: (...content) => lead.replaceChildren(...content),
    show(error) {
      problem.hidden = !error;
      say(problem, error ? error.words ?? error.message : "");
    },
  };
}
