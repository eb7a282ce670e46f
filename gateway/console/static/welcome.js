// What stands here without a token that opens: how to get a fresh address.

import { copyButton } from "./copy.js";
import { h } from "./dom.js";

const COMMAND = "journey-gateway page";

/** Shows the panel. `again` is offered as a button when trying once more may help. */
export function welcome(section, { title, text, again = null }) {
  section.replaceChildren(
    h("h2", { id: "welcome-title" }, title),
    h("p", {}, text),
    h("div", { class: "command" }, h("code", {}, COMMAND), copyButton(COMMAND, "Copy")),
    h("p", { class: "sub" }, "Run it where the gateway runs, and open the address that it prints. Each address opens the page once, for one tab; the gateway prints one at its start, too."),
    ...(again ? [h("button", { type: "button", class: "primary", onclick: again }, "Try again")] : []),
  );
  section.hidden = false;
}
