// "Copy as GraphQL": the operations behind a tile, word for word as the page sends them.

import { h } from "./dom.js";

/** A disclosure with one block per operation, `[{label, operation}]`. */
export function copyAsGraphQL(entries) {
  return h("details", { class: "copy" }, h("summary", {}, "Copy as GraphQL"), entries.map(copyBlock));
}

/** A button that copies a text and says so. */
export function copyButton(text, label) {
  const button = h("button", { type: "button", class: "quiet" }, label);
  button.onclick = async () => {
    try {
      await navigator.clipboard.writeText(text);
      button.textContent = "Copied";
    } catch {
      button.textContent = "Select it and copy by hand";
    }
    setTimeout(() => (button.textContent = label), 2000);
  };
  return button;
}

/** One operation to copy. */
export function copyBlock({ label, operation }) {
  const variables = JSON.stringify(operation.variables, null, 2);
  const text = (part, content) =>
    h("pre", { tabindex: 0, "data-operation": operation.name, "data-part": part, "aria-label": `${label}: ${part}` },
      h("code", {}, content));
  return h("div", { class: "copy-block" },
    h("div", { class: "copy-head" }, h("span", {}, label), copyButton(operation.query, "Copy"), copyButton(variables, "Copy variables")),
    text("query", operation.query),
    text("variables", variables));
}
