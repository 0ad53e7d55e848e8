"""What rules say that cannot be meant; exclusions; SARIF."""

from __future__ import annotations

import json
import math
import re
from datetime import date
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_rules_loader import FILES, RULE, pack, rewrite

from fintel.bench.sarif import log
from fintel.errors import Diagnostic, Location, Severity
from fintel.rules.checks import check
from fintel.rules.checks_logic import logic_findings
from fintel.rules.codes import CODES
from fintel.rules.exclusions import read_exclusions, review, subject
from fintel.rules.expression import parse, parse_when
from fintel.rules.loader import load, packs_folder
from fintel.rules.reach import ANYTHING, Bounds, bounds, column_bounds, directions, never
from fintel.rules.scope import entry_columns
from fintel.rules.source import Findings

__all__ = ["pack"]
SOUND = {"R065", "R056"}  # what the small pack of the other tests leaves open


def told(pack: Path) -> list[str]:
    library, diagnostics = load([pack])
    assert [d for d in diagnostics if d.severity is Severity.ERROR] == []
    return sorted({d.code for d in logic_findings(library)} - SOUND)


NEVER = [
    "sends < 0", "sends > 5 and sends < 3", "sends >= 5 and sends < 5", "sends = 2 and sends = 3",
    "-1 * sends > 0", "recipients > sends", "sends < recipients", "largest < smallest", "mean > largest",
    "smallest > mean", "moved < 0", "sends + recipients < 0", "abs(sends) < 0", "trend > 1", "age > 91",
    "sends >= 3 and (sends < 2 or recipients < 0)", "sends between 5 and 3", "least(sends, recipients) < 0",
    "3 > sends and sends > 3", "moved / sends < 0", "coalesce(moved, 0) < 0",
]  # fmt: skip
MAY = [
    "sends >= 5 and sends <= 5", "sends > 5 or sends < 3", "recipients >= sends", "sends > 5 and recipients < 3",
    "moved > 0", "trend >= 1", "age >= 0", "largest >= mean", "moved - sends < 0", "sends = 2 or sends = 3",
    "moved / sends > 100", "sends is null", "not sends < 0", "sends <> 3 and sends = 4",
]  # fmt: skip
MEASURES = """\
  moved:      {sum: amount_base, timespan: 7d}
  smallest:   {min: amount_base, timespan: 7d}
  largest:    {max: amount_base, timespan: 7d}
  mean:       {mean: amount_base, timespan: 7d}
  trend:      {rising: amount_base, timespan: 7d}
  age:        {first: booked_at, timespan: 90d}
"""


@pytest.fixture
def wide(pack: Path) -> Path:
    """The small pack with a measure of every bound, all of the anchor's own entries."""
    text = RULE.replace(', offset: 1d, where: "mentions(@kw)"}', "}\n" + MEASURES.rstrip() + "\n").replace(
        "}\n\n", "}\n"
    )
    (pack / "osec/sends.yaml").write_text(text, encoding="utf-8")
    return pack


@pytest.mark.parametrize("when", NEVER)
def test_a_condition_that_never_holds_is_told(wide: Path, when: str) -> None:
    rewrite(wide, "osec/sends.yaml", "sends >= :min_sends and recipients <= 3", f'"{when}"')
    (found,) = [d for d in logic_findings(load([wide])[0]) if d.code == "R036"]
    assert found.location is not None
    assert found.location.line is not None


@pytest.mark.parametrize("when", MAY)
def test_a_condition_that_may_hold_is_not(wide: Path, when: str) -> None:
    rewrite(wide, "osec/sends.yaml", "sends >= :min_sends and recipients <= 3", f'"{when}"')
    assert "R036" not in told(wide)


