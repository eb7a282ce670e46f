// A number on a line with its interval and its target: how sure it is, and how far it has to go.

import { h } from "./dom.js";

const ROOM = 1.25;

export class Scale {
  #range = h("i", { class: "range" });
  #point = h("i", { class: "point" });
  #target = h("i", { class: "target" });
  element = h("div", { class: "scale", "aria-hidden": true, hidden: true }, this.#range, this.#point, this.#target);

  /** Nothing is drawn of a number without an interval, or of null. */
  show({ value, low, high }, target) {
    this.element.hidden = value === null || low === null || high === null;
    if (this.element.hidden) return;
    // The line leaves room around what it shows, and 0 is on it.
    const begin = Math.min(0, low, target ?? 0) * ROOM;
    const end = Math.max(0, high, target ?? 0) * ROOM || 1;
    const at = (number) => `${(100 * (number - begin)) / (end - begin)}%`;
    this.#range.style.insetInlineStart = at(low);
    this.#range.style.inlineSize = `${(100 * (high - low)) / (end - begin)}%`;
    this.#point.style.insetInlineStart = at(value);
    this.#target.hidden = target === null;
    this.#target.style.insetInlineStart = at(target ?? 0);
  }
}
