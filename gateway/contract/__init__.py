"""The contract: what the files in `schema/` say. Pure: reads files, does nothing else."""

from __future__ import annotations

from gateway.contract.alerts import AlertRule
from gateway.contract.consent import ConsentPurpose
from gateway.contract.differences import Difference, differences, not_raised
from gateway.contract.durations import duration_in_words, parse_duration
from gateway.contract.examples import Example
from gateway.contract.functions import (
    Ces,
    Churn,
    Count,
    EngagementDepth,
    Function,
    Funnel,
    FunnelStep,
    Nps,
    Planned,
    PropertyStatistic,
    Ratio,
    Retention,
    Satisfied,
    SessionLength,
    StageMetric,
    Sum,
    TimeBetween,
    UniqueUsers,
    rules_of,
)
from gateway.contract.glossary import Term
from gateway.contract.journeys import JourneyMap, Stage, Touchpoint
from gateway.contract.kpis import Kpi, KpiStatus, Thresholds
from gateway.contract.loading import Contract, load_contract, load_texts
from gateway.contract.personas import Persona
from gateway.contract.plan import EventDefinition, PlannedProperty, PropertyDefinition
from gateway.contract.reactions import Reaction
from gateway.contract.requests import DataRequest
from gateway.contract.rules import Condition, EventRule
from gateway.contract.schema_root import find_schema_root
from gateway.contract.segments import Segment, Segments
from gateway.contract.surveys import Question, Survey

__all__ = [
    "AlertRule",
    "Ces",
    "Churn",
    "Condition",
    "ConsentPurpose",
    "Contract",
    "Count",
    "DataRequest",
    "Difference",
    "EngagementDepth",
    "EventDefinition",
    "EventRule",
    "Example",
    "Function",
    "Funnel",
    "FunnelStep",
    "JourneyMap",
    "Kpi",
    "KpiStatus",
    "Nps",
    "Persona",
    "Planned",
    "PlannedProperty",
    "PropertyDefinition",
    "PropertyStatistic",
    "Question",
    "Ratio",
    "Reaction",
    "Retention",
    "Satisfied",
    "Segment",
    "Segments",
    "SessionLength",
    "Stage",
    "StageMetric",
    "Sum",
    "Survey",
    "Term",
    "Thresholds",
    "TimeBetween",
    "Touchpoint",
    "UniqueUsers",
    "differences",
    "duration_in_words",
    "find_schema_root",
    "load_contract",
    "load_texts",
    "not_raised",
    "parse_duration",
    "rules_of",
]
