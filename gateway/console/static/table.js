// "Show data": the numbers of an area as a table, for whoever reads, listens or copies rather than looks.

import { h } from "./dom.js";

export class DataTable {
  #table = h("table", {}, h("caption", {}, "Nothing to show yet."));
  #region = h("div", { class: "table-scroll", tabindex: 0, role: "region" }, this.#table);
  #shown = "";
  #summary = h("summary", {}, "Show data");
  element = h("details", { class: "copy data" }, this.#summary, this.#region);

  /** `heads` are texts, `rows` lists of texts whose first names the row. Touches the page only if they differ. */
  show(caption, heads, rows) {
    const given = JSON.stringify([caption, heads, rows]);
    if (given === this.#shown) return;
    this.#shown = given;
    this.#summary.setAttribute("aria-label", `Show data: ${caption}`);
    this.#region.setAttribute("aria-label", caption);
    this.#table.replaceChildren(
      h("caption", {}, caption),
      h("thead", {}, h("tr", {}, heads.map((head) => h("th", { scope: "col" }, head)))),
      h("tbody", {}, rows.map(([name, ...cells]) =>
        h("tr", {}, h("th", { scope: "row" }, name), cells.map((cell) => h("td", {}, cell))))));
  }
}
