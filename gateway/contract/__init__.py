"""The contract: what the files in `schema/` say about journeys and KPIs. Pure: reads files, does nothing else."""

from __future__ import annotations

from gateway.contract.differences import Difference, differences, not_raised
from gateway.contract.durations import duration_in_words, parse_duration
from gateway.contract.glossary import Term
from gateway.contract.journeys import JourneyMap, Stage, Touchpoint
from gateway.contract.kpis import Function, Funnel, FunnelStep, Kpi, Satisfied, SessionLength
from gateway.contract.loading import Contract, load_contract, load_texts
from gateway.contract.plan import EventDefinition, PlannedProperty, PropertyDefinition
from gateway.contract.rules import Condition, EventRule
from gateway.contract.schema_root import find_schema_root

__all__ = [
    "Condition",
    "Contract",
    "Difference",
    "EventDefinition",
    "EventRule",
    "Function",
    "Funnel",
    "FunnelStep",
    "JourneyMap",
    "Kpi",
    "PlannedProperty",
    "PropertyDefinition",
    "Satisfied",
    "SessionLength",
    "Stage",
    "Term",
    "Touchpoint",
    "differences",
    "duration_in_words",
    "find_schema_root",
    "load_contract",
    "load_texts",
    "not_raised",
    "parse_duration",
]
