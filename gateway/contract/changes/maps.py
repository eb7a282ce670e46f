"""Changes of journey maps: who would stand elsewhere, and what no longer finds its stage."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from gateway.contract.changes.grades import BREAKING, DANGEROUS, SAFE, Both, Change, Done, Grade
from gateway.contract.hashing import content_hash
from gateway.contract.journeys import JourneyMap, Stage
from gateway.contract.lineage import Node

_ELSEWHERE = "every journey is worked out anew, and people may stand elsewhere"
_GONE = "filters by it find nothing any more, and so do links to it"
#: What of a stage is for people alone.
_TEXTS = frozenset({"label", "touchpoints", "emotion", "pain_points", "owner", "feedback"})


def map_changes(both: Both) -> Iterator[Change]:
    """What is said otherwise of maps and their stages."""
    before, after = both.before.journeys, both.after.journeys
    for key in sorted({*before, *after}):
        if key not in before:
            yield _map(both, key, "is added", SAFE, "it counts from the events there are", "added")
        elif key not in after:
            yield _map(both, key, "is removed", BREAKING, _GONE, "removed")
        else:
            yield from _changed(both, before[key], after[key])


def _changed(both: Both, old: JourneyMap, new: JourneyMap) -> Iterator[Change]:
    yield from _stages(both, old, new)
    kept = [[one.key for one in side.stages if one.key in _keys(other)] for side, other in ((old, new), (new, old))]
    if kept[0] != kept[1]:
        yield _map(both, new.key, "has its stages in another order", DANGEROUS, _ELSEWHERE)
    if (old.abandoned_after, old.restart) != (new.abandoned_after, new.restart):
        yield _map(both, new.key, "ends runs by another rule", DANGEROUS, _ELSEWHERE)
    same = replace(new, stages=old.stages, abandoned_after=old.abandoned_after, restart=old.restart)
    if same != replace(old, version=new.version):
        yield _map(both, new.key, "is described otherwise", SAFE, "it is for people")


def _stages(both: Both, old: JourneyMap, new: JourneyMap) -> Iterator[Change]:
    before, after = {one.key: one for one in old.stages}, {one.key: one for one in new.stages}
    renamed = _renamed(before, after)
    for key in dict.fromkeys((*before, *after)):
        if key in renamed:
            what = f"is renamed to {renamed[key]}"
            yield _stage(both, f"{new.key}.{key}", what, BREAKING, _GONE, "removed")
        elif key not in after:
            yield _stage(both, f"{new.key}.{key}", "is removed", BREAKING, _GONE, "removed")
        elif key not in before:
            if key not in renamed.values():
                yield _stage(both, f"{new.key}.{key}", "is added", DANGEROUS, _ELSEWHERE, "added")
        elif content_hash(before[key], without=_TEXTS) != content_hash(after[key], without=_TEXTS):
            yield _stage(both, f"{new.key}.{key}", "has other rules", DANGEROUS, _ELSEWHERE)
        elif before[key] != after[key]:
            yield _stage(both, f"{new.key}.{key}", "is described otherwise", SAFE, "it is for people")


def _renamed(before: dict[str, Stage], after: dict[str, Stage]) -> dict[str, str]:
    """Stages that have but another key: the same rules of entering."""

    def rules(stage: Stage) -> str:
        return content_hash(stage.enter, without=("id",))

    come = {rules(one): key for key, one in after.items() if key not in before}
    return {key: come[rules(one)] for key, one in before.items() if key not in after and rules(one) in come}


def _keys(side: JourneyMap) -> set[str]:
    return {one.key for one in side.stages}


def _map(both: Both, key: str, what: str, grade: Grade, why: str, change: Done = "changed") -> Change:
    depend = both.dependants(Node("map", key))
    return Change("map", key, change, f"map {key} {what}", grade, why, depend)


def _stage(both: Both, key: str, what: str, grade: Grade, why: str, change: Done = "changed") -> Change:
    depend = both.dependants(Node("stage", key))
    return Change("stage", key, change, f"stage {key} {what}", grade, why, depend)
