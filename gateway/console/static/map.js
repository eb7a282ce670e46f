// The purchase map: its stages in a row, how many visitors are in each, and every move as it happens.

import { ask } from "./api.js";
import { coalesced } from "./coalesce.js";
import { h, say } from "./dom.js";
import { Dots } from "./dots.js";
import { count, share, time } from "./format.js";
import { panel } from "./panel.js";
import { operations } from "./queries.js";
import { River } from "./river.js";

const REFRESH_MS = 1000;
// The visitor's own socket says whose moves are the visitor's: it gets this long to be first.
const OWN_FIRST_MS = 120;

export class MapPanel {
  #token;
  #panel;
  #stages = h("ol", { class: "stages" });
  #field = h("div", { class: "river" });
  #pains = h("ul", {});
  #asOf = h("span", {});
  #shown = new Map();
  #river = new River();
  #dots;
  #ownUser = null;

  /** Asks for the counts again, at most once a second. */
  refresh = coalesced(() => this.#load(), REFRESH_MS);

  constructor(section, token) {
    this.#token = token;
    this.#panel = panel(section, {
      title: "Where are the visitors on their way?",
      sub: "Reading the map…",
      operations: [
        { label: "The map and its counts", operation: operations.purchaseMap },
        { label: "Moves, live", operation: operations.journeyChanged },
      ],
    });
    this.#field.append(this.#river.element, this.#stages);
    this.#dots = new Dots(this.#field, this.#river);
    this.#panel.body.append(this.#field, this.#legend());
    new ResizeObserver(() => this.#draw()).observe(this.#field);
    this.refresh();
  }

  /** A message of `journeyChanged`. */
  changed({ from, to, status, user }) {
    setTimeout(() => {
      const own = user !== null && user.id === this.#ownUser;
      this.#dots.move(from?.key ?? null, to?.key ?? null, { left: status === "ABANDONED", own });
    }, OWN_FIRST_MS);
    this.refresh();
  }

  /** Whose dots are drawn as the visitor's own. */
  ownUser(id) {
    this.#ownUser = id;
  }

  async #load() {
    try {
      const { journeyMap } = await ask(operations.purchaseMap, this.#token);
      if (journeyMap === null) throw new Error("The contract has no map with the key “purchase”.");
      this.#show(journeyMap);
      this.#panel.show(null);
    } catch (problem) {
      this.#panel.show(problem);
    }
  }

  #show(map) {
    if ([...this.#shown.keys()].join() !== map.stages.map(({ key }) => key).join()) this.#build(map);
    const most = Math.max(1, ...map.stages.map((stage) => stage.reached));
    map.stages.forEach((stage, index) => {
      const { now, reached, rate } = this.#shown.get(stage.key);
      const before = map.stages[index - 1];
      // A run that has completed is in no stage any more: of the last stage only "reached" says something.
      say(now, count(stage.completes ? stage.reached : stage.users));
      say(reached, stage.completes ? "the journey ends here" : `${count(stage.reached)} reached it so far`);
      if (rate) say(rate, share(stage.reached, before.reached) ?? "–");
      this.#river.set(stage.key, stage.reached / most);
    });
    say(this.#asOf, `Counts as of ${time(Date.now())}.`);
    this.#draw();
  }

  #build(map) {
    this.#panel.title(`${map.name}: where is everybody?`);
    this.#panel.sub(h("strong", {}, map.persona ?? "Visitors"), map.goal ? ` · goal: ${map.goal}` : "");
    this.#pains.replaceChildren(...map.painPoints.map((pain) => h("li", {}, pain)));
    this.#shown.clear();
    this.#stages.replaceChildren(...map.stages.map((stage, index) => this.#stage(stage, index)));
    this.#stages.style.setProperty("--stages", map.stages.length);
    this.#river.stages(map.stages.map((stage) => [stage.key, this.#shown.get(stage.key).node]));
  }

  #stage(stage, index) {
    const parts = {
      node: h("span", { class: "node" }),
      now: h("strong", { class: "now" }),
      reached: h("span", { class: "reached" }),
      rate: index ? h("strong", {}) : null,
    };
    this.#shown.set(stage.key, parts);
    const touchpoints = stage.touchpoints.map(({ label, channel }) => h("li", {}, label, h("span", {}, ` ${channel}`)));
    return h("li", { class: stage.completes ? "stage goal" : "stage", "data-stage": stage.key },
      parts.rate && h("p", { class: "rate" }, parts.rate, h("span", {}, " go on")),
      h("h3", {}, stage.label, stage.emotion && h("span", { class: "emotion" }, stage.emotion)),
      h("p", { class: "here" }, parts.now, stage.completes ? " got here" : " here now"),
      parts.node,
      h("div", { class: "stage-foot" }, parts.reached, h("ul", { class: "touchpoints" }, touchpoints)));
  }

  #legend() {
    return h("div", { class: "legend" },
      h("p", {},
        h("span", { class: "key dot", "aria-hidden": true }), "a visitor moving ",
        h("span", { class: "key dot own", "aria-hidden": true }), "you ",
        h("span", { class: "key left", "aria-hidden": true }), "gave up. The band is as thick as the number of people who reached a stage. ",
        this.#asOf),
      h("details", { class: "pains" }, h("summary", {}, "What gets in their way"), this.#pains));
  }

  #draw() {
    this.#river.draw();
  }
}
