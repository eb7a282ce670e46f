"""What a KPI counts, in one sentence: so that everybody can check it without reading code."""

from __future__ import annotations

import orjson

from gateway.contract.durations import duration_in_words
from gateway.contract.functions import (
    Ces,
    Churn,
    Count,
    EngagementDepth,
    Function,
    Funnel,
    Nps,
    Planned,
    PluginFunction,
    PropertyStatistic,
    Quantity,
    Ratio,
    Retention,
    Satisfied,
    SessionLength,
    StageMetric,
    Statistic,
    Sum,
    TimeBetween,
    UniqueUsers,
)
from gateway.contract.rules import Condition, EventRule, Operator

_WORDS: dict[Operator, str] = {
    "equals": "equals",
    "in": "is one of",
    "gt": "is greater than",
    "gte": "is at least",
    "lt": "is less than",
    "lte": "is at most",
}
_STATISTICS: dict[Statistic, str] = {
    "mean": "mean",
    "median": "median",
    "p75": "75th percentile",
    "p90": "90th percentile",
    "p95": "95th percentile",
    "p99": "99th percentile",
}


def defined(function: Function, filters: tuple[Condition, ...] = ()) -> str:
    """The sentence for a function over the events that meet all `filters`."""
    said = _defined(function)
    if filters:
        said += f" Only events with {' and '.join(_condition(one) for one in filters)} count."
    return said


def _defined(function: Function) -> str:
    match function:
        case Funnel():
            return _funnel(function)
        case Satisfied() | Nps() | Ces():
            return _score(function)
        case Count() | UniqueUsers() | Sum():
            return f"{_capital(_quantity(function))} in the range."
        case Ratio():
            return _ratio(function)
        case PropertyStatistic():
            return (
                f"The {_STATISTICS[function.statistic]} of {_json(function.property)} over the events "
                f"{_event(function.rule)} in the range, every event counting once; what is no number is left out, and "
                "the value is null when there is none."
            )
        case TimeBetween():
            return _time_between(function)
        case Retention():
            return _retention(function)
        case Churn():
            return _churn(function)
        case StageMetric():
            return _stage(function)
        case EngagementDepth():
            return (
                "The mean number of different events per session that began in the range, counting only "
                f"{_any(function.rules)}; a session without any of them counts with 0, and the value is null when "
                "there is no session."
            )
        case PluginFunction():
            return _plugin_function(function)
        case Planned():
            return f"Planned, not computed yet: {function.words}"
        case SessionLength():
            return (
                "The mean length in seconds of the sessions that began in the range, each from its first event to its "
                "last; a pause of more than 30 minutes ends a session (exactly 30 minutes does not), a session of one "
                "event counts with 0 seconds, and the value is null when there is no session."
            )


def _funnel(funnel: Funnel) -> str:
    steps = [f"{_event(step.rule)}{' (may be skipped)' * step.optional}" for step in funnel.steps]
    if funnel.order == "any":
        begun, had, none = " or ".join(steps), f"had all of {', '.join(steps)}", "any of them"
    else:
        begun, had, none = steps[0], f"then had {', then '.join(steps[1:])}", "the first"
    if funnel.window is None:
        limit, waiting = "without a time limit", ""
    else:
        window = duration_in_words(funnel.window)
        limit = f"at most {window} after the first (exactly {window} still counts)"
        waiting = "users who still have time to convert are reported as open and are not in the percentage, "
    order = {
        "ordered": "in this order, with any other events in between",
        "strict": "in this order, with no other event in between",
        "any": "in any order",
    }[funnel.order]
    of, each = {
        "users": ("unique users", "each user counts once, with their "),
        "totals": ("attempts", "each user counts as often as they begin anew after an end, with their "),
        "sessions": ("sessions", "all within one session, each session counts once, with its "),
    }[funnel.counting]
    attempt = {"best": "best attempt", "first": "first attempt"}[funnel.attempt]
    excluded = f"{_any(funnel.exclude)} in between ends the attempt, " if funnel.exclude else ""
    ties = f"events up to {funnel.tolerance_ms} ms apart may stand in any order, " if funnel.tolerance_ms else ""
    return (
        f"Of the {of} with {begun} in the range, the percentage who {had}, "
        f"{order}, {limit}; {excluded}{ties}{each}{attempt}, "
        f"{waiting}and the value is null when no user had {none}."
    )


def _score(score: Satisfied | Nps | Ces) -> str:
    lowest, highest = (0.0, 10.0) if isinstance(score, Nps) else (score.lowest, score.highest)
    scale = f"a number from {_json(lowest)} to {_json(highest)}"
    name = _json(score.property)
    joint = "and" if score.rule.where else "where"
    answers = f"the answers in the range (events {_event(score.rule)} {joint} {name} is {scale})"
    rest = "every answer counts, also several of one user, and the value is null when there is no answer."
    match score:
        case Satisfied():
            return f"Of {answers}, the percentage with a {name} of at least {_json(score.at_least)}; {rest}"
        case Nps():
            return f"Of {answers}, the percentage of 9 and 10 minus the percentage of 0 to 6, not rounded; {rest}"
        case Ces():
            easy = _json(highest if score.direction == "highIsEasy" else lowest)
            two, four, five = (_json(round(score.sixths(sixths), 2)) for sixths in (2, 4, 5))
            best, worst = ("at least", "at most") if score.direction == "highIsEasy" else ("at most", "at least")
            method = {
                "mean": "the mean",
                "percentEasy": f"the percentage with {best} {four}",
                "index": f"the percentage with {best} {five} minus the percentage with {worst} {two}",
            }[score.method]
            return f"Of {answers}, {method}, where {easy} is easiest; {rest}"


