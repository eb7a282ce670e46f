"""One visitor of the made-up shop, and what happens in one session: messages as an SDK words them, but for the time."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from math import log
from random import Random
from typing import Any, Literal, NamedTuple

from gateway import __version__
from gateway.testing import personas
from gateway.testing.personas import Device, Persona, Product

Message = dict[str, Any]
Outcome = Literal["looked", "left", "failed", "struggled", "ordered"]

SHOP = "https://shop.example"
LIBRARY = {"name": "journey-gateway-simulate", "version": __version__}
# Wrong clocks of devices: minutes to hours, ahead and behind.
WRONG_CLOCKS = tuple(timedelta(minutes=minutes) for minutes in (-300, -61, -12, -3, 4, 15, 62, 180))
# How often a session of each outcome is followed by a survey answer, beside the persona's own readiness.
ANSWERS: dict[Outcome, float] = {"looked": 0.12, "left": 0.3, "failed": 1.2, "struggled": 1.2, "ordered": 1.0}
# Weights of the scores 1..5 by outcome.
SCORES: dict[Outcome, tuple[int, ...]] = {
    "looked": (4, 8, 28, 38, 22),
    "left": (8, 17, 40, 25, 10),
    "failed": (48, 30, 16, 5, 1),
    "struggled": (8, 22, 35, 25, 10),
    "ordered": (1, 3, 9, 35, 52),
}
COMMENTED = 0.4
LONGEST_PAUSE = 600.0  # well under the 30 minutes that end a session


class Step(NamedTuple):
    """The next thing in a session: `pause` seconds after the one before, on a device `device_offset` off."""

    pause: float
    message: Message
    device_offset: timedelta


@dataclass(slots=True)
class Browser:
    """One device in one visitor's hands. Its anonymousId is its own; it knows the userId once identified."""

    device: Device
    anonymous_id: str
    clock_offset: timedelta
    identified: bool = False


@dataclass(slots=True)
class Visitor:
    persona: Persona
    user_id: str
    name: str
    email: str
    plan: str
    locale: str
    browsers: tuple[Browser, Browser]
    has_account: bool = False
    cart: list[tuple[Product, int]] = field(default_factory=list)

    @classmethod
    def named(cls, key: str, *, skew: float) -> Visitor:
        """The person behind `key`: the same key is always the same person with the same ids."""
        rng = Random(key)
        persona = rng.choices(personas.PERSONAS, [persona.weight for persona in personas.PERSONAS])[0]
        given, family = rng.choice(personas.GIVEN_NAMES), rng.choice(personas.FAMILY_NAMES)
        number = f"{rng.getrandbits(40):010x}"
        first, second = (
            Browser(
                device=rng.choice(persona.devices),
                anonymous_id=random_uuid(rng),
                clock_offset=rng.choice(WRONG_CLOCKS) if rng.random() < skew else timedelta(0),
            )
            for _ in range(2)
        )
        return cls(
            persona=persona,
            user_id=f"u-{number}",
            name=f"{given} {family}",
            email=f"{given}.{family}.{number}@example.com".lower(),
            plan=rng.choice(personas.PLANS),
            locale=rng.choice(personas.LOCALES),
            browsers=(first, second),
        )


def random_uuid(rng: Random) -> str:
    return str(uuid.UUID(int=rng.getrandbits(128), version=4))


def visit(visitor: Visitor, rng: Random, *, eagerness: float = 1.0) -> Iterator[Step]:
    """One session, step by step. What the visitor keeps (account, cart) is written to `visitor` on the way.

    `eagerness` multiplies how often something is put into the cart.
    """
    return _Visit(visitor, rng, eagerness).steps()


