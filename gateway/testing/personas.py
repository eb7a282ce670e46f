"""Who visits the made-up shop and what it sells: the data behind `simulate`. Every person and address is invented."""

from __future__ import annotations

from dataclasses import dataclass

# How busy each hour of the day (UTC) is, 0..1: at a desk, or on the sofa.
OFFICE = (1, 1, 1, 1, 1, 3, 6, 12, 18, 20, 20, 19, 17, 18, 19, 18, 16, 14, 10, 8, 7, 6, 4, 2)
EVENING = (3, 1, 1, 1, 1, 1, 3, 5, 6, 7, 8, 9, 11, 10, 9, 9, 10, 13, 16, 19, 20, 20, 15, 8)
PEAK = 20
# How busy each weekday is, Monday first, as a share of the busiest.
WEEK = (0.75, 0.7, 0.7, 0.75, 0.8, 0.95, 1.0)


@dataclass(frozen=True, slots=True)
class Product:
    product_id: str
    name: str
    category: str
    price: float


@dataclass(frozen=True, slots=True)
class Device:
    type: str
    user_agent: str


@dataclass(frozen=True, slots=True)
class Campaign:
    name: str
    source: str
    medium: str


@dataclass(frozen=True, slots=True)
class Persona:
    """How one kind of visitor behaves. Probabilities are 0..1 and per session unless said otherwise."""

    key: str
    weight: int  # of a hundred new visitors
    devices: tuple[Device, ...]
    referrers: tuple[str, ...]  # "" is a typed address
    hours: tuple[int, ...]
    pause: float  # median seconds between two events of a session
    lists: float  # mean of further product lists and of products looked at
    looks_at_lists: float
    searches: float
    follows_campaign: float
    adds: float  # puts something into the cart
    checks_out: float  # of those with a cart
    pays: float  # of those at the checkout
    payment_fails: float  # per attempt
    retries: float  # after a failed payment
    signs_up: float  # unprompted; at the checkout it is four in five
    second_device: float  # per returning session, once it has an account
    returns: float  # after each session
    days_between: float  # mean days until then
    answers: float  # the survey after an order


PHONE = Device(
    "mobile",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) "
    "Version/17.5 Mobile/15E148 Safari/604.1",
)
ANDROID = Device(
    "mobile",
    "Mozilla/5.0 (Linux; Android 14; Pixel 8) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 "
    "Mobile Safari/537.36",
)
TABLET = Device(
    "tablet",
    "Mozilla/5.0 (iPad; CPU OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.5 Safari/604.1",
)
LAPTOP = Device(
    "desktop",
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 "
    "Safari/537.36",
)
DESKTOP = Device(
    "desktop",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:127.0) Gecko/20100101 Firefox/127.0",
)

SEARCH = "https://www.google.com/"
SOCIAL = "https://www.instagram.com/"
COMPARE = "https://compare.example/"
MAIL = "https://mail.example/"

PERSONAS = (
    Persona(
        "first-time-browser", weight=34, devices=(PHONE, ANDROID, LAPTOP, DESKTOP), referrers=(SEARCH, SEARCH, SOCIAL),
        hours=EVENING, pause=18, lists=3.6, looks_at_lists=0.85, searches=0.15, follows_campaign=0.25, adds=0.03,
        checks_out=0.28, pays=0.5, payment_fails=0.25, retries=0.4, signs_up=0.01, second_device=0.05, returns=0.7,
        days_between=3.5, answers=0.25,
    ),
    Persona(
        "bargain-hunter", weight=20, devices=(ANDROID, DESKTOP, LAPTOP), referrers=(COMPARE, MAIL, SEARCH),
        hours=EVENING, pause=14, lists=5.0, looks_at_lists=0.95, searches=0.3, follows_campaign=0.6, adds=0.06,
        checks_out=0.33, pays=0.45, payment_fails=0.25, retries=0.5, signs_up=0.03, second_device=0.1, returns=0.84,
        days_between=3.0, answers=0.3,
    ),
    Persona(
        "loyal-returner", weight=13, devices=(LAPTOP, PHONE, DESKTOP), referrers=("", "", MAIL),
        hours=OFFICE, pause=16, lists=2.6, looks_at_lists=0.9, searches=0.25, follows_campaign=0.1, adds=0.12,
        checks_out=0.45, pays=0.8, payment_fails=0.15, retries=0.9, signs_up=0.25, second_device=0.3, returns=0.93,
        days_between=4.0, answers=0.5,
    ),
    Persona(
        "researcher", weight=19, devices=(LAPTOP, DESKTOP, TABLET), referrers=(SEARCH, COMPARE, ""),
        hours=OFFICE, pause=30, lists=6.5, looks_at_lists=0.95, searches=0.55, follows_campaign=0.05, adds=0.045,
        checks_out=0.36, pays=0.6, payment_fails=0.2, retries=0.7, signs_up=0.04, second_device=0.2, returns=0.86,
        days_between=2.5, answers=0.35,
    ),
    Persona(
        "mobile-gift-buyer", weight=14, devices=(PHONE, ANDROID), referrers=(SOCIAL, SEARCH, ""),
        hours=EVENING, pause=12, lists=3.6, looks_at_lists=0.9, searches=0.35, follows_campaign=0.35, adds=0.13,
        checks_out=0.38, pays=0.6, payment_fails=0.35, retries=0.5, signs_up=0.02, second_device=0.08, returns=0.68,
        days_between=5.0, answers=0.3,
    ),
)  # fmt: skip

