// A Sankey diagram of paths: columns of events, and between them bands as thick as the number of paths. `arranged` is
// the geometry alone; `Sankey` draws it, from right to left where the page is read so.

import { svg } from "./dom.js";

const NODE = 10; // wide
const GAP = 26; // between nodes of a column: room for two lines of text
const FLOW = 240; // high, for all paths together
const THINNEST = 1.5;
const LABEL = 168; // room for the last column's texts
const LETTER = 7.2;

/**
 * `{width, height, nodes, links}` in pixels, from the start of the line. Nodes: `{column, label, paths, kind, x, y,
 * height}`, `kind` is "event", "other" or "end"; links: `{from, to, paths, thickness, y1, y2}` between nodes, y in the
 * middle of the band.
 */
export function arranged({ columns, links, total }, width) {
  const scale = FLOW / Math.max(1, total);
  const step = (width - LABEL) / Math.max(1, columns.length - 1);
  const stacks = columns.map(({ number, nodes }) => stack(number, nodes, links, scale, number * step));
  const nodes = stacks.flat();
  const at = new Map(nodes.map((node) => [key(node.column, node.label, node.kind === "end"), node]));
  const bands = links.map(({ column, source, target, paths }) => {
    const to = at.get(key(column + 1, target, false)) ?? at.get(key(column + 1, target, true));
    return { from: at.get(key(column, source, false)), to, paths, thickness: paths * scale };
  }).filter(({ from, to }) => from && to);
  spread(bands, "from", "to", "y1");
  spread(bands, "to", "from", "y2");
  return { width, height: Math.max(...nodes.map(({ y, height }) => y + height), 0) + GAP / 2, nodes, links: bands };
}

const key = (column, label, end) => JSON.stringify([column, label, end]);

function stack(column, shown, links, scale, x) {
  const names = new Set(shown.map(({ label }) => label));
  // What leads to no event of this column is where the visit was over.
  const over = links.filter((link) => link.column === column - 1 && !names.has(link.target));
  const entries = shown.map(({ label, isOther, paths }) => ({ label, paths, kind: isOther ? "other" : "event" }));
  if (over.length) entries.push({ label: over[0].target, paths: over.reduce((sum, { paths }) => sum + paths, 0), kind: "end" });
  let y = GAP / 2;
  return entries.map((entry) => {
    const node = { ...entry, column, x, y, height: Math.max(THINNEST, entry.paths * scale) };
    y += node.height + GAP;
    return node;
  });
}

/** Gives each band its place at one of its ends: below each other, in the order of the other ends. */
function spread(bands, end, other, name) {
  for (const node of new Set(bands.map((band) => band[end]))) {
    let y = node.y;
    for (const band of bands.filter((one) => one[end] === node).sort((a, b) => a[other].y - b[other].y)) {
      band[name] = y + band.thickness / 2;
      y += band.thickness;
    }
  }
}

export class Sankey {
  element = svg("svg", { class: "sankey", role: "img" });
  #paths = null;
  #words;

  /** `words`: `{all, node, link}` make texts of the answer, of a node (`[name, number]`) and of a link. */
  constructor(words) {
    this.#words = words;
    new ResizeObserver(() => this.#draw()).observe(this.element);
  }

  show(paths) {
    this.#paths = paths;
    this.#draw();
  }

  #draw() {
    const width = Math.floor(this.element.getBoundingClientRect().width);
    if (!this.#paths || !width) return;
    const { nodes, links, height } = arranged(this.#paths, width);
    const mirrored = getComputedStyle(this.element).direction === "rtl";
    const across = (x) => (mirrored ? width - x : x);
    this.element.setAttribute("viewBox", `0 0 ${width} ${height}`);
    this.element.style.blockSize = `${height}px`;
    this.element.setAttribute("aria-label", this.#words.all(this.#paths));
    const room = nodes.some(({ column }) => column) ? nodes.find(({ column }) => column).x - NODE - 12 : width;
    this.element.replaceChildren(
      svg("g", { class: "bands" }, links.map((link) => band(link, across, this.#words.link(link)))),
      svg("g", {}, nodes.map((node) => this.#node(node, across, Math.min(room, LABEL - NODE - 6)))));
  }

  #node({ kind, x, y, height, ...node }, across, room) {
    const [name, number] = this.#words.node({ kind, ...node });
    const middle = y + height / 2;
    const letters = Math.floor(room / LETTER);
    const text = name.length > letters ? `${name.slice(0, letters - 1)}…` : name;
    return svg("g", { class: `node-${kind}` },
      svg("title", {}, `${name}: ${number}`),
      svg("rect", { x: Math.min(across(x), across(x + NODE)), y, width: NODE, height, rx: 2 }),
      svg("text", { x: across(x + NODE + 6), y: middle - 2 }, text),
      svg("text", { x: across(x + NODE + 6), y: middle + 12, class: "number" }, number));
  }
}

function band({ from, to, y1, y2, thickness }, across, said) {
  const [start, end] = [from.x + NODE, to.x];
  const middle = across((start + end) / 2);
  return svg("path", {
    d: `M${across(start)} ${y1}C${middle} ${y1} ${middle} ${y2} ${across(end)} ${y2}`,
    class: to.kind === "end" ? "over" : null,
    "stroke-width": Math.max(1, thickness),
  }, svg("title", {}, said));
}
