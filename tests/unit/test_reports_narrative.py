"""The narrative: every sentence proven, every number recomputed, nothing of the detector told."""

from __future__ import annotations

import re
from datetime import date
from decimal import Decimal

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reports_cases import AT, FILER, STORIES, Story, osec, structuring

from fintel.config import Filer
from fintel.domain.schema import INSTRUMENTS
from fintel.reports import narrative
from fintel.reports.comparisons import disagreements
from fintel.reports.draft import build_case
from fintel.reports.fincen import render
from fintel.reports.fincen_codes import assets
from fintel.reports.sentences import PAYMENTS, Sentence

DAY = AT.date()


def told(story: Story) -> narrative.Narrative:
    return narrative.write(story.case(), FILER, DAY)


@pytest.mark.parametrize("name", STORIES)
def test_golden(name, root):
    """Reviewed by eye; made anew by deleting the file and running ``write_golden`` below."""
    case = STORIES[name]().case()
    story = narrative.write(case, FILER, DAY)
    folder = root / "tests/golden/reports"
    text = "\n".join(s.text for s in story.sentences) + "\n"
    assert text == (folder / f"{name}.narrative.txt").read_text("utf-8")
    xml = render(case, story, FILER, filing_date=DAY, attachment=f"{name}.csv").xml
    assert xml == (folder / f"{name}.xml").read_bytes()


def write_golden(root) -> None:
    for name, make in STORIES.items():
        case = make().case()
        story = narrative.write(case, FILER, DAY)
        folder = root / "tests/golden/reports"
        (folder / f"{name}.narrative.txt").write_text("\n".join(s.text for s in story.sentences) + "\n", "utf-8")
        (folder / f"{name}.xml").write_bytes(render(case, story, FILER, filing_date=DAY, attachment=f"{name}.csv").xml)


def rows_of(sentence: Sentence, transactions: pl.DataFrame) -> pl.DataFrame:
    """The payments a sentence cites, from the tables and not from the case."""
    cited = pl.DataFrame(
        [(*e.rsplit("/", 1), e) for e in sentence.evidence],
        schema={"transaction_id": pl.String, "direction": pl.String, "entry_id": pl.String},
        orient="row",
    )
    return cited.join(transactions, on="transaction_id", how="left").with_columns(
        other_id=pl.when(pl.col("direction") == "in").then("debtor_account_id").otherwise("creditor_account_id"),
    )


def value(text: str) -> Decimal:
    return Decimal(re.match(r"[\d,]+(\.\d+)?", text).group().replace(",", ""))


def amount_in(text: str) -> Decimal:
    return Decimal(re.search(r"([\d,]+\.\d+) [A-Z]{3}$", text).group(1).replace(",", ""))


def agrees(fact, rows: pl.DataFrame, *tables: pl.DataFrame) -> bool:
    """One fact, computed again by other code."""
    name, text = fact.name, fact.text
    if name in ("payments", "count"):
        return int(re.search(r"\d[\d,]*", text).group().replace(",", "")) == rows.height
    if name == "sum":
        return amount_in(text) == rows["amount"].sum() and text.endswith(rows["currency"].unique().item())
    if name in ("sum in base", "sum amount_base"):
        return abs(amount_in(text) - rows["amount_base"].sum()) <= Decimal("0.005")
    if name == "first day":
        return date.fromisoformat(text) == rows["booked_at"].min().date()
    if name == "last day":
        return date.fromisoformat(text) == rows["booked_at"].max().date()
    if name == "day":
        return date.fromisoformat(text) == rows["booked_at"].min().date()
    if name == "distinct counterparty_key":
        return value(text) == rows["other_id"].n_unique()
    if name == "distinct place_id":
        return value(text) == rows["place_id"].n_unique()
    if name == "places":
        return value(text) == rows.select("place_id", "place_city", "place_country").n_unique()
    cells = {str(c) for frame in (rows, *tables) for column in frame for c in column.to_list()}
    if name == "place":
        return all(part in cells for part in text.split(", "))
    if name == "account":
        return any(c.rsplit("|", 1)[-1] == text for c in cells)
    if name in ("name", "country", "bank", "IP address"):
        return text in cells
    raise AssertionError(f"a kind of fact that no test knows: {name}")


@pytest.mark.parametrize("name", STORIES)
def test_every_number_is_a_fact_and_recomputes_from_the_payments(name):
    story = STORIES[name]()
    frames = story.frames()
    transactions, accounts, parties = (frames[n] for n in ("transactions", "accounts", "parties"))
    for sentence in told(story).sentences:
        rest = sentence.text
        for fact in sorted(sentence.facts, key=lambda f: -len(f.text)):
            assert fact.text in sentence.text
            rest = rest.replace(fact.text, "")
        assert not re.search(r"\d", rest), f"a number without a source: {sentence.text!r}"
        rows = rows_of(sentence, transactions)
        for fact in sentence.facts:
            if fact.source == PAYMENTS:
                assert agrees(fact, rows, accounts, parties), (sentence.text, fact)