@pytest.mark.parametrize(
    ("text", "impossible"),
    [
        ("direction = 'in' and direction = 'out'", True),
        ("instrument in ('card', 'cash') and instrument = 'cheque'", True),
        ("local_hour > 23", True),
        ("local_hour between 22 and 23 or local_hour < 6", False),
        ("amount_base < 0", True),
        ("amount_base > 0", False),
        ("extract(hour from booked_at) >= 24", False),  # not looked into
        ("lower(party_occupation) in @risk and party_occupation = 'x'", False),
        ("instrument in ('card', 'cash') and instrument = 'card'", False),
        ("home_distance_km > 21000", True),
        ("account_age_days < 0", False),
    ],
)
def test_entries_that_cannot_be(pack: Path, text: str, impossible: bool) -> None:
    lists = load([pack])[0].lists
    part = parse(text, columns=entry_columns(), lists=lists).part
    assert (never(part, column_bounds) is not None) is impossible


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("direction = 'in'", "in"), ("direction <> 'in'", "out"), ("not direction = 'in'", "out"),
        ("direction = 'in' or direction = 'out'", "inout"), ("amount > 1", "inout"),
        ("(direction = 'in' or amount > 1) and 'in' = direction", "in"),
        ("direction in ('in')", "in"), ("coalesce(direction = 'out' and amount > 1, false)", "out"),
    ],
)  # fmt: skip
def test_directions(text: str, expected: str) -> None:
    assert "".join(sorted(directions(parse(text, columns=entry_columns()).part))) == expected


@st.composite
def numbers(draw: st.DrawFn, depth: int = 3) -> str:
    if depth == 0 or draw(st.booleans()):
        return draw(st.sampled_from(["a", "b", "1", "2.5", "0", "10"]))
    left, right = draw(numbers(depth=depth - 1)), draw(numbers(depth=depth - 1))
    form = draw(
        st.sampled_from(
            ["({} + {})", "({} - {})", "({} * {})", "least({}, {})", "greatest({}, {})", "coalesce({}, {})"]
        )
    )
    return form.format(left, right)


@given(numbers(), st.floats(-5, 5), st.floats(0, 5))
def test_a_value_lies_within_its_bounds(text: str, a: float, b: float) -> None:
    from fintel.errors import RuleError

    try:
        part = parse_when(f"{text} > a", ["a", "b"]).part.parts[0]
    except RuleError:
        return
    found = bounds(part, lambda name: Bounds(-5, 5) if name == "a" else Bounds(0, 5))
    names = {"a": a, "b": b, "least": min, "greatest": max, "coalesce": lambda x, y: x}
    value = eval(text, {"__builtins__": {}}, names)
    assert found.low - 1e-9 <= value <= found.high + 1e-9
    assert ANYTHING == Bounds(-math.inf, math.inf)


MISTAKES = [
    ("range: [2, 30], basis: engineering", "basis: engineering", "R038"),
    ("unit: count, range: [2, 30]", "unit: share, range: [2, 30]", "R037"),
    ("unit: CAD", "unit: number", "R039"),
    ("budget: 10", "budget: 11", "R059"),
    ("status: test", "status: stable", "R067"),
]


@pytest.mark.parametrize(("old", "new", "code"), MISTAKES)
def test_a_mistake_is_told_at_its_place(pack: Path, old: str, new: str, code: str) -> None:
    path = pack / "osec/sends.yaml"
    before = told(pack)
    assert code not in before
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new, 1))
    library, _ = load([pack])
    (found,) = [d for d in logic_findings(library) if d.code == code]
    line = path.read_text()[: path.read_text().index(new)].count("\n") + 1
    assert found.location is not None
    assert found.severity is Severity.WARNING
    assert found.location.line in (line, path.read_text().count("\n", 0, path.read_text().index("anchor:")) + 1)


def test_a_measure_both_ways_beside_an_anchor_one_way(pack: Path) -> None:
    def codes(where: str) -> set[str]:
        text = RULE.replace('where: "mentions(@kw)"', f'where: "{where}"')
        (pack / "osec/sends.yaml").write_text(text)
        return {d.code for d in logic_findings(load([pack])[0])}

    assert "R056" in codes("mentions(@kw)")
    assert "R056" in codes("channel = 'wire'")
    for meant in ("true", "direction = 'in' or amount > 5", "account_kind = 'person'", "amount_base > 0"):
        assert "R056" not in codes(meant), meant


def test_kinds_of_case(pack: Path) -> None:
    path = pack / "osec/cases/sends.yaml"
    assert {d.code for d in logic_findings(load([pack])[0])} >= {"R065"}
    text = path.read_text() + (
        "  - name: blind\n    defaults: {counterparty_country: null}\n"
        "    entries: [{at: 2025-03-01, amount: 10, counterparty: r}]\n    expect: {outcome: cannot_tell}\n"
    )
    path.write_text(text.replace(", observed: {sends: 4}", ""))
    assert {d.code for d in logic_findings(load([pack])[0])} & {"R065", "R066"} == {"R066"}


