// The KPIs of the contract, a tile each. The subscription says which may have changed; only those are asked for again.

import { ask } from "./api.js";
import { coalesced } from "./coalesce.js";
import { h, say } from "./dom.js";
import { KpiTile } from "./kpi-tile.js";
import { DAYS } from "./numbers.js";
import { panel } from "./panel.js";
import { operations } from "./queries.js";
import { whileSeen } from "./seen.js";
import { DataTable } from "./table.js";

const REFRESH_MS = 4000;
const RETRY_MS = 15_000;
// However long the values take, the gateway has twice as long for others.
const REST = 2;
const AT_ONCE = 3;
const MOST_KEYS = 30; // of one subscription
const HEADS = ["KPI", "Value", "95% interval", "n", "Target", "Status", "Definition"];

export class KpisPanel {
  #section;
  #token;
  #live;
  #announcer;
  #panel;
  #state = h("p", { class: "state", role: "status" }, "Reading…");
  #grid = h("div", { class: "tiles" });
  #data = new DataTable();
  #tiles = new Map();
  #touched = new Set();
  #refresh;

  /** `beside`: the KPI that has an area of its own. */
  constructor(section, token, { live, announcer, beside }) {
    this.#section = section;
    this.#token = token;
    this.#live = live;
    this.#announcer = announcer;
    this.#panel = panel(section, {
      title: "How is the shop doing?",
      sub: `Every KPI of the contract over the last ${DAYS} days: its value, how sure it is, and what exactly is counted.`,
      data: this.#data,
      operations: [{ label: "All KPIs of the contract", operation: operations.kpis }],
    });
    this.#panel.body.append(this.#state, this.#grid);
    this.#refresh = whileSeen(section, coalesced(() => this.#loadTouched(), REFRESH_MS, REST));
    section.setAttribute("aria-busy", "true");
    this.#open(beside);
  }

  /** Asks for all values again. */
  refresh() {
    for (const tile of this.#tiles.values()) if (tile.isLive) this.#touched.add(tile.key);
    this.#refresh();
  }

  async #open(beside) {
    try {
      const { kpis } = await ask(operations.kpis, this.#token);
      const shown = kpis.filter(({ key }) => key !== beside);
      this.#tiles = new Map(shown.map((kpi) => [kpi.key, new KpiTile(kpi)]));
      this.#grid.replaceChildren(...[...this.#tiles.values()].map(({ element }) => element));
      this.#state.hidden = shown.length > 0;
      say(this.#state, shown.length ? "" : "The contract has no KPIs: add a file to its folder kpis, and apply it.");
      this.#panel.show(null);
      this.#follow();
      this.refresh();
    } catch (problem) {
      this.#state.hidden = true;
      this.#panel.show(problem);
      if (problem.away) setTimeout(() => this.#open(beside), RETRY_MS);
    }
    this.#section.removeAttribute("aria-busy");
  }

  #follow() {
    const keys = [...this.#tiles.values()].filter(({ isLive }) => isLive).map(({ key }) => key);
    for (let at = 0; at < keys.length; at += MOST_KEYS) {
      const variables = { ...operations.kpiUpdated.variables, keys: keys.slice(at, at + MOST_KEYS) };
      const operation = { ...operations.kpiUpdated, variables };
      this.#panel.copied({ label: "Which of them may have changed, live", operation });
      this.#live.subscribe(operation, (change) => this.#changed(change), (message) => this.#panel.show(new Error(message)));
    }
  }

  #changed({ gap, kpis }) {
    if (gap) this.refresh();
    for (const { key } of kpis ?? []) this.#touched.add(key);
    if (this.#touched.size) this.#refresh();
  }

  async #loadTouched() {
    const waiting = [...this.#touched].map((key) => this.#tiles.get(key)).filter(Boolean);
    this.#touched.clear();
    const work = async () => {
      for (let tile = waiting.shift(); tile; tile = waiting.shift()) {
        const news = await tile.load(this.#token);
        if (news) this.#announcer.own(news);
        this.#data.show(`All KPIs over the last ${DAYS} days`, HEADS, [...this.#tiles.values()].map(({ row }) => row));
      }
    };
    await Promise.all(Array.from({ length: AT_ONCE }, work));
  }
}
