"""Rules in plain words: what a condition, a measure, a step or a clause says."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import timedelta

from fintel.domain.schema import SEEN_ENTRIES
from fintel.rules.compiler import COLUMNS
from fintel.rules.expression import parse, parse_when, read_conditions
from fintel.rules.model import Library, Measure, Rule, Step
from fintel.rules.syntax import COMPARISONS
from fintel.rules.tree import Part
from fintel.rules.wording import number_in_words, parameter_in_words

_COMPARED = {
    "=": "is", "<>": "is not", "<": "is less than", "<=": "is at most", ">": "is more than", ">=": "is at least",
}  # fmt: skip
_TURNED = {"=": "=", "<>": "<>", "<": ">", "<=": ">=", ">": "<", ">=": "<="}
_SIGNS = {"+": "plus", "-": "minus", "*": "times", "/": "divided by", "%": "modulo"}
_ROUNDED = {"round": "rounded", "floor": "rounded down", "ceil": "rounded up"}
#: Columns whose name alone would not be understood.
_COLUMNS: Mapping[str, str] = {
    "amount": "amount in its own currency", "amount_base": "amount", "booked_at": "time", "local_hour": "local hour",
    "remittance_information": "payment text", "counterparty_id": "other side",
    "counterparty_kind": "kind of the other side", "counterparty_name": "name of the other side",
    "counterparty_country": "country of the other side", "counterparty_agent": "bank of the other side",
    "counterparty_age": "age of the other side", "counterparty_industry": "line of business of the other side",
    "counterparty_age_days": "age in days of the other side's account", "account_id": "account",
    "account_kind": "kind of the holder", "account_country": "country of the account",
    "account_name": "name of the account", "account_agent": "bank of the account",
    "account_product": "kind of account", "account_age_days": "age in days of the account", "party_id": "holder",
    "party_age": "age of the holder", "party_age_band": "age band of the holder",
    "party_city": "home city of the holder", "party_occupation": "occupation of the holder",
    "party_industry": "line of business of the holder", "party_income": "yearly income of the holder",
    "party_address": "address of the holder", "party_phone": "telephone of the holder",
    "party_email": "e-mail of the holder", "place_id": "branch, machine or kiosk", "place_city": "city of the place",
    "place_country": "country of the place", "device_id": "device", "ip_address": "internet address",
    "ip_country": "country of the internet address", "merchant_category_code": "merchant category",
    "merchant_country": "country of the merchant", "purpose_code": "purpose code",
    "home_distance_km": "kilometres from home", "transaction_id": "payment",
    "shared_address": "number of people at the holder's address",
    "shared_phone": "number of people with the holder's telephone",
    "shared_email": "number of people with the holder's e-mail",
    "shared_device": "number of people with the holder's device", "relationship": "declared relationship",
    "*": "entries", "gap": "days from one entry to the next",
    "leg_km": "kilometres from one entry's place to the next",
}  # fmt: skip
#: Columns that are a sentence of their own: where true, where false.
_TRUTHS: Mapping[str, tuple[str, str]] = {
    "counterparty_is_own": ("both accounts have one holder", "the accounts are not known to have one holder"),
    "account_intel": ("partners named the holder", "partners are not known to have named the holder"),
    "counterparty_intel": ("partners named the other side", "partners are not known to have named the other side"),
}
_SAID: Mapping[tuple[str, str], str] = {
    ("direction", "in"): "money comes in",
    ("direction", "out"): "money goes out",
}
_KINDS: Mapping[str, str] = {
    "sum": "the sum of {}", "min": "the lowest {}", "max": "the highest {}", "mean": "the mean {}",
    "std": "the spread (standard deviation) of {}", "distinct": "how many different values of {}",
    "first": "the first {}", "last": "the last {}",
    "growth": "by what factor {} grows from the earlier half of the entries to the later half,",

    "rising": "how steadily {} rises (-1 to 1)", "top": "how many entries share the most frequent {}",
    "hops": "how often {} changes from one entry to the next",
}  # fmt: skip


def column_in_words(name: str) -> str:
    """A column of entries as people call it."""
    return _COLUMNS.get(name) or name.replace("_", " ")


def span_in_words(span: timedelta) -> str:
    """A window: ``7 days``, ``48 hours``."""
    seconds = span.total_seconds()
    for size, word in ((86_400, "day"), (3_600, "hour"), (60, "minute"), (1, "second")):
        if seconds >= size and seconds % size == 0:
            # two days are 48 hours in a rule that counts in hours; which was written is not kept
            count = int(seconds // size)
            return f"{count:,} {word}{'' if count == 1 else 's'}"
    return f"{seconds:g} seconds"


def joined(words: Sequence[str], last: str = "and") -> str:
    """``a, b and c``."""
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} {last} {words[-1]}"


def spoken(name: str) -> str:
    """A named condition or step, as it is quoted in sentences."""
    return f"“{name.replace('_', ' ')}”"


class Sentences:
    """What one rule says."""

    def __init__(self, rule: Rule, library: Library) -> None:
        self.rule, self.library = rule, library
        self._values = {p.name: p.default for p in rule.parameters.values()}
        written = ((name, text, None) for name, text in rule.conditions.items())
        self._conditions = read_conditions(
            written, columns=COLUMNS, parameters=self._values, lists=library.lists
        )[0]  # fmt: skip

    # -- conditions over entries

    def condition(self, text: str) -> str:
        """A condition over entries; a step's name stands for the step."""
        name = text.strip()
        if name in self.rule.steps:
            return f"it is of step {spoken(name)}"
        if name == "true":
            return "every entry"
        read = parse(
            text, columns=COLUMNS, parameters=self._values, lists=self.library.lists, conditions=self._conditions
        )
        return self._said(read.part, text)

    def looks_at(self) -> str:
        """What the anchor selects."""
        name = self.rule.anchor.strip()
        if name in self.rule.steps:
            return f"every entry of step {spoken(name)}"
        return f"every entry where {self.condition(name)}"

    def meanings(self) -> tuple[tuple[str, str], ...]:
        """Named conditions and what they mean: shared ones by their description, others in words."""
        found = []
        for name, text in self.rule.conditions.items():
            shared = self.library.conditions.get(name)
            is_shared = shared is not None and shared.text == text and shared.description
            words = shared.description.rstrip(".") if shared and is_shared else self.condition(text)
            found.append((name.replace("_", " "), words))
        return tuple(found)

    def lists(self) -> tuple[str, ...]:
        """Lists that its conditions name."""
        rule = self.rule
        texts = [rule.anchor, *rule.conditions.values(), *(s.where for s in rule.steps.values())]
        texts += [m.where for m in rule.measures.values() if m.where]
        found = {name for text in texts for name in re.findall(r"@(\w+)", text)}
        return tuple(sorted(found & set(self.library.lists)))

    # -- measures, steps, clauses

    def measure(self, measure: Measure) -> str:
        """One measure."""
        if measure.kind == "peers":
            return self._peers(measure)
        words = f"{self._counted(measure)} {self._among_which(measure)}"
        if measure.same:
            words += f", only those with {_equal(measure.same)}"
        if measure.at:
            words += ", seen on the other side's own account"
        return f"{words}, {_window(measure)}"

    def _among_which(self, measure: Measure) -> str:
        where = "" if measure.where is None else measure.where.strip()
        if not where:
            which = "that the rule looks at"
        elif where == "true":
            which = "there are, of any kind" if measure.kind == "count" else "of any kind"
        else:
            which = f"of step {spoken(where)}" if where in self.rule.steps else f"where {self.condition(where)}"
        return which if measure.kind == "count" else f"among the entries {which}"

    def _counted(self, measure: Measure) -> str:
        if measure.kind == "count":
            return "how many entries"
        if measure.kind == "sum" and measure.column in ("amount", "amount_base"):
            return "the sum of amounts" + (" in their own currency" if measure.column == "amount" else "")
        if measure.kind == "top" and measure.of:
            return f"the highest sum of {column_in_words(measure.of)} that one {column_in_words(measure.column)} has"
        if measure.kind in ("first", "last") and measure.column == "booked_at":
            return f"how many days ago the {measure.kind} entry was,"
        return _KINDS[measure.kind].format(column_in_words(measure.column))

    def _peers(self, measure: Measure) -> str:
        share = number_in_words(100 * (measure.quantile or 0.5))
        alike = joined([column_in_words(c) for c in measure.by]) if measure.by else ""
        group = f"accounts with the same {alike}" if alike else "all accounts"
        return (
            f"what is usual among peers: {share} of 100 {group} stay at or below it with their highest "
            f"`{measure.column}` in the 30-day blocks of the {span_in_words(measure.timespan)} before"
        )

    def step(self, step: Step) -> str:
        """One link of a chain."""
        words = f"an entry where {self.condition(step.where)}"
        if step.after is None or step.within is None:
            return words
        count = self._number(step.at_least)
        least = f"at least {count} entries" if step.at_least != "1" else "an entry"
        words += f", with {least} of step {spoken(step.after)} in the {span_in_words(step.within)} before it"
        return f"{words}, of {_equal(step.same)}" if step.same else words

    def clauses(self) -> tuple[str, ...]:
        """Each condition of ``when``; all of them must hold."""
        rule = self.rule
        read = parse_when(rule.when, rule.observables, self._values)
        return tuple(self._said(part, rule.when) for part in _conjuncts(read.part))

    def correlation(self) -> tuple[str, ...]:
        """What other rules must have found; empty for a rule over entries."""
        wanted = self.rule.correlation
        if wanted is None:
            return ()
        found = [f"Everything within {span_in_words(wanted.timespan)}, looking back from the newest finding."]
        if wanted.all:
            found.append(f"Each of these has found the account: {self._rules(wanted.all)}.")
        if wanted.any:
            found.append(f"At least {self._number(wanted.at_least)} of these: {self._rules(wanted.any)}.")
        if wanted.ordered:
            found.append(f"In this order, each after the one before: {self._rules(wanted.ordered)}.")
        if wanted.across:
            what = {"all": "The first list", "any": "The list of which some are wanted", "ordered": "The ordered list"}
            found.append(f"{what[wanted.across]} is looked for on somebody whom the account paid or was paid by.")
        return tuple(found)

    def _rules(self, ids: Sequence[str]) -> str:
        titles = {r.id: r.title for r in self.library.rules}
        return "; ".join(f"{titles[i]} (`{i}`)" if i in titles else f"`{i}`" for i in ids)

    def _number(self, text: str) -> str:
        return self._parameter(text[1:]) if text.startswith(":") else text

    def _parameter(self, name: str) -> str:
        return f"{parameter_in_words(self.rule.parameters[name])} (`{name}`)"

    # -- pieces of expressions

    def _said(self, part: Part, text: str, *, inside: bool = False) -> str:
        """A truth in words. ``inside``: within another sentence, so that mixed joints get brackets."""
        if part.condition:
            return spoken(part.condition)
        if part.operator in ("and", "or"):
            words = f" {part.operator} ".join(self._said(p, text, inside=True) for p in part.parts)
            return f"({words})" if inside else words
        if part.operator == "not":
            return self._denied(part.parts[0], text)
        if part.operator in COMPARISONS:
            return self._compared(part, text)
        if part.mention is not None:
            column, name = part.mention
            return f"{column_in_words(column)} mentions a word of list `{name}`"
        negated = " not" if part.operator.startswith("not ") else ""
        plain = part.operator.removeprefix("not ")
        if part.operator in ("is null", "is not null"):
            state = "is empty" if part.operator == "is null" else "is known"
            return f"{self._value(part.parts[0], text)} {state}"
        if plain == "between":
            value, low, high = (self._value(p, text) for p in part.parts)
            return f"{value} is{negated} from {low} to {high}"
        if plain == "in":
            return self._among(part, text, negated)
        if plain == "like":
            return f"{self._value(part.parts[0], text)} {_like(part.sql, negated)}"
        return self._truth(part, text)

    def _truth(self, part: Part, text: str) -> str:
        """A column, or ``coalesce`` of one, that is true or false itself."""
        name = part.name or (part.parts[0].name if part.operator == "coalesce" else None) or ""
        if name in _TRUTHS:
            return _TRUTHS[name][0]
        if part.operator == "coalesce" and not name:
            return self._said(part.parts[0], text)
        if part.operator in ("starts_with", "ends_with"):
            subject, wanted = (self._value(p, text) for p in part.parts)
            return f"{subject} {part.operator.replace('_', ' ')} {wanted}"
        return column_in_words(name) if name else f"`{' '.join(text[part.start : part.end].split())}`"

    def _denied(self, part: Part, text: str) -> str:
        name = part.name or (part.parts[0].name if part.operator == "coalesce" and part.parts else None) or ""
        if not part.condition and name in _TRUTHS:
            return _TRUTHS[name][1]
        return f"not {self._said(part, text, inside=True)}"

    def _compared(self, part: Part, text: str) -> str:
        left, right, sign = part.parts[0], part.parts[1], part.operator
        if right.names and not left.names:
            left, right, sign = right, left, _TURNED[sign]
        if left.operator == "%" and right.value == 0 and sign in ("=", "<>"):
            value, unit = (self._value(p, text) for p in left.parts)
            return f"{value} {_COMPARED[sign]} a multiple of {unit}"
        if sign == "=" and (left.name, right.literal) in _SAID:
            return _SAID[str(left.name), str(right.literal)]
        if left.operator == "length" and sign == ">" and right.value == 0:
            return f"{self._value(left.parts[0], text)} is given"
        empty = _if_empty(left, (right.literal,), sign)
        return f"{self._value(left, text)} {_COMPARED[sign]} {self._value(right, text)}{empty}"

    def _among(self, part: Part, text: str, negated: str) -> str:
        left = part.parts[0]
        if part.lists:
            return f"{self._value(left, text)} is{negated} in list `{min(part.lists)}`"
        left, *items = left.parts
        empty = _if_empty(left, tuple(i.literal for i in items), "<>" if negated else "=")
        return f"{self._value(left, text)} is{negated} {joined([self._value(i, text) for i in items], 'or')}{empty}"

    def _value(self, part: Part, text: str) -> str:
        """A value in words."""
        if part.parameter is not None:
            return self._parameter(part.parameter)
        if part.literal is not None:
            return number_in_words(part.literal) if isinstance(part.literal, float) else f"'{part.literal}'"
        if part.name is not None:
            return column_in_words(part.name) if part.name in SEEN_ENTRIES else f"`{part.name}`"
        if part.operator == "coalesce":
            return self._value(part.parts[0], text) + _instead(part)
        if part.lists:
            return f"the amount that list `{min(part.lists)}` has for {self._value(part.parts[0], text)}"
        if part.operator == "extract":
            found = re.match(r"cast\(extract\((\w+) from", part.sql)
            return f"{found[1] if found else 'part'} of {self._value(part.parts[0], text)}"
        if part.operator in _SIGNS and len(part.parts) == 2:
            sides = [self._value(p, text) for p in part.parts]
            sides = [f"({s})" if len(p.parts) == 2 else s for s, p in zip(sides, part.parts, strict=True)]
            return f"{sides[0]} {_SIGNS[part.operator]} {sides[1]}"
        if part.operator in ("least", "greatest"):
            word = "smaller" if part.operator == "least" else "larger"
            return f"the {word} of {joined([self._value(p, text) for p in part.parts])}"
        if part.sql.startswith("date '"):
            return part.sql.removeprefix("date ").strip("'")
        if part.operator == "abs":
            return f"the size of {self._value(part.parts[0], text)}"
        if part.operator in ("round", "floor", "ceil"):
            return f"{self._value(part.parts[0], text)} {_ROUNDED[part.operator]}"
        if part.operator in ("lower", "upper"):
            return self._value(part.parts[0], text)
        if part.operator == "length":
            return f"the length of {self._value(part.parts[0], text)}"
        return f"`{' '.join(text[part.start : part.end].split())}`"


