"""A bad answer reaches the channels its rule names, once; and again once somebody has looked after it."""

from __future__ import annotations

from gateway.feedback.reacting import alert_key, reaction_id
from gateway.model.response import RESPONDED
from gateway.model.scope import Scope
from gateway.pipeline.contracts import Contracts
from gateway.pipeline.derive import Derivation
from gateway.pipeline.owner import Deriver
from gateway.store.database import Database
from tests.api.test_follow_ups import UNHAPPY, reacting
from tests.connectors.delivering import WORKSPACE, Stage, event, instance, until
from tests.connectors.test_channels import Channel
from tests.connectors.test_delivery import empty


async def test_the_channel_that_a_rule_names_is_told_of_a_bad_answer_and_that_it_is_done(database: Database) -> None:
    contract = reacting(UNHAPPY)
    stage = Stage(database, instance(Channel, "desk"), instance(Channel, "others"))
    derivation = Derivation.of(database, Contracts.fixed(contract))
    stage.deriver = Deriver(database, derivation, stage.clock, lease_seconds=2.0)
    stage.deriver.told = stage.delivery.wake
    async with stage.running():
        desk, others = (stage.instances[name].connector for name in ("desk", "others"))
        assert isinstance(desk, Channel)
        assert isinstance(others, Channel)
        said = {"survey": "csat", "journey": {"purchase": "purchased"}, "score": 1}
        bad = event(1, name=RESPONDED, properties=said)
        await stage.store(bad, event(2, name=RESPONDED, properties=said | {"score": 5}))
        (rule,) = contract.rules.values()
        key = reaction_id(bad, rule)
        await until(lambda: desk.told == [(alert_key(key), True)])
        done = await derivation.reacting.resolve(Scope.system(WORKSPACE), key, "called", stage.clock)
        assert done is not None
        await until(lambda: desk.told == [(alert_key(key), True), (alert_key(key), False)])
        await until(lambda: empty(stage))
    assert others.calls == 0, "the rule does not name it"
