// What the shop on this page sells: some of the goods of the simulated shop, drawn here.

import { svg } from "./dom.js";

const path = (d, tone) => svg("path", { d, class: tone });

// Shapes on a field of 64 by 64; the tones are colours of theme.css.
const drawn = {
  backpack: () => [path("M22 20a10 10 0 0 1 20 0", "line"), path("M16 28a12 12 0 0 1 12-12h8a12 12 0 0 1 12 12v22a4 4 0 0 1-4 4H20a4 4 0 0 1-4-4z", "tone-a"), path("M22 36h20v12H22z", "tone-b"), path("M30 36h4v5h-4z", "tone-c")],
  jacket: () => [path("M24 12h16l12 8-4 30h-5V30h-2v24H23V30h-2v20h-5l-4-30z", "tone-b"), path("M24 12a8 8 0 0 0 16 0l-3 10h-10z", "tone-a"), path("M31 22h2v32h-2z", "tone-c")],
  mug: () => [path("M44 28h4a8 8 0 0 1 0 16h-4", "line"), path("M16 20h28v26a8 8 0 0 1-8 8H24a8 8 0 0 1-8-8z", "tone-c"), path("M16 20h28v7H16z", "tone-a")],
  lamp: () => [path("M32 34v16", "line"), path("M20 54a12 6 0 0 1 24 0z", "tone-a"), path("M23 11h18l9 23H14z", "tone-c"), path("M15.6 30h32.8l1.6 4H14z", "tone-b")],
  blanket: () => [path("M12 22h40v12H12z", "tone-a"), path("M12 34h40v10H12z", "tone-b"), path("M12 44h40v8H12z", "tone-a"), path("M20 22h4v30h-4zM40 22h4v30h-4z", "tone-c")],
  tote: () => [path("M24 28V20a8 8 0 0 1 16 0v8", "line"), path("M14 26h36l-3 28H17z", "tone-b"), path("M15 34h34l-.8 7H15.8z", "tone-c")],
};

export const PRODUCTS = [
  { id: "p-101", name: "Canvas Backpack", category: "Bags", price: 79, shape: "backpack" },
  { id: "p-203", name: "Rain Jacket", category: "Clothing", price: 149, shape: "jacket" },
  { id: "p-301", name: "Enamel Mug", category: "Kitchen", price: 16.5, shape: "mug" },
  { id: "p-401", name: "Desk Lamp", category: "Home", price: 119, shape: "lamp" },
  { id: "p-402", name: "Wool Blanket", category: "Home", price: 99, shape: "blanket" },
  { id: "p-103", name: "Tote", category: "Bags", price: 39.5, shape: "tote" },
];

export function picture({ shape }) {
  return svg("svg", { class: "picture", viewBox: "0 0 64 64", "aria-hidden": "true" }, drawn[shape]());
}

/** A product as an event's properties say it. */
export const line = ({ id, name, category, price }, quantity = 1) => ({ product_id: id, name, category, price, quantity });
