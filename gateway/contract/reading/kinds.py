"""The kinds of files that a contract has. Another kind is a line here, its JSON Schema in `schema/meta` and a module
beside this one; `loading` builds what it says."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import PurePath

from gateway.contract.reading.alerts import check_alert
from gateway.contract.reading.checks import check_key
from gateway.contract.reading.consent import check_consent
from gateway.contract.reading.examples import check_example
from gateway.contract.reading.glossary import check_glossary
from gateway.contract.reading.journeys import check_journey
from gateway.contract.reading.kpis import check_kpi
from gateway.contract.reading.plan import check_event, check_properties
from gateway.contract.reading.reactions import check_reaction
from gateway.contract.reading.segments import check_segment
from gateway.contract.reading.surveys import check_survey
from gateway.contract.sources import Source


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of file. `home` is the folder that holds the files of the kind, or the only file.

    `name` is that of its JSON Schema: `schema/meta/<name>.schema.json`. `check` reports what that cannot say.
    """

    name: str
    home: str
    check: Callable[[Source], None]
    suffix: str = ".yaml"

    @property
    def single(self) -> bool:
        """Whether there is but one file of the kind."""
        return self.home.endswith(self.suffix)

    @property
    def pattern(self) -> str:
        """How its files are called, for people."""
        return self.home if self.single else f"{self.home}/<key>{self.suffix}"

    def reads(self, path: PurePath) -> bool:
        """Whether the file at `path` inside the contract is one of the kind."""
        if self.single:
            return path.as_posix() == self.home
        return path.parent.as_posix() == self.home and path.suffix == self.suffix


KINDS: tuple[Kind, ...] = (
    Kind("glossary", "glossary.yaml", check_glossary),
    Kind("properties", "properties.yaml", check_properties),
    Kind("event", "events", check_event),
    Kind("journey", "journeys", check_journey),
    Kind("kpi", "kpis", check_kpi),
    Kind("persona", "personas", check_key),
    Kind("survey", "surveys", check_survey),
    Kind("segment", "segments", check_segment),
    Kind("alert", "alerts", check_alert),
    Kind("rule", "rules", check_reaction),
    Kind("consent", "consent.yaml", check_consent),
    Kind("request", "requests", check_key),
    Kind("example", "examples", check_example, ".json"),
)