@pytest.mark.parametrize("name", STORIES)
def test_every_sentence_is_proven_or_sourced(name):
    case = STORIES[name]().case()
    known = {t.entry_id for t in case.evidence}
    for sentence in narrative.write(case, FILER, DAY).sentences:
        assert sentence.evidence or sentence.source
        assert set(sentence.evidence) <= known


def test_a_sentence_without_proof_cannot_be_made():
    with pytest.raises(ValueError):
        Sentence("Why", "It is suspicious.")


@pytest.mark.parametrize("name", STORIES)
def test_nothing_of_the_detector_is_told(name):
    story = STORIES[name]()
    text = told(story).text.lower()
    for word in (story.rule, "rule", "score", "bits", "threshold", "percentile", "model", "alert"):
        assert word.lower() not in re.findall(r"[\w/-]+", text), word


@settings(max_examples=150, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(INSTRUMENTS), st.sampled_from(["wire", "app", "branch", "p2p"]), st.sampled_from(["in", "out"])
        ),
        min_size=1,
        max_size=8,
    )
)  # fmt: skip
def test_cash_is_never_called_a_wire(payments):
    """Counterfactual: "wire" is said if and only if a credit transfer went over the wire."""
    story = Story("any", "ML-GENERAL")
    for n, (instrument, channel, direction) in enumerate(payments):
        story.pay(n, "100.00", direction, "X|1", instrument=instrument, channel=channel)
    case = story.case()
    text = narrative.write(case, FILER, DAY).text
    wired = any(i == "credit_transfer" and c == "wire" for i, c, _ in payments)
    assert ("wire" in text) == wired
    codes = {code for code, _, _ in assets(case)}
    assert (33 in codes) == any(i in ("credit_transfer", "direct_debit") for i, _, _ in payments)
    assert (39 in codes) == any(i == "cash" for i, _, _ in payments)
    for row in case.evidence:
        if row.instrument == "cash":
            assert narrative.noun_of(row)[0] in ("cash deposit", "cash withdrawal")


def test_a_value_that_its_rows_do_not_make_is_not_told_but_reported():
    frames = osec().frames()
    wrong = pl.when(pl.col("clause") == 1).then(pl.lit(60.0)).otherwise("observed")
    frames["clauses"] = frames["clauses"].with_columns(observed=wrong)
    case = build_case(**frames)
    assert [d.code for d in disagreements(case)] == ["S130"]
    assert not [s for s in narrative.write(case, FILER, DAY).sentences if "usual value" in s.text]
    assert disagreements(osec().case()) == ()


def test_cut_evidence_makes_lower_bounds():
    frames = osec().frames()
    frames["clauses"] = frames["clauses"].with_columns(evidence_truncated=True, observed=pl.col("observed") + 100)
    case = build_case(**frames)
    text = narrative.write(case, FILER, DAY).text
    assert case.truncated
    assert "at least 6 payments" in text
    assert "106" not in text


def test_key_term_opens_the_narrative_and_filer_is_not_invented():
    case = STORIES["sextortion"]().case()
    text = narrative.write(case, Filer(), DAY).text
    assert text.startswith("INTRODUCTION: FIN-2025-SEXTORTION. The reporting institution reports")


def test_a_long_story_stays_within_its_bound_and_says_what_it_left_out(monkeypatch):
    story = structuring()
    for n in range(400):
        story.pay(n * 0.1, f"{100 + n}.00", "in" if n % 2 else "out", f"BANK {'x' * 60}|{n}",
                  other_name=f"{'Very Long Name ' * 9}{n}", other_country="PH", instrument=INSTRUMENTS[n % 14])  # fmt: skip
    story.meta = None
    frames = story.frames()
    meta = frames["rules_meta"][story.rule]
    cited = tuple(f"Indicator {n} {'w' * 380}" for n in range(40))
    frames["rules_meta"] = {story.rule: type(meta)(meta.title, meta.typology, "subject", cited)}
    case = build_case(**frames)
    assert len(narrative.write(case, FILER, DAY).text) <= 17_000
    monkeypatch.setattr(narrative, "BUDGET", 3_000)
    made = narrative.write(case, FILER, DAY)
    assert len(made.text) <= 3_100
    assert made.left_out > 0
    assert made.of("Introduction") and made.of("Who") and made.of("Conclusion")
    assert not made.of("When"), "single payments go first: the attachment has them all"


def test_hostile_names_stay_one_line_of_visible_text():
    story = osec()
    for payment in story.payments:
        payment["creditor_name"] = "Sam\r\n\tFIN\x00AL\u202e OK\ud7ff\u200b </x>"
    text = told(story).text
    assert "Sam FINAL OK" in text
    assert not re.search(r"[\x00-\x1f\u202e\u200b]", text)
