"""Alert rules of the contract: how they stand, and when they would have fired."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from enum import Enum
from pathlib import PurePosixPath
from typing import Annotated, Any

import strawberry

from gateway.api.alerts import Severity
from gateway.api.context import Context, Info
from gateway.api.lineage import LINEAGE, LineageNode, along
from gateway.api.nodes import Node
from gateway.api.ranges import KPIS, RangeInput, moments
from gateway.api.scalars import DateTime
from gateway.contract import AlertRule as RuleFile
from gateway.contract import Contract, KpiStatus, duration_in_words, load_texts
from gateway.contract.alerts import OnKpi
from gateway.contract.lineage import Node as LineageKey
from gateway.contract.sources import source_of
from gateway.errors import ContractError, InvalidInput, Unavailable
from gateway.insights.alerting import Episode, Preview, preview
from gateway.insights.kpis.evaluating import status
from gateway.plugin import Source, attribute, field
from gateway.store.alert_states import RuleState

_STATE = Source.one("alert_states", "key")
_LOOKED = Source.loader("alert preview")
_LINEAGE = Source.loader("lineage")
#: What one preview costs: it works the value out at every look.
_COST = 4_000
_SECONDS = 20.0
_LARGEST_FILE = 20_000

Key = Annotated[strawberry.ID, strawberry.argument(description="The key, as the file in the contract has it.")]
Past = Annotated[RangeInput, strawberry.argument(description="Over which time, up to now at most.")]


def _file(key: str) -> Source:
    return Source.contract("alerts", key)


@strawberry.enum(description="How an alert rule stands.")
class AlertRuleStatus(Enum):
    """Phases."""

    OK = strawberry.enum_value("ok", description="All is well, or nobody has looked yet.")
    PENDING = strawberry.enum_value("pending", description="It is wrong, but not for long enough.")
    FIRING = strawberry.enum_value("firing", description="It has fired, and it is not well again.")


@strawberry.type(description="A time in which a rule would have fired.")
class AlertEpisode:
    """An episode."""

    fired_at: DateTime = attribute(source=_LOOKED, policy=KPIS, description="When it would have fired.")
    recovered_at: DateTime | None = attribute(
        source=_LOOKED, policy=KPIS, description="When it would have been well again; null: not in the range."
    )
    value: float | None = attribute(
        source=_LOOKED, policy=KPIS, description="With which value; null where there was no data."
    )
    n: int = attribute(source=_LOOKED, policy=KPIS, description="From how many observations.")


@strawberry.type(description="When a rule would have fired, over a time that has passed and beginning with it well.")
class AlertPreview:
    """A preview."""

    fired: int = attribute(source=_LOOKED, policy=KPIS, description="How often.")
    episodes: list[AlertEpisode] = attribute(source=_LOOKED, policy=KPIS, description="When, the oldest first.", size=5)
    start: DateTime = attribute(source=_LOOKED, policy=KPIS, description="Where the range begins.")
    end: DateTime = attribute(source=_LOOKED, policy=KPIS, description="Where it ends; not included.")
    every: str = attribute(
        source=_LOOKED,
        policy=KPIS,
        description="How often it was looked at: at its own pace, or less often over a long time.",
    )
    looks: int = attribute(source=_LOOKED, policy=KPIS, description="How often that was, 240 at most.")
    definition: str = attribute(source=_file("*"), policy=KPIS, description="What the rule says, in words.")


@strawberry.type(description="A rule of the contract that says when something is worth somebody's attention.")
class AlertRule(Node):
    """An alert rule. What it raises is an `Alert` of the key `rule:<key>`."""

    file: strawberry.Private[RuleFile]
    state: strawberry.Private[RuleState | None]

    def global_id(self) -> str:
        return f"rule_{self.file.key}"

    @field(source=_file("key"), policy=KPIS, description="The name programs use.")
    def key(self) -> strawberry.ID:
        return strawberry.ID(self.file.key)

    @field(source=_file("name"), policy=KPIS, description="What is wrong when it fires, in a line.")
    def name(self) -> str:
        return self.file.name

    @field(source=_file("severity"), policy=KPIS, description="How soon somebody should look.")
    def severity(self) -> Severity:
        return Severity(self.file.severity.value)

    @field(source=_file("owners"), policy=KPIS, description="The teams that own it together.")
    def owners(self) -> list[str]:
        return list(self.file.owners)

    @field(source=_file("channels"), policy=KPIS, description="The alert channels that are told; empty: all.")
    def channels(self) -> list[str]:
        return list(self.file.channels)

    @field(source=_file("hint"), policy=KPIS, description="What to do about it.")
    def hint(self) -> str | None:
        return self.file.hint or None

    @field(source=_file("*"), policy=KPIS, description="When exactly it fires, in words.")
    def definition(self) -> str:
        return self.file.definition

    @field(source=_file("*"), policy=KPIS, description="Of when it fires: the same rule has the same hash.")
    def hash(self) -> str:
        return self.file.hash

    @field(source=_LINEAGE, policy=LINEAGE, description="What it lives on, down to properties.", size=10)
    def lineage(self, info: Info) -> list[LineageNode]:
        return along(info.context, LineageKey("alert", self.file.key), "upstream")

    @field(source=_STATE, policy=KPIS, description="How it stands.")
    def status(self) -> AlertRuleStatus:
        return AlertRuleStatus("ok" if self.state is None else self.state.phase)

    @field(source=_STATE, policy=KPIS, description="Why it will never fire as things are; null when it may.")
    async def status_reason(self, info: Info) -> str | None:
        watched, contract = self.file.watched, info.context.services.contract
        if not isinstance(watched, OnKpi) or (kpi := contract.kpis.get(watched.kpi)) is None:
            return None
        if status(kpi) is KpiStatus.PLANNED:
            return f"The KPI {kpi.key} is planned, and computed by nothing yet."
        trouble = await info.context.services.evaluator.trouble(kpi)
        return None if trouble is None else f"The KPI {kpi.key} is broken: {trouble.message} {trouble.fix}"

    @field(source=_STATE, policy=KPIS, description="Since when it stands so; null from the beginning.")
    def since(self) -> DateTime | None:
        return None if self.state is None or self.state.since is None else DateTime(self.state.since)

    @field(source=_STATE, policy=KPIS, description="When it was looked at last.")
    def looked_at(self) -> DateTime | None:
        return None if self.state is None or self.state.looked_at is None else DateTime(self.state.looked_at)

    @field(source=_STATE, policy=KPIS, description="The value at that moment; null when there was no data.")
    def value(self) -> float | None:
        return None if self.state is None else self.state.value

    @field(source=_STATE, policy=KPIS, description="From how many observations.")
    def n(self) -> int:
        return 0 if self.state is None else self.state.n

    @field(
        source=_LOOKED,
        policy=KPIS,
        weight=_COST,
        description="When it would have fired: by the same code, over the events as they are stored now.",
    )
    async def preview(self, info: Info, range: Past) -> AlertPreview:
        return await _preview(info.context, self.file, range)


@strawberry.type
class Alerting:
    """What can be asked of alert rules."""

    @field(source=Source.contract("alerts", "*"), policy=KPIS, description="Every alert rule of the contract.", size=10)
    async def alert_rules(self, info: Info) -> list[AlertRule]:
        states = await info.context.services.alert_states.of(info.context.scope)
        rules = info.context.services.contract.alerts.values()
        return [AlertRule(file=one, state=_of(states, one)) for one in rules]

    @field(
        source=Source.contract("alerts", "*"),
        policy=KPIS,
        description="One alert rule; null when there is none of this key.",
    )
    async def alert_rule(self, info: Info, key: Key) -> AlertRule | None:
        return await rule_by(info.context, key)

    @field(
        source=_LOOKED,
        policy=KPIS,
        weight=_COST,
        description="When a rule that is no part of the contract yet would have fired.",
    )
    async def alert_preview(
        self,
        info: Info,
        file: Annotated[str, strawberry.argument(description="The rule, as the text of a file `alerts/<key>.yaml`.")],
        range: Past,
    ) -> AlertPreview:
        rule = await asyncio.to_thread(_read, info.context.services.contract, file)
        return await _preview(info.context, rule, range)


async def rule_by(context: Context, key: str) -> AlertRule | None:
    """One rule; None when there is none."""
    file = context.services.contract.alerts.get(key)
    if file is None:
        return None
    return AlertRule(file=file, state=_of(await context.services.alert_states.of(context.scope), file))


def _of(states: dict[str, RuleState], file: RuleFile) -> RuleState | None:
    """How the rule stands; None while only another rule of this key was looked at."""
    state = states.get(file.key)
    return state if state is not None and state.rule == file.hash else None


def _read(contract: Contract, text: str) -> RuleFile:
    """The rule in a text, checked with the contract. Raises InvalidInput with every mistake."""
    if len(text) > _LARGEST_FILE:
        raise InvalidInput(f"The rule has more than {_LARGEST_FILE:,} characters.", path="file")
    value: Any = source_of(text.encode(errors="surrogatepass"), "rule", "rule").value
    key = value.get("key") if isinstance(value, dict) else None
    key = key if isinstance(key, str) and PurePosixPath(key).name == key else "rule"
    path = f"alerts/{key}.yaml"
    try:
        return load_texts(contract.name, {**contract.files, path: text}).alerts[key]
    except ContractError as error:
        raise InvalidInput("The rule has mistakes: " + "; ".join(error.problems[:10]), path="file") from None


async def _preview(context: Context, rule: RuleFile, given: RangeInput) -> AlertPreview:
    now = context.services.clock.now()
    try:
        async with asyncio.timeout(_SECONDS):
            found = await preview(context.services.rule_values, context.scope, rule, moments(given, now), now)
    except TimeoutError:
        raise Unavailable(
            f"The preview took more than {_SECONDS:.0f} seconds.", hint="Ask about a shorter time."
        ) from None
    return _told(rule, found)


def _told(rule: RuleFile, found: Preview) -> AlertPreview:
    def episode(one: Episode) -> AlertEpisode:
        recovered = None if one.recovered_at is None else DateTime(one.recovered_at)
        return AlertEpisode(fired_at=DateTime(one.fired_at), recovered_at=recovered, value=one.value, n=one.n)

    return AlertPreview(
        fired=len(found.episodes),
        episodes=[episode(one) for one in found.episodes],
        start=DateTime(found.between[0]),
        end=DateTime(found.between[1]),
        every=duration_in_words(timedelta(milliseconds=found.every)),
        looks=found.looks,
        definition=rule.definition,
    )
