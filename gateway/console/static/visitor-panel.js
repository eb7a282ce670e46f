// Be a visitor: the shop on one side, on the other what the gateway makes of every click.

import { h, say } from "./dom.js";
import { JourneyView } from "./journey.js";
import { panel } from "./panel.js";
import { operations } from "./queries.js";
import { Shop } from "./shop.js";
import { Visitor } from "./visitor.js";

const PATIENCE_MS = 3000;
const NOBODY = "You have no journey yet: enter the shop, and it begins with the first click.";

const LATE = "Your event is stored. The gateway is still working through many earlier ones; your journey appears when it gets to yours.";

export class VisitorPanel {
  #panel;
  #visitor;
  #journey = new JourneyView();
  #sent = h("span", {});
  #followed = h("span", {});
  #restart = h("button", { type: "button", class: "quiet", hidden: true }, "New visitor");
  #shop;
  #announcer;
  #late = 0;
  #begun = false;

  constructor(section, token, { onUser, announcer }) {
    this.#announcer = announcer;
    this.#panel = panel(section, {
      title: "Be a visitor",
      sub: "Your clicks are events like everybody’s; beside the shop stands what they make of your journey, and why.",
      operations: [
        { label: "A click, with your visitor’s token", operation: operations.track },
        { label: "Your journey", operation: operations.myJourney },
        { label: "Its moves, live", operation: operations.journeyChanged },
      ],
    });
    this.#visitor = new Visitor(token, {
      onUser,
      onJourney: (journey, ms) => this.#show(journey, ms),
      onSent: (sent) => this.#tell(sent),
      onProblem: (problem) => this.#problem(problem),
    });
    this.#shop = new Shop((event, properties) => this.#act(event, properties));
    this.#restart.onclick = () => this.#startAnew();
    this.#panel.body.append(
      h("div", { class: "both" },
        this.#shop.element,
        h("div", { class: "yours" },
          h("div", { class: "view-head" }, h("h3", {}, "Your journey"), this.#restart),
          this.#journey.element, h("p", { class: "sent" }, this.#sent, this.#followed))));
    this.#journey.empty(NOBODY);
    if (this.#visitor.isBack) this.#comeBack();
  }

  close() {
    this.#visitor.close();
  }

  #act(event, properties) {
    this.#panel.show(null);
    this.#restart.hidden = false;
    say(this.#sent, `Sending “${event}”…`);
    say(this.#followed, "");
    this.#visitor.track(event, properties);
  }

  async #comeBack() {
    this.#restart.hidden = false;
    try {
      await this.#visitor.enter();
      this.#shop.reopen();
    } catch (problem) {
      this.#panel.show(problem);
    }
  }

  // While the gateway is away nothing is lost: the clicks wait here, and are sent in their order.
  #problem(problem) {
    this.#panel.show(problem);
    if (problem?.away) say(this.#sent, "Your clicks are kept and sent again until they are stored.");
  }

  #startAnew() {
    this.#visitor.leave();
    this.#begun = false;
    clearTimeout(this.#late);
    this.#shop.close();
    this.#journey.empty(NOBODY);
    this.#panel.show(null);
    this.#restart.hidden = true;
    say(this.#sent, "");
    say(this.#followed, "");
  }

  #tell({ event, verdict, ms }) {
    this.#panel.show(null);
    say(this.#sent, `“${event}” ${verdict.toLowerCase()} and stored for good after ${Math.round(ms)} ms.`);
    clearTimeout(this.#late);
    if (!this.#begun) this.#late = setTimeout(() => this.#journey.empty(LATE), PATIENCE_MS);
  }

  #show(journey, ms) {
    if (journey === null) {
      this.#journey.empty(NOBODY);
      return;
    }
    this.#begun = true;
    clearTimeout(this.#late);
    this.#journey.show(journey, ms !== null);
    this.#announcer.own(journey.because.text);
    if (ms !== null) say(this.#followed, ` Your journey showed it after ${Math.round(ms)} ms.`);
  }
}