CAMPAIGNS = (
    Campaign("summer-sale", "newsletter", "email"),
    Campaign("gift-guide", "instagram", "social"),
    Campaign("brand-search", "google", "cpc"),
)

PRODUCTS = (
    Product("p-101", "Canvas Backpack", "Bags", 79.0),
    Product("p-102", "Weekender", "Bags", 129.0),
    Product("p-103", "Tote", "Bags", 39.5),
    Product("p-104", "Belt Bag", "Bags", 44.9),
    Product("p-201", "Merino Sweater", "Clothing", 89.0),
    Product("p-202", "Linen Shirt", "Clothing", 59.0),
    Product("p-203", "Rain Jacket", "Clothing", 149.0),
    Product("p-204", "Wool Socks", "Clothing", 14.9),
    Product("p-301", "Enamel Mug", "Kitchen", 16.5),
    Product("p-302", "Coffee Grinder", "Kitchen", 69.0),
    Product("p-303", "Chef's Knife", "Kitchen", 94.0),
    Product("p-304", "Tea Towels", "Kitchen", 19.9),
    Product("p-401", "Desk Lamp", "Home", 119.0),
    Product("p-402", "Wool Blanket", "Home", 99.0),
    Product("p-403", "Candle", "Home", 24.0),
    Product("p-404", "Gift Card", "Home", 50.0),
)
CATEGORIES = ("Bags", "Clothing", "Kitchen", "Home")
QUERIES = ("rain jacket", "gift under 50", "mug", "backpack 20l", "blanket", "sale", "knife", "linen")
PAYMENT_METHODS = ("card", "card", "paypal", "invoice")
PAYMENT_FAILURES = ("card_declined", "insufficient_funds", "3ds_timeout", "gateway_error")
PLANS = ("free", "free", "free", "plus")
LOCALES = ("en-GB", "en-US", "de-DE", "fr-FR", "nl-NL")
HELP_PAGES = ("Help", "Delivery", "Returns")
GIVEN_NAMES = (
    "Ada", "Amir", "Bea", "Carlos", "Chen", "Dilan", "Elif", "Emma", "Farid", "Grace", "Hana", "Ines", "Jonas", "Kofi",
    "Lena", "Mateo", "Nadia", "Olu", "Priya", "Quentin", "Rosa", "Sven", "Tomas", "Uma", "Vera", "Wei", "Yuki", "Zoe",
)  # fmt: skip
FAMILY_NAMES = (
    "Adler", "Baker", "Castro", "Duarte", "Eriksen", "Fischer", "Garcia", "Haddad", "Ivanova", "Jansen", "Kaya",
    "Lindberg", "Moreau", "Nakamura", "Okafor", "Patel", "Quinn", "Rossi", "Schmidt", "Tanaka", "Usman", "Vogel",
)  # fmt: skip
COMMENTS = {
    1: ("My payment failed and nobody could tell me why.", "Gave up at the checkout.", "The card form kept failing."),
    2: ("Paying took several attempts.", "Too many steps at the checkout.", "I could not find the delivery costs."),
    3: ("It was all right.", "Search did not find what I meant.", "More photos would help."),
    4: ("Good, delivery date could be clearer.", "Easy to find what I wanted.", "Nice products."),
    5: ("Quick and easy.", "Exactly what I was looking for!", "Great service, as always."),
}
