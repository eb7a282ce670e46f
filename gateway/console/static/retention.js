// Retention: of those who came first in a week, how many were back how many weeks later. Darker is more.

import { h } from "./dom.js";
import { calendarDay, count, fraction, interval } from "./format.js";
import { operations } from "./queries.js";
import { Question } from "./question.js";

const SHADES = 5;
const WEEK_MS = 7 * 86_400_000;

export class RetentionPanel extends Question {
  constructor(section, token) {
    const heat = h("table", { class: "heat" });
    const region = h("div", { class: "table-scroll", tabindex: 0, role: "region", "aria-label": "Retention by week" }, heat);
    const legend = h("p", { class: "hint heat-note" }, "* so far: the week is not over for all of them, and not in “All weeks”.");
    super(section, token, {
      title: "Do shoppers come back?",
      sub: "A row for those who came for the first time in one week; a column for each week after.",
      label: "Retention by week",
      operation: operations.weeklyRetention,
      field: "retention",
      empty: ({ cohorts }) => (cohorts.some(({ size }) => size) ? null
        : "nobody has come for the first time"),
      show: (answer, content) => {
        if (!region.isConnected) content.append(region, legend);
        heat.replaceChildren(...drawn(answer));
      },
      table,
    });
  }
}

const weeks = ({ cohorts }) => cohorts[0].cells.map(({ first }) => `Week ${count(first)}`);
const week = ({ start }) => calendarDay(start);

/** A week that has not begun for anybody says nothing, not 0. */
const begun = ({ start }, { first }, { asOf }) => new Date(start).getTime() + first * WEEK_MS < new Date(asOf).getTime();

function drawn(answer) {
  const { cohorts, average } = answer;
  const most = Math.max(...cohorts.flatMap(({ cells }) => cells.map(({ share }) => share.value ?? 0)), 0.01);
  const cell = ({ value }, complete, said) =>
    h("td", { "data-shade": value ? Math.min(SHADES, Math.ceil((SHADES * value) / most)) : null, class: complete ? null : "so-far", title: said },
      value === null ? "" : fraction(value, 0) + (complete ? "" : "*"));
  return [
    h("caption", { class: "unseen" }, "Share of those who came back, by the week of their first visit"),
    h("thead", {}, h("tr", {}, ["First visit", "People", ...weeks(answer)].map((head) => h("th", { scope: "col" }, head)))),
    h("tbody", {},
      h("tr", { class: "average" }, h("th", { scope: "row" }, "All weeks"),
        h("td", {}, count(cohorts.reduce((sum, { size }) => sum + size, 0))), average.map((share) => cell(share, true, spoken(share)))),
      cohorts.filter(({ size }) => size).map((cohort) =>
        h("tr", {}, h("th", { scope: "row" }, week(cohort)), h("td", {}, count(cohort.size)),
          cohort.cells.map((one) => (begun(cohort, one, answer) ? cell(one.share, one.complete, spoken(one.share)) : h("td", {})))))),
  ];
}

const spoken = ({ hits, n, low, high }) =>
  n ? `${count(hits)} of ${count(n)}; 95% interval ${interval({ low, high }, fraction)}` : "nobody to judge";

function table(answer) {
  return {
    caption: "People who came back, of those who came first in a week",
    heads: ["First visit in the week of", "People", ...weeks(answer)],
    rows: answer.cohorts.map((cohort) => [
      week(cohort), count(cohort.size),
      ...cohort.cells.map(({ share, complete, first }) =>
        share.n && begun(cohort, { first }, answer) ? `${count(share.hits)} (${interval(share, fraction)})${complete ? "" : " so far"}` : "–"),
    ]),
  };
}