def partition_in_words(per: Sequence[str]) -> str:
    """What a window belongs to."""
    return joined([column_in_words(c) for c in per])


def _window(measure: Measure) -> str:
    span = span_in_words(measure.timespan)
    if measure.timespan <= timedelta(seconds=1) and not measure.offset:
        return "at that very moment"
    if measure.offset:
        return f"in the {span} that end {span_in_words(measure.offset)} before the entry"
    return f"in the {span} up to the entry"


def _equal(same: Sequence[tuple[str, str]]) -> str:
    return joined(
        [
            f"the same {column_in_words(here)} as the entry"
            if here == there
            else f"the entry's {column_in_words(here)} as {column_in_words(there)}"
            for here, there in same
        ]
    )


def _conjuncts(part: Part) -> list[Part]:
    if part.operator != "and" or part.condition:
        return [part]
    return [inner for piece in part.parts for inner in _conjuncts(piece)]


def _if_empty(left: Part, wanted: Sequence[str | float | None], sign: str) -> str:
    """What an empty value is taken for, where a constant stands in for it and a text is compared."""
    if left.operator != "coalesce" or left.parts[-1].literal is None or sign not in ("=", "<>"):
        return ""
    held = (left.parts[-1].literal in wanted) == (sign == "=")
    return " (or is not known)" if held else ""


def _instead(part: Part) -> str:
    """A number that stands in for an empty value."""
    last = part.parts[-1]
    return f" ({number_in_words(last.literal)} where empty)" if isinstance(last.literal, float) else ""


def _like(sql: str, negated: str) -> str:
    pattern = sql.rsplit(" like ", 1)[1].rstrip(")").strip("'").replace("''", "'")
    body = pattern.strip("%")
    if "%" in body or "_" in body:
        return f"is{negated} like '{pattern}'"
    no = "does not " if negated else ""
    s = "" if negated else "s"
    if pattern.startswith("%") and pattern.endswith("%"):
        return f"{no}contain{s} '{body}'"
    return f"{no}end{s} with '{body}'" if pattern.startswith("%") else f"{no}start{s} with '{body}'"
