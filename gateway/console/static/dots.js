// Visitors on the move: a dot from stage to stage along the band. Whoever asked for less motion sees the numbers only.

import { h } from "./dom.js";

const AT_ONCE = 80;
const STEPS = 12;
const still = matchMedia("(prefers-reduced-motion: reduce)");

export class Dots {
  #field;
  #river;
  #moving = 0;

  constructor(field, river) {
    this.#field = field;
    this.#river = river;
  }

  /** From a stage (null: from outside) to a stage (null, or `left`: out of the journey). */
  move(from, to, { left = false, own = false } = {}) {
    // In a crowd the numbers tell more than the dots, and in a hidden tab nobody sees them.
    if (still.matches || document.hidden || (this.#moving >= AT_ONCE && !own)) return;
    const path = left || to === null ? this.#out(from ?? to) : this.#along(from, to);
    if (path === null) return;
    this.#moving += 1;
    const dot = h("span", { class: ["dot", own && "own", left && "left"].filter(Boolean).join(" "), "aria-hidden": true });
    this.#field.append(dot);
    const frames = path.map(({ x, y, opacity = 1 }) => ({ transform: `translate(${x}px, ${y}px)`, opacity }));
    const animation = dot.animate(frames, { duration: (own ? 1500 : 1100) + Math.random() * 500, easing: "ease-in-out" });
    animation.onfinish = animation.oncancel = () => {
      dot.remove();
      this.#moving -= 1;
    };
  }

  // The band's own curve, on a line somewhere between its two sides.
  #along(from, to) {
    const end = this.#river.place(to);
    if (!end) return null;
    const outside = this.#river.vertical ? { ...end, y: 0 } : { ...end, x: 0 };
    const start = this.#river.place(from) ?? outside;
    const lane = (Math.random() - 0.5) * 0.8;
    const [along, across] = this.#river.vertical ? ["y", "x"] : ["x", "y"];
    return Array.from({ length: STEPS + 1 }, (_, step) => {
      const part = step / STEPS;
      const bent = part * part * (3 - 2 * part);
      const middle = start[across] + (end[across] - start[across]) * bent;
      const thickness = start.thickness + (end.thickness - start.thickness) * bent;
      return {
        [along]: start[along] + (end[along] - start[along]) * part,
        [across]: middle + lane * thickness,
        opacity: from === null && step === 0 ? 0 : 1,
      };
    });
  }

  #out(stage) {
    const place = this.#river.place(stage);
    if (!place) return null;
    const { x, y } = place;
    const [dx, dy] = this.#river.vertical ? [-28, 12] : [10, 64];
    return [{ x, y }, { x: x + dx / 2, y: y + dy / 2, opacity: 0.9 }, { x: x + dx, y: y + dy, opacity: 0 }];
  }
}
