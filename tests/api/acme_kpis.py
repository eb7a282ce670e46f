"""A one-file plugin with functions of KPIs, good and bad, and a contract whose KPIs name them."""

from __future__ import annotations

from gateway.contract import Contract, load_texts

PLUGIN = """
import time
from statistics import median

from gateway.plugin import Config, KpiFunction, hookimpl


class AtLeast(Config):
    amount: float


class MedianHours(KpiFunction):
    name, brief, version = "acme.median_hours", "Median hours between orders.", "1.2"

    def observe(self, parameters, at, value):
        return None if len(at) < 2 else median((at[1:] - at[:-1]).tolist()) / 3_600_000


class Spenders(KpiFunction):
    name, brief, version, kind = "acme.spenders", "Who spent so much.", "1.2", "share"
    Parameters = AtLeast

    def observe(self, parameters, at, value):
        return float(value.sum() >= parameters.amount)


class Raises(KpiFunction):
    name, brief, version = "acme.raises", "Raises.", "1.2"

    def observe(self, parameters, at, value):
        raise KeyError("ada@person.example")


class Blocks(KpiFunction):
    name, brief, version = "acme.blocks", "Blocks.", "1.2"

    def observe(self, parameters, at, value):
        time.sleep(2.5)


class Slow(KpiFunction):
    name, brief, version = "acme.slow", "Takes its time for every user.", "1.2"

    def observe(self, parameters, at, value):
        time.sleep(0.25)
        return 1.0


class Returns(KpiFunction):
    brief, version = "Returns nonsense.", "1.2"

    def __init__(self, name, what, kind="mean"):
        self.name, self.what, self.kind = name, what, kind

    def observe(self, parameters, at, value):
        return self.what


class Writes(KpiFunction):
    name, brief, version = "acme.writes", "Changes what it gets.", "1.2"

    def observe(self, parameters, at, value):
        at[0] = 0
        return 1.0


@hookimpl
def register_kpi_functions():
    yield from (MedianHours(), Spenders(), Raises(), Blocks(), Slow(), Writes())
    yield Returns("acme.text", "seven")
    yield Returns("acme.nan", float("nan"))
    yield Returns("acme.huge", 10**400)
    yield Returns("acme.two", 2.0, "share")
"""
KPI = """\
key: {key}
question: How much?
unit: {unit}
better: higher
owners: [ux]
function:
  plugin:
    name: acme.{key}
    events: [{{event: Order Completed}}]
    {more}
"""
KPIS = {
    "median_hours": ("number", ""),
    "spenders": ("percent", "property: total\n    parameters: {amount: 100}"),
    "refused": ("percent", "parameters: {amout: many}"),
    **dict.fromkeys(("raises", "blocks", "slow", "text", "nan", "huge", "two", "writes", "absent"), ("number", "")),
}


def contract() -> Contract:
    files = {f"kpis/{key}.yaml": KPI.format(key=key, unit=unit, more=more) for key, (unit, more) in KPIS.items()}
    files["kpis/refused.yaml"] = files["kpis/refused.yaml"].replace("acme.refused", "acme.spenders")
    return load_texts("acme", files)
