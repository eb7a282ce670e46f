// The band through the stages: as thick at each stage as the share of people who reached it.

import { svg } from "./dom.js";

const FILLED = 0.84;
const THINNEST = 3;

export class River {
  element = svg("svg", { class: "band", "aria-hidden": "true" });
  #band = svg("path", { class: "water" });
  #bars = svg("g", { class: "bars" });
  #stages = [];
  #shares = new Map();
  #places = new Map();
  #vertical = false;

  constructor() {
    this.element.append(this.#band, this.#bars);
  }

  /** The stages in order, each with the element that marks its place: `[[key, element], …]`. */
  stages(stages) {
    this.#stages = stages;
  }

  set(key, share) {
    this.#shares.set(key, share);
  }

  get vertical() {
    return this.#vertical;
  }

  /** `{x, y, thickness}` of a stage, in pixels from the band's corner; undefined for one that is not drawn. */
  place(key) {
    return this.#places.get(key);
  }

  /** Reads where the stages stand now, in a row or below each other, and draws through them. */
  draw() {
    const origin = this.element.getBoundingClientRect();
    if (!origin.width || !this.#stages.length) return;
    const boxes = this.#stages.map(([key, element]) => ({ key, box: element.getBoundingClientRect() }));
    this.#vertical = boxes.length > 1 && Math.abs(boxes[1].box.x - boxes[0].box.x) < 1;
    const room = Math.min(...boxes.map(({ box }) => (this.#vertical ? box.width : box.height)));
    const places = boxes.map(({ key, box }) => ({
      key,
      x: box.x + box.width / 2 - origin.x,
      y: box.y + box.height / 2 - origin.y,
      thickness: Math.max(THINNEST, FILLED * room * (this.#shares.get(key) ?? 0)),
    }));
    this.#places = new Map(places.map((place) => [place.key, place]));
    this.element.setAttribute("viewBox", `0 0 ${origin.width} ${origin.height}`);
    this.#band.setAttribute("d", outline(places, this.#vertical, origin));
    this.#bars.replaceChildren(...places.map((place) => bar(place, this.#vertical)));
  }
}

/** A closed path along one side of the band and back along the other; it begins at the edge of the field. */
function outline(places, vertical, { width, height }) {
  const along = vertical ? "y" : "x";
  const across = vertical ? "x" : "y";
  const [first, last] = [places[0], places.at(-1)];
  const end = vertical ? height : width;
  const points = [
    { ...first, [along]: 0 },
    ...places,
    { ...last, [along]: Math.min(end, last[along] + 1) },
  ];
  const side = (sign) => points.map((point) => ({ along: point[along], across: point[across] + (sign * point.thickness) / 2 }));
  const write = ({ along: a, across: b }) => (vertical ? `${b} ${a}` : `${a} ${b}`);
  const curve = (line) =>
    line.slice(1).map((to, index) => {
      const from = line[index];
      const middle = (from.along + to.along) / 2;
      return `C${write({ along: middle, across: from.across })} ${write({ along: middle, across: to.across })} ${write(to)}`;
    }).join("");
  const there = side(-1);
  const back = side(1).reverse();
  return `M${write(there[0])}${curve(there)}L${write(back[0])}${curve(back)}Z`;
}

function bar({ x, y, thickness }, vertical) {
  const length = thickness + 12;
  const [width, height] = vertical ? [length, 6] : [6, length];
  return svg("rect", { x: x - width / 2, y: y - height / 2, width, height, rx: 3 });
}