def _ratio(ratio: Ratio) -> str:
    times = "100 times " if ratio.percent else ""
    return (
        f"{_capital(times + _quantity(ratio.part))}, divided by {_quantity(ratio.whole)}, both in the range; null when "
        "the latter is 0."
    )


def _time_between(time: TimeBetween) -> str:
    begun = "their first event ever, which was" if time.start is None else f"their first {_event(time.start)}"
    limit = f", at most {duration_in_words(time.within)} later" if time.within else ""
    return (
        f"The {_STATISTICS[time.statistic]} of the seconds from {begun} in the range, to the first {_event(time.end)} "
        f"after it{limit}, each user counting once; users without it are not in the number, and the value is null when "
        "nobody had it."
    )


def _retention(retention: Retention) -> str:
    begun = "first event ever" if retention.start is None else f"first {_event(retention.start)}"
    back = "any event" if retention.back is None else _event(retention.back)
    periods = {
        "rolling": {"day": "24 hours", "week": "7 days", "month": "30 days"}[retention.period] + " from that moment",
        "calendar": f"the {retention.period}s of the calendar, the one of that moment being {retention.period} 0",
    }[retention.bucket]
    when = f"{retention.period} {retention.after}" + (" or any later" if retention.kind == "unbounded" else "")
    return (
        f"Of the unique users whose {begun} was in the range, the percentage with {back} in {when}, counted in "
        f"{periods}; users whose {retention.period} {retention.after} is not over are open and not in the percentage, "
        "and the value is null when there is nobody else."
    )


def _churn(churn: Churn) -> str:
    event = "any event" if churn.rule is None else _event(churn.rule)
    return (
        f"Of the unique users with {event} in the range, the percentage who had no such event in the "
        f"{duration_in_words(churn.quiet)} after their last one in the range; users for whom that time is not over are "
        "open and not in the percentage, and the value is null when there is nobody else."
    )


def _stage(metric: StageMetric) -> str:
    statistic = _STATISTICS[metric.statistic]
    null = "" if metric.measure == "users" else " Null when there is none."
    if metric.stage is None:
        runs = f"the runs through the journey map {_json(metric.map)} that began in the range"
        return {
            "users": f"The number of unique users of {runs}; 0 when there is none.",
            "conversion": f"Of {runs}, the percentage that was completed; active runs are open and not in it.",
            "dropOff": f"Of {runs}, the percentage that was abandoned; active runs are open and not in it.",
            "backTracks": f"Of {runs}, the percentage that went back to an earlier stage.",
            "time": f"The {statistic} of the seconds from the first to the last event of {runs} and are completed.",
        }[metric.measure] + null
    visits = f"the visits of the stage {_json(metric.stage)} of the journey map {_json(metric.map)} begun in the range"
    return {
        "users": f"The number of unique users of {visits}; 0 when there is none.",
        "conversion": f"Of {visits}, the percentage that went on to a later stage; open ones are not in it.",
        "dropOff": f"Of {visits}, the percentage at whose end the run was abandoned; open ones are not in it.",
        "backTracks": f"Of {visits}, the percentage that went back to an earlier stage; open ones are not in it.",
        "time": f"The {statistic} of the seconds from entering to leaving, of {visits} and are over.",
    }[metric.measure] + null


def _plugin_function(function: PluginFunction) -> str:
    given = f", with the parameters {_json(dict(function.parameters))}" if function.parameters else ""
    numbers = "" if function.property is None else f" that have a number in {_json(function.property)}"
    return (
        f"What the function {_json(function.name)} of a plugin{given} makes of each unique user's events "
        f"{_any(function.rules)} in the range{numbers}: one number per user, put together over the users as the "
        "function says; users for whom it gives none are left out, in a breakdown each user counts under the value "
        "of their first event that has one, and the value is null when nobody is left."
    )


def _quantity(quantity: Quantity) -> str:
    match quantity:
        case Count():
            return f"the number of events {_any(quantity.rules)}"
        case UniqueUsers():
            return f"the number of unique users with {_any(quantity.rules)}"
        case Sum():
            return f"the sum of {_json(quantity.property)} over the events {_event(quantity.rule)}"


def _any(rules: tuple[EventRule, ...]) -> str:
    return " or ".join(_event(rule) for rule in rules)


def _event(rule: EventRule) -> str:
    conditions = " and ".join(_condition(condition) for condition in rule.where)
    return f"{_json(rule.event)} where {conditions}" if conditions else _json(rule.event)


def _condition(condition: Condition) -> str:
    name = _json(condition.property)
    if condition.op == "exists":
        return f"{name} is {'present' if condition.value else 'absent'}"
    values = condition.value if isinstance(condition.value, tuple) else (condition.value,)
    return f"{name} {_WORDS[condition.op]} {', '.join(_json(value) for value in values)}"


def _json(value: object) -> str:
    """As JSON writes it, but whole numbers without a fraction: 4, not 4.0."""
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        value = int(value)
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode()


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


#: The same words, for other files than KPIs: `"Order Completed" where "total" is at least 100`.
event_in_words, condition_in_words = _event, _condition