def test_lists_and_sources(pack: Path) -> None:
    catalogue = pack / "indicators.yaml"
    catalogue.write_text(catalogue.read_text().replace("date: 2025-11", "date: 2025-11, grade: U"))
    assert "R068" in told(pack)
    (pack / "lists/risk.yaml").write_text('name: risk\nkind: values\ncolumn: country\nsource: "s"\nvalues: []\n')
    assert "R077" in told(pack)
    kw = pack / "lists/kw.yaml"
    kw.write_text(kw.read_text().replace("category: INNOC", "category: INNOC, false_positive_risk: very high"))
    assert "R076" not in told(pack)
    text = RULE.replace(
        "anchor: direction = 'out' and amount_base <= :max_amount and counterparty_country in @risk",
        "anchor: direction = 'out' and mentions(@kw)",
    ).replace('  max_amount: {default: 200, unit: CAD, basis: source, note: "often below"}\n', "")
    (pack / "osec/sends.yaml").write_text(text.replace(" at most {max_amount}", ""))
    assert "R076" in told(pack)


def test_copies_up_to_the_values_of_parameters(pack: Path) -> None:
    def copy(change: tuple[str, str]) -> list[str]:
        text = RULE.replace("id: osec/sends", "id: osec/other").replace(*change)
        (pack / "osec/other.yaml").write_text(text)
        (pack / "osec/cases/other.yaml").write_text(FILES["osec/cases/sends.yaml"])
        return [d.code for d in logic_findings(load([pack])[0]) if d.code == "R057"]

    assert copy(("default: 4", "default: 5")) == ["R057"]
    assert copy(("recipients <= 3", "recipients <= 4")) == []
    assert copy(("id: osec/other", "id: osec/other")) == []  # the very logic is R012


def test_deprecated_components(pack: Path) -> None:
    (pack / "osec/both.yaml").write_text(
        "id: osec/both\ntitle: Both\nversion: 1\nstatus: test\nlevel: high\nbudget: 3\ntypology: OSEC\n"
        "indicators: [X-01]\ndescription: d\ncorrelation: {timespan: 30d, all: [osec/sends]}\nreason: '{all}'\n"
    )
    assert "R058" not in told(pack)
    rewrite(pack, "osec/sends.yaml", "status: test", "status: deprecated")
    assert "R058" in told(pack)


# -- exclusions

TODAY = date(2026, 11, 24)


def found(code: str, file: str = "/x/osec/sends.yaml", severity: Severity = Severity.WARNING) -> Diagnostic:
    return Diagnostic(code, "m", Location(file, 3, 5), "h", severity)


def excluding(tmp_path: Path, *lines: str) -> tuple:
    path = tmp_path / "rules.exclude.yaml"
    path.write_text("exclude:\n" + "".join(f"  - {line}\n" for line in lines))
    findings = Findings()
    return read_exclusions(path, findings), findings.items


def test_exclusions_set_aside_what_they_speak_of(tmp_path: Path) -> None:
    known, wrong = excluding(
        tmp_path,
        "{rule: osec/*, code: R056, reason: on purpose, until: 2026-11-24}",
        "{rule: labour/x, code: R056, reason: never}",
        "{rule: osec/sends, code: R059, reason: gone, until: 2026-11-23}",
        "{rule: osec/sends, code: R041, reason: an error}",
    )
    assert wrong == []
    error = found("R041", severity=Severity.ERROR)
    given = [
        found("R056"),
        found("R056", "/x/osec/cases/sends.yaml"),
        found("R056", "/x/crypto/a.yaml"),
        found("R059"),
        error,
    ]
    result = review(given, known, today=TODAY)
    assert [(d.code, subject(d)) for d, _ in result.excluded] == [("R056", "osec/sends")] * 2
    assert {e.reason for _, e in result.excluded} == {"on purpose"}
    assert sorted(d.code for d in result.open) == ["R041", "R056", "R059", "R090", "R091", "R093"]
    assert [d.location.line for d in result.open if d.code == "R090" and d.location] == [3]
    # of rules that were not looked at nothing is unused
    part = review([], known, today=TODAY, whole=["osec/sends"])
    assert sorted(d.code for d in part.open) == ["R090", "R090", "R091"]


