// "Your journey": the stages this visitor went through, each with the reason, and where it may go next.

import { h } from "./dom.js";
import { exactTime, time } from "./format.js";

const STATUS = { ACTIVE: "under way", COMPLETED: "completed", ABANDONED: "given up" };

export class JourneyView {
  element = h("div", { class: "journey" });

  /** Nobody has come in yet. */
  empty(text) {
    this.element.replaceChildren(h("p", { class: "hint" }, text));
  }

  /** A journey of `myJourney`; `moved` when the last visit is news. */
  show(journey, moved) {
    const { run, status, because, stageVisits, nextStages } = journey;
    const last = stageVisits.length - 1;
    this.element.replaceChildren(
      h("p", { class: "status", "data-status": status }, h("span", { class: "badge" }, STATUS[status]), run > 1 && ` journey no. ${run}`),
      h("p", { class: moved ? "because fresh" : "because" }, because.text),
      h("ol", { class: "visits" },
        stageVisits.map((visit, index) => past(visit, index === last, moved && index === last, journey)),
        nextStages.map(next)),
    );
  }
}

function past({ stage, enteredAt, because }, current, fresh, journey) {
  const state = current && journey.status === "ACTIVE" ? "here" : null;
  // The reason for being here stands above already.
  const said = current && because.text === journey.because.text;
  return h("li", { class: ["visit", current && "current", fresh && "fresh"].filter(Boolean).join(" "), "data-stage": stage.key },
    h("p", { class: "visit-head" },
      h("strong", {}, stage.label),
      state && h("span", { class: "tag" }, state),
      h("time", { datetime: enteredAt, title: exactTime(enteredAt) }, time(enteredAt))),
    !said && h("p", { class: "visit-why" }, because.text));
}

function next({ label, key }) {
  return h("li", { class: "visit next", "data-next": key }, h("p", { class: "visit-head" }, h("span", {}, label), h("span", { class: "hint" }, "may come next")));
}