class _Visit:
    def __init__(self, visitor: Visitor, rng: Random, eagerness: float) -> None:
        self.visitor = visitor
        self.eagerness = eagerness
        self.persona = visitor.persona
        self.rng = rng
        away = visitor.has_account and self._happens(self.persona.second_device)
        self.browser = visitor.browsers[1 if away else 0]
        self.outcome: Outcome = "looked"
        self.campaign = rng.choice(personas.CAMPAIGNS) if self._happens(self.persona.follows_campaign) else None
        self.url = rng.choice(self.persona.referrers)
        self.page: dict[str, str] = {}

    def steps(self) -> Iterator[Step]:
        had_cart = bool(self.visitor.cart)
        yield from self._look_around()
        if self.visitor.has_account and not self.browser.identified and self._happens(0.5):
            yield self._identify()
            self.browser.identified = True
        elif self._happens(self.persona.signs_up):
            yield from self._sign_up()
        added = self._happens(self.persona.adds * self.eagerness)
        if added:
            yield from self._fill_cart()
        if self.visitor.cart and (added or had_cart):
            self.outcome = "left"
            if self._happens(self.persona.checks_out * (1.0 if added else 0.4)):
                yield from self._check_out()
        yield from self._answer()

    def _look_around(self) -> Iterator[Step]:
        self._go("/", "Shop")
        yield self._page("Home")
        if self._happens(self.persona.searches):
            query = self.rng.choice(personas.QUERIES)
            self._go(f"/search?q={query.replace(' ', '+')}", "Search")
            yield self._track("Products Searched", {"query": query})
        if self._happens(self.persona.looks_at_lists):
            yield self._list()
            for _ in range(min(12, int(self.rng.expovariate(1 / self.persona.lists)))):
                yield self._list() if self._happens(0.3) else self._product(self.rng.choice(personas.PRODUCTS))
        if self._happens(0.05):
            name = self.rng.choice(personas.HELP_PAGES)
            self._go(f"/help/{name.lower()}", name)
            yield self._page(name)

    def _fill_cart(self) -> Iterator[Step]:
        for _ in range(1 + self._happens(0.3)):
            product = self.rng.choice(personas.PRODUCTS)
            yield self._product(product)
            line = (product, 1 + self._happens(0.15))
            self.visitor.cart.append(line)
            yield self._track("Product Added", _line(*line))
        self._go("/cart", "Cart")
        if self._happens(0.6):
            yield self._track("Cart Viewed", {"products": self._cart()})
        if len(self.visitor.cart) > 1 and self._happens(0.25):
            yield self._track("Product Removed", _line(*self.visitor.cart.pop(0)))

    def _check_out(self) -> Iterator[Step]:
        order = f"o-{self.rng.getrandbits(40):010x}"
        total = round(sum(product.price * quantity for product, quantity in self.visitor.cart), 2)
        basket = {"order_id": order, "total": total, "currency": "EUR", "products": self._cart()}
        self._go("/checkout", "Checkout")
        yield self._track("Checkout Started", basket)
        if not self.visitor.has_account and self._happens(0.8):
            yield from self._sign_up()
        elif self.visitor.has_account and not self.browser.identified:
            yield self._identify()
            self.browser.identified = True
        if not self._happens(self.persona.pays):
            return
        method = self.rng.choice(personas.PAYMENT_METHODS)
        payment: dict[str, object] = {"order_id": order, "payment_method": method}
        yield self._track("Payment Info Entered", payment)
        self.outcome = "ordered"
        while self._happens(self.persona.payment_fails):
            reason = self.rng.choice(personas.PAYMENT_FAILURES)
            yield self._track("Payment Failed", {**payment, "reason": reason})
            self.outcome = "struggled"
            if not self._happens(self.persona.retries):
                self.outcome = "failed"
                return
        self.visitor.cart.clear()
        self._go("/thank-you", "Thank you")
        yield self._track("Order Completed", basket)

    def _answer(self) -> Iterator[Step]:
        if not self._happens(ANSWERS[self.outcome] * self.persona.answers):
            return
        score = self.rng.choices(range(1, 6), SCORES[self.outcome])[0]
        answer: dict[str, object] = {"survey": "csat", "score": score}
        if self._happens(COMMENTED):
            answer["comment"] = self.rng.choice(personas.COMMENTS[score])
        yield self._track("Survey Response Submitted", answer)

    def _sign_up(self) -> Iterator[Step]:
        if self.visitor.has_account:
            return
        yield self._identify()
        self.visitor.has_account = self.browser.identified = True
        yield self._track("Signed Up", {"method": "email", "plan": self.visitor.plan}, pause=0.4)

    def _list(self) -> Step:
        category = self.rng.choice(personas.CATEGORIES)
        self._go(f"/c/{category.lower()}", category)
        shown = [product for product in personas.PRODUCTS if product.category == category]
        products = [
            {"product_id": product.product_id, "name": product.name, "price": product.price, "position": position}
            for position, product in enumerate(shown, start=1)
        ]
        return self._track("Product List Viewed", {"category": category, "products": products})

    def _product(self, product: Product) -> Step:
        self._go(f"/p/{product.product_id}", product.name)
        return self._track("Product Viewed", {**_item(product), "currency": "EUR"})

    def _cart(self) -> list[dict[str, object]]:
        return [_item(product) | {"quantity": quantity} for product, quantity in self.visitor.cart]

    def _page(self, name: str) -> Step:
        return self._step({"type": "page", "name": name}, {"properties": dict(self.page)})

    def _track(self, event: str, properties: dict[str, object], *, pause: float | None = None) -> Step:
        return self._step({"type": "track", "event": event}, {"properties": properties}, pause=pause)

    def _identify(self) -> Step:
        visitor = self.visitor
        traits = {"name": visitor.name, "email": visitor.email, "plan": visitor.plan}
        return self._step({"type": "identify", "userId": visitor.user_id}, {"traits": traits})

    def _step(self, head: Message, body: Message, *, pause: float | None = None) -> Step:
        known = {"userId": self.visitor.user_id} if self.browser.identified else {}
        message: Message = {
            **head,
            "anonymousId": self.browser.anonymous_id,
            **known,
            "messageId": random_uuid(self.rng),
            "timestamp": "",
            "originalTimestamp": "",
            "context": self._context(),
            **body,
            "integrations": {},
        }
        drawn = self.rng.lognormvariate(log(self.persona.pause), 0.7)
        return Step(pause or min(LONGEST_PAUSE, max(1.0, drawn)), message, self.browser.clock_offset)

    def _context(self) -> Message:
        context: Message = {
            "library": LIBRARY,
            "page": dict(self.page),
            "userAgent": self.browser.device.user_agent,
            "locale": self.visitor.locale,
            "device": {"type": self.browser.device.type},
        }
        if self.campaign:
            context["campaign"] = {
                "name": self.campaign.name,
                "source": self.campaign.source,
                "medium": self.campaign.medium,
            }
        return context

    def _go(self, path: str, title: str) -> None:
        referrer, self.url = self.url, SHOP + path
        self.page = {"path": path.split("?")[0], "url": self.url, "title": title, "referrer": referrer}

    def _happens(self, probability: float) -> bool:
        return self.rng.random() < probability


def _item(product: Product) -> dict[str, object]:
    return {
        "product_id": product.product_id,
        "name": product.name,
        "category": product.category,
        "price": product.price,
    }


def _line(product: Product, quantity: int) -> dict[str, object]:
    return {**_item(product), "quantity": quantity, "currency": "EUR"}
