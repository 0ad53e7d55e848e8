"""Write a proposal down: a valid mapping with its doubts beside what they are about."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from fintel.feeds import values
from fintel.feeds.mapping import FileSpec
from fintel.feeds.sniff_content import Content
from fintel.feeds.sniff_fit import Example
from fintel.feeds.sniff_words import CHANNEL_WORDS, CREDIT_WORDS, DEBIT_WORDS, INSTRUMENT_WORDS

#: A format that no date has: every row stays in quarantine until a person chooses.
UNCHOSEN = "choose one: "
#: Characters of a value that a doubt shows.
_SHOWN = 40


class Guessed(Protocol):
    """What this page needs of a guess."""

    @property
    def position(self) -> int: ...
    @property
    def name(self) -> str: ...
    @property
    def target(self) -> str | None: ...
    @property
    def confidence(self) -> float: ...
    @property
    def content(self) -> Content: ...


def write(
    path: Path,
    spec: FileSpec,
    header: tuple[str, ...],
    guesses: Sequence[Guessed],
    recognised: str | None,
    doubts: Sequence[str],
) -> tuple[str, list[str]]:
    """(mapping text, further doubts)."""
    by = {g.target: g for g in guesses if g.target is not None}
    page = _Page(by, header, "row" if spec.format == "parquet" else "line")
    page.times()
    page.amounts(spec)
    page.sides()
    page.others()
    stem = re.sub(r"[^a-z0-9]+", "_", values.fold(path.name.split(".")[0])).strip("_")[:30] or "feed"
    left = [_quoted(g.name or f"column {g.position}") for g in guesses if g.target is None]
    top = [f"# Proposed by fintel from {_quoted(path.name)}. Read it before you use it."]
    if recognised is not None:
        top.append(f"# The shipped mapping '{recognised}' fits this file: use that instead (--mapping {recognised}).")
    top += [f"# unsure: {_one_line(d)}" for d in (*doubts, *page.doubts)]
    lines = [*top, f"mapping: {_quoted(stem)}", f"source: {_quoted(stem)}", "files:", "  payments:"]
    lines += [f"    match: {_quoted('*')}", *(f"    {line}" for line in _reading(spec, page))]
    lines += ["    fill:", "      - table: transactions", "        columns:"]
    lines += [f"          {line}" for line in page.lines]
    lines += page.labels()
    if left:
        lines += [f"# not used: {', '.join(left)}"]
    return "\n".join(lines) + "\n", page.doubts


def _reading(spec: FileSpec, page: _Page) -> list[str]:
    lines = [f"format: {spec.format}"]
    if spec.format == "csv":
        lines += [
            f"encoding: {spec.encoding}",
            f"delimiter: {_quoted(spec.delimiter)}",
            f"header_row: {spec.header_row}",
        ]
        if spec.skip_rows:
            lines.append(f"skip_rows: {spec.skip_rows}")
    if page.decimal != ".":
        lines.append(f"decimal: {_quoted(page.decimal)}")
    if page.thousands is not None:
        lines.append(f"thousands: {_quoted(page.thousands)}")
    lines.append("time_zone: UTC   # unsure: the file does not say which clock it keeps")
    return lines


class _Page:
    """Lines of the mapping in the making."""

    def __init__(self, by: dict[str, Guessed], header: tuple[str, ...], row: str) -> None:
        self._by = by
        self._header = header
        self._row = row
        self._moment = ""
        self.lines: list[str] = []
        self.doubts: list[str] = ["the time zone: UTC is taken"]
        self.decimal = "."
        self.thousands: str | None = None

    def times(self) -> None:
        """When it was booked; a column of its own for the time of day is joined."""
        date = self._by.get("booked_at")
        if date is None:
            self.doubts.append("no column of dates was found: no row will pass until one is mapped")
            self._put("booked_at", '{constant: "", format: "choose one: %Y-%m-%d"}')
            return
        form, found = _format(date.content), date.content.dates
        clock = self._by.get("_time")
        if found.rivals:
            self._two_orders(date)
            form = UNCHOSEN + " or ".join(found.rivals)
        elif found.few is not None:
            self.doubts.append(
                f"{self._some(found.few)} in {_quoted(date.name)} tell that it is {form}, the others fit the other "
                f"order of day and month too: {self._first(found.few)}"
            )
        elif found.against is not None:
            self.doubts.append(
                f"{self._some(found.against)} in {_quoted(date.name)} fit the other order of day and month only, "
                f"most fit {form}: {self._first(found.against)}"
            )
        misfits = found.misfits if date.content.formats else date.content.epoch_misfits
        self._misfits(date, misfits, f"no dates from 1950 to 2100 in {' or '.join(found.rivals) or form}")
        if clock is not None and "%H" not in form and "%I" not in form and not form.startswith("epoch"):
            form += " " + clock.content.times[0]
            self._moment = f"join: [{self._ref(date)}, {self._ref(clock)}], format: {_quoted(form)}"
            self._misfits(clock, clock.content.time_misfits, f"no times in {clock.content.times[0]}")
        else:
            self._moment = f"column: {self._ref(date)}, format: {_quoted(form)}"
        self._put("booked_at", f"{{{self._moment}}}", date)

    def _two_orders(self, date: Guessed) -> None:
        found = date.content.dates
        why = f"every value fits {' and '.join(found.rivals)}"
        if found.misfits is not None:
            why = f"the values that are dates fit {' and '.join(found.rivals)}"
        if found.against is not None:
            other = next(f for f in found.rivals if f != found.formats[0])
            why = f"{self._some(found.against)} fit {other} only, too many to take {found.formats[0]}"
            why += f", {self._first(found.against)}"
        self.doubts.append(
            f"day or month first in {_quoted(date.name)}: {why}; choose one in 'format', no row will pass until then"
        )

    def _misfits(self, guess: Guessed, found: Example | None, what: str) -> None:
        if found is not None:
            self.doubts.append(
                f"{self._some(found)} in {_quoted(guess.name)} are {what}: {self._first(found)}; "
                "a row that cannot be read goes to quarantine"
            )

    def _some(self, found: Example) -> str:
        return f"{found.count:,} of {found.total:,} values"

    def _first(self, found: Example) -> str:
        more = "…" if len(found.value) > _SHOWN else ""
        return f"the first is {self._row} {found.line:,}, {_quoted(found.value[:_SHOWN])}{more}"

    def amounts(self, spec: FileSpec) -> None:
        """Amount, direction and currency."""
        amount, debit, credit, flag = (self._by.get(t) for t in ("amount", "_debit", "_credit", "_flag"))
        numbers = [g for g in (amount, debit, credit) if g is not None]
        for guess in numbers:
            signs = guess.content.numbers
            if signs.doubt:
                why = "its signs differ, or in nearly all values its only sign stands before three digits"
                self.doubts.append(f"the decimal sign of {_quoted(guess.name)}: {why}")
            if signs.decimal and (signs.decimal != "." or signs.thousands):
                self.decimal, self.thousands = signs.decimal, signs.thousands
            self._misfits(guess, signs.misfits, f"no numbers with the decimal sign {_quoted(signs.decimal or '.')}")
        if amount is not None:
            parts = [f"column: {self._ref(amount)}"]
            if flag is not None:
                words = set(flag.content.words)
                reverse = [w for w in sorted(words) if w.lower() in DEBIT_WORDS]
                as_is = [w for w in sorted(words) if w.lower() in CREDIT_WORDS]
                parts.append(f"flag: {{column: {self._ref(flag)}, as_is: {_list(as_is)}, reverse: {_list(reverse)}}}")
                if unknown := words - set(reverse) - set(as_is):
                    self.doubts.append(f"what {_list(sorted(unknown))} in {_quoted(flag.name)} mean")
            if amount.content.numbers.negative:
                parts.append("negative: reverse_sides")
                self.doubts.append("negative amounts are taken as money going out")
            self._put("amount", f"{{{', '.join(parts)}}}", amount)
        elif debit is not None and credit is not None:
            self._put("amount", f"{{debit: {self._ref(debit)}, credit: {self._ref(credit)}}}", debit)
        else:
            self.doubts.append("no column of amounts was found: no row will pass until one is mapped")
            self._put("amount", "{constant: 0}")
        currency = self._by.get("currency")
        if currency is not None:
            table = values.currencies()
            if unknown_names := [w for w in currency.content.words if values.fold(w) not in table]:
                self.doubts.append(f"which currencies {_list(unknown_names)} in {_quoted(currency.name)} are")
            self._put("currency", self._ref(currency), currency)
        else:
            self.doubts.append("no currency was found: amounts are taken as units of the base currency")
            self._put("currency", '{constant: "@base"}')

    def sides(self) -> None:
        """Debtor and creditor; a statement's own side is the creditor of money coming in."""
        own, other = self._by.get("own_account_id"), self._by.get("counterparty_account_id")
        debtor, creditor = self._by.get("debtor_account_id"), self._by.get("creditor_account_id")
        name = self._by.get("counterparty_name")
        if debtor is None and creditor is None and own is None and other is None:
            self.doubts.append("no account was found: everything is put on one account named 'own'")
            self._put("creditor_account_id", "{constant: own}")
        creditor, debtor = creditor or own, debtor or other
        for target, guess in (("creditor_account_id", creditor), ("debtor_account_id", debtor)):
            if guess is not None:
                agent = self._by.get(target.replace("account_id", "agent"))
                plain = self._ref(guess)
                if agent is not None and not guess.content.iban:
                    plain = f"{{column: {plain}, agent: {self._ref(agent)}}}"
                self._put(target, plain, guess)
                if guess.content.scientific:
                    self.doubts.append(f"{_quoted(guess.name)} has numbers like 4.4E+11: a spreadsheet has lost digits")
        if own is not None and (creditor is own):
            what = "the customer's own account; sides are as for money coming in"
            self.doubts.append(f"{_quoted(own.name)} is taken as {what}")
        if name is not None and "debtor_name" not in self._by:
            self._put("debtor_name", self._ref(name), name)

    def others(self) -> None:
        """Everything that is copied, and words for channel and instrument."""
        plain = (
            "transaction_id", "debtor_name", "creditor_name", "debtor_agent", "creditor_agent", "debtor_country",
            "creditor_country", "remittance_information", "merchant_name", "merchant_category_code", "device_id",
            "ip_address", "ip_country", "relationship", "place_id", "place_latitude", "place_longitude",
            "end_to_end_id", "uetr",
        )  # fmt: skip
        for target in plain:
            guess = self._by.get(target)
            if guess is None:
                continue
            if target == "transaction_id" and guess.content.distinct and guess.content.filled < 1:
                self.doubts.append(f"{_quoted(guess.name)} is not always filled; other ids are derived from the row")
            self._put(target, self._ref(guess), guess)
        for target, words in (("instrument", INSTRUMENT_WORDS), ("channel", CHANNEL_WORDS)):
            guess = self._by.get(target)
            if guess is None:
                continue
            known = {w: t for w in guess.content.words if (t := _meaning(w, words)) is not None}
            unknown = [w for w in guess.content.words if w not in known]
            if unknown:
                self.doubts.append(f"which {target} {_list(unknown)} in {_quoted(guess.name)} are")
            pairs = ", ".join(f"{_quoted(w)}: {t}" for w, t in known.items())
            self._put(target, f'{{column: {self._ref(guess)}, values: {{{pairs}}}, unmapped: "null"}}', guess)

    def labels(self) -> list[str]:
        """A labels table, if a column of yes and no is called like a label."""
        label = self._by.get("_label")
        if label is None or not self._moment:
            return []
        self.doubts.append(f"{_quoted(label.name)} is taken as a label, known 30 days after the payment")
        return [
            "      - table: labels",
            f"        skip_where: [{{column: {self._ref(label)}, not_in: [1, true, yes]}}]",
            "        columns:",
            "          subject_type: {constant: transaction}",
            f"          suspicious: {self._ref(label)}",
            "          label_source: {constant: feed}",
            f"          known_at: {{{self._moment}, delay: 30d}}",
        ]

    def _put(self, target: str, spec: str, guess: Guessed | None = None) -> None:
        sure = f"   # {guess.confidence:.0%} sure" if guess is not None else "   # unsure"
        self.lines.append(f"{target}: {spec}{sure}")

    def _ref(self, guess: Guessed) -> str:
        """A column by its name, or by its position where the name is empty or stands twice."""
        lower = [h.lower() for h in self._header]
        return str(guess.position) if not guess.name or lower.count(guess.name.lower()) > 1 else _quoted(guess.name)


def _format(content: Content) -> str:
    """The date format, or what is counted since 1970."""
    return content.formats[0] if content.formats else content.epoch or "%Y-%m-%d"


def _meaning(word: str, words: dict[str, str]) -> str | None:
    padded = f" {values.fold(word)} "
    fitting = [w for w in words if f" {w} " in padded or padded.startswith(f" {w}")]
    return words[max(fitting, key=len)] if fitting else None


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=True)


def _list(words: Sequence[str]) -> str:
    return "[" + ", ".join(_quoted(w) for w in words) + "]"


def _one_line(text: str) -> str:
    return re.sub(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+", " ", text)