@pytest.mark.parametrize(
    "line",
    [
        "{rule: osec/*, code: R056}",
        "{rule: osec/*, code: R056, reason: ' '}",
        "{rule: osec/*, code: R999, reason: x}",
        "{rule: osec/*, code: oops, reason: x}",
        "{code: R056, reason: x}",
        "{rule: osec/*, reason: x}",
        "{rule: osec/*, code: R056, reason: x, until: soon}",
        "{rule: osec/*, code: R056, reason: x, forever: true}",
        "osec",
        "[osec]",
    ],
)
def test_an_exclusion_that_cannot_be_read_excludes_nothing(tmp_path: Path, line: str) -> None:
    known, wrong = excluding(tmp_path, line)
    assert known == ()
    assert wrong
    assert all(d.severity is Severity.ERROR and d.location.line == 2 for d in wrong)


# -- SARIF


def test_sarif_names_rules_places_and_what_is_suppressed(tmp_path: Path) -> None:
    known, _ = excluding(tmp_path, "{rule: osec/*, code: R056, reason: on purpose}")
    inside = tmp_path / "a b" / "osec" / "sends.yaml"
    given = [
        found("R056", str(inside)),
        found("R041", "/elsewhere/x/y.yaml", Severity.ERROR),
        Diagnostic("R001", "no place"),
    ]
    result = review(given, known, today=TODAY)
    written = json.loads(json.dumps(log(result.open, result.excluded, root=tmp_path)))
    assert written["version"] == "2.1.0"
    assert written["$schema"].endswith("sarif-schema-2.1.0.json")
    (run,) = written["runs"]
    rules = run["tool"]["driver"]["rules"]
    assert [r["id"] for r in rules] == ["R001", "R041", "R056"]
    assert all(r["shortDescription"]["text"] and "docs/reference/rules.md#findings" in r["help"]["text"] for r in rules)
    assert [r["defaultConfiguration"]["level"] for r in rules] == ["error", "error", "warning"]
    by_code = {r["ruleId"]: r for r in run["results"]}
    assert all(rules[r["ruleIndex"]]["id"] == code for code, r in by_code.items())
    place = by_code["R056"]["locations"][0]["physicalLocation"]
    assert place["artifactLocation"] == {"uri": "a%20b/osec/sends.yaml", "uriBaseId": "SRCROOT"}
    assert place["region"] == {"startLine": 3, "startColumn": 5}
    assert by_code["R056"]["suppressions"] == [
        {"kind": "external", "status": "accepted", "justification": "on purpose"}
    ]
    assert by_code["R041"]["locations"][0]["physicalLocation"]["artifactLocation"] == {
        "uri": "file:///elsewhere/x/y.yaml"
    }
    assert by_code["R041"]["level"] == "error"
    assert by_code["R041"]["suppressions"] == []
    assert by_code["R001"]["locations"] == []


# -- the whole


def test_the_shipped_packs_leave_nothing_open() -> None:
    library, diagnostics = load()
    findings = Findings()
    known = read_exclusions(packs_folder() / "rules.exclude.yaml", findings)
    assert findings.items == []
    everything = [*diagnostics, *check(library), *logic_findings(library)]
    assert [str(d) for d in review(everything, known, today=TODAY).open] == []


def test_every_code_is_told_on_the_page_and_given_somewhere(root: Path) -> None:
    page = (root / "docs/reference/rules.md").read_text(encoding="utf-8")
    assert dict(re.findall(r"^\| (R\d{3}) \| (.*) \|$", page, re.MULTILINE)) == dict(CODES)
    given = set()
    for path in (root / "fintel/rules").glob("*.py"):
        if path.name != "codes.py":
            given |= set(re.findall(r'"(R\d{3})"', path.read_text(encoding="utf-8")))
    assert given == set(CODES)


def test_a_selection_is_compared_with_every_rule_and_a_faulty_one_is_told(tmp_path):
    from typer.testing import CliRunner

    from fintel.cli.main import app
    from fintel.rules.loader import packs_folder

    pack = tmp_path / "p"
    pack.mkdir()
    (pack / "pack.yaml").write_text("name: p\ntitle: P\ndescription: d\n")
    text = (packs_folder() / "labour" / "remits-without-income.yaml").read_text()
    text = text.replace("labour/remits-without-income", "p/copy")
    (pack / "copy.yaml").write_text(text)
    (pack / "bad.yaml").write_text(text.replace("p/copy", "p/bad").replace("title:", "titel:"))
    for chosen, code in (("p", "R012"), ("p/bad", "R005"), ("bad.yaml", "R005")):
        result = CliRunner().invoke(app, ["rules", "check", chosen, "-f", str(tmp_path), "--json"])
        assert result.exit_code == 1, result.output
        assert code in result.stdout and "no pack, rule" not in result.output
