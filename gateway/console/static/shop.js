// The shop: a list, a product, the cart, the checkout, thanks. Every step tells `act(event, properties)` what happened.

import { h } from "./dom.js";
import { euros } from "./format.js";
import { line, picture, PRODUCTS } from "./products.js";

const SCORES = [[1, "very unhappy"], [2, "unhappy"], [3, "so-so"], [4, "happy"], [5, "very happy"]];

export class Shop {
  element = h("div", { class: "shop" });
  #act;
  #cart = [];
  #order = null;

  constructor(act) {
    this.#act = act;
    this.close();
  }

  /** The door, before anybody has come in. */
  close() {
    this.#cart = [];
    this.#view("/", "A small shop", h("div", { class: "window" }, PRODUCTS.map(picture)), h("p", {}, "Come in as a visitor nobody knows. Nothing here costs anything, and nothing you do leaves this gateway."),
      button("Enter the shop", () => this.#list(), "primary"));
  }

  /** The list as somebody sees it who has been here before: nothing new has happened. */
  reopen() {
    this.#showList();
  }

  #list() {
    this.#act("Product List Viewed", { category: "All", products: PRODUCTS.map((product) => line(product)) });
    this.#showList();
  }

  #showList() {
    const items = PRODUCTS.map((product) =>
      h("li", {}, h("button", { type: "button", class: "product", onclick: () => this.#product(product) },
        picture(product), h("span", { class: "name" }, product.name), h("span", { class: "price" }, euros(product.price)))));
    this.#view("/products", "Everything we have", h("ul", { class: "products" }, items));
  }

  #product(product) {
    this.#act("Product Viewed", line(product));
    this.#view(`/products/${product.shape}`, product.name,
      h("div", { class: "detail" }, picture(product), h("div", {},
        h("p", { class: "price" }, euros(product.price)),
        h("p", { class: "hint" }, `From our shelf “${product.category}”.`),
        button("Add to cart", () => this.#add(product), "primary"))),
      button("Back to all products", () => this.#list()));
  }

  #add(product) {
    this.#cart.push(product);
    this.#act("Product Added", line(product));
    this.#showCart();
  }

  #showCart() {
    const lines = this.#cart.map((product) => h("li", {}, h("span", {}, product.name), h("span", { class: "price" }, euros(product.price))));
    const content = lines.length
      ? [h("ul", { class: "lines" }, lines), this.#sum(), button("Check out", () => this.#checkOut(), "primary")]
      : [h("p", { class: "hint" }, "There is nothing in it yet.")];
    this.#view("/cart", "Your cart", ...content, button("Keep looking", () => this.#list()));
  }

  #checkOut() {
    this.#order = {
      order_id: `o-${Math.random().toString(16).slice(2, 12)}`,
      total: this.#total(),
      currency: "EUR",
      products: this.#cart.map((product) => line(product)),
    };
    this.#act("Checkout Started", this.#order);
    this.#view("/checkout", "Checkout", h("p", {}, "No name, no card: this order is as made-up as the shop."), this.#sum(),
      button("Place the order", () => this.#buy(), "primary"), button("Back to the cart", () => this.#showCart()));
  }

  #buy() {
    this.#act("Order Completed", this.#order);
    this.#cart = [];
    const group = h("div", { class: "scores", role: "group", "aria-labelledby": "csat" });
    group.append(...SCORES.map(([score, words]) =>
      h("button", { type: "button", "aria-label": `${score}: ${words}`, title: words, onclick: () => this.#answer(group, score) }, String(score))));
    this.#view("/thank-you", "Thank you!", h("p", {}, `Order ${this.#order.order_id} is on its imaginary way.`),
      h("p", { id: "csat", class: "question" }, "How happy are you with this purchase?"), group,
      h("p", { class: "hint ends" }, h("span", {}, "1 very unhappy"), h("span", {}, "5 very happy")),
      button("Look around again", () => this.#list()));
  }

  #answer(group, score) {
    this.#act("Survey Response Submitted", { survey: "csat", score });
    const thanks = h("p", { class: "answered", tabindex: -1 }, `You answered ${score}. Thank you: it counts in the KPI “csat” from now on.`);
    group.nextElementSibling.remove();
    group.replaceWith(thanks);
    thanks.focus({ preventScroll: true });
  }

  #total() {
    return Math.round(this.#cart.reduce((sum, { price }) => sum + price, 0) * 100) / 100;
  }

  #sum() {
    return h("p", { class: "sum" }, h("span", {}, "Total"), h("strong", {}, euros(this.#total())));
  }

  #view(address, title, ...content) {
    // Whoever came by a click goes on where the new view begins; nobody else is moved.
    const inside = this.element.contains(document.activeElement);
    const heading = h("h4", { tabindex: -1 }, title);
    const cart = this.#cart.length > 0 && address !== "/cart" && address !== "/checkout";
    this.element.replaceChildren(
      h("div", { class: "address", "aria-hidden": true }, h("i"), h("i"), h("i"), h("span", {}, `shop.example${address}`)),
      h("div", { class: "view" },
        h("div", { class: "view-head" }, heading, cart && button(`Cart (${this.#cart.length})`, () => this.#showCart())),
        content));
    if (inside) heading.focus({ preventScroll: true });
  }
}

function button(label, onclick, kind = "quiet") {
  return h("button", { type: "button", class: kind, onclick }, label);
}
