"""One session: what the visitor keeps, and when."""

from __future__ import annotations

from random import Random

import pytest

from gateway.testing.visits import LONGEST_PAUSE, Visitor, visit


def test_the_same_key_is_the_same_person() -> None:
    assert Visitor.named("1/2", skew=0) == Visitor.named("1/2", skew=0)
    assert Visitor.named("1/2", skew=0).user_id != Visitor.named("1/3", skew=0).user_id
    assert (
        Visitor.named("1/2", skew=1).browsers[0].anonymous_id == Visitor.named("1/2", skew=0).browsers[0].anonymous_id
    )


@pytest.mark.parametrize("seed", range(5))
def test_an_account_exists_only_once_its_identify_is_out(seed: int) -> None:
    """Whoever stops reading here must not meet a userId later that was never linked."""
    rng = Random(seed)
    visitor = Visitor.named(str(seed), skew=0)
    for _ in range(1000):
        for step in visit(visitor, rng):
            if step.message["type"] == "identify":
                assert not visitor.has_account
                return
            assert "userId" not in step.message
    pytest.fail("nobody signed up in a thousand sessions")


def test_a_cart_waits_for_the_next_session_until_it_is_bought() -> None:
    rng, visitor = Random(1), Visitor.named("1", skew=0)
    kept = bought = False
    for _ in range(2000):
        before = list(visitor.cart)
        events = [step.message.get("event") for step in visit(visitor, rng)]
        kept |= bool(before) and "Product Added" not in events and visitor.cart == before
        if "Order Completed" in events:
            assert visitor.cart == []
            bought |= bool(before) and "Product Added" not in events
    assert kept
    assert bought


def test_eagerness_fills_more_carts() -> None:
    def carts(eagerness: float) -> int:
        rng = Random(1)
        visitors = [Visitor.named(str(number), skew=0) for number in range(500)]
        for visitor in visitors:
            list(visit(visitor, rng, eagerness=eagerness))
        return sum(bool(visitor.cart) for visitor in visitors)

    assert carts(3.0) > 2 * carts(1.0) > 0


def test_pauses_stay_within_a_session() -> None:
    rng = Random(1)
    pauses = [step.pause for number in range(300) for step in visit(Visitor.named(str(number), skew=0), rng)]
    assert min(pauses) > 0
    assert max(pauses) <= LONGEST_PAUSE
