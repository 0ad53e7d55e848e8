"""Mappings: every finding with its place; hostile YAML refused; shipped ones clean."""

from __future__ import annotations

from pathlib import Path

import pytest

from fintel.feeds.mapping_loader import MappingError, load, parse, shipped

GOOD = """\
mapping: m
source: m
files:
  f:
    fill:
      - table: transactions
        columns:
          booked_at: {column: when, format: "%Y-%m-%d"}
          amount: amount
          currency: {constant: EUR}
          debtor_account_id: from
"""


def findings(text: str) -> list[tuple[str, int | None, str]]:
    _, found = parse(text, "m.yaml")
    return [(d.code, d.location.line if d.location else None, f"{d.message} {d.hint}") for d in found]


def test_a_good_mapping_has_no_findings() -> None:
    mapping, found = parse(GOOD, "m.yaml")
    assert found == []
    assert mapping is not None
    assert mapping.text == GOOD


@pytest.mark.parametrize("name", [*shipped(), "template"])
def test_shipped_mappings_are_clean(name: str) -> None:
    mapping = load(name)
    assert mapping.mapping == name
    assert mapping.description


@pytest.mark.parametrize(
    ("old", "new", "code", "line", "words"),
    [
        ("amount: amount", "amuont: amount", "M021", 9, "did you mean 'amount'"),
        ("table: transactions", "table: transaction", "M020", 6, "did you mean 'transactions'"),
        ("constant: EUR", "konstant: EUR", "M010", 10, "did you mean 'constant'"),
        ("          amount: amount\n", "", "M022", 7, "needs 'amount'"),
        (', format: "%Y-%m-%d"', "", "M025", 8, "never guessed"),
        ('"%Y-%m-%d"', '"%Y-%Q"', "M025", 8, "%Q"),
        ('"%Y-%m-%d"', '["%d/%m/%Y", "%m/%d/%Y"]', "M026", 8, "03/04/2025"),
        ("    fill:", "    time_zone: Europe/Berln\n    fill:", "M028", 5, "Europe/Berlin"),
        ("amount: amount", "amount: {column: amount, format: x%Y}", "M023", 9, "does not go with"),
        ("amount: amount", "amount_base: amount", "M021", 9, "filled by the reader"),
        ("amount: amount", "amount: amount\n          channel: {constant: wires}", "M024", 10, "did you mean 'wire'"),
        ("amount: amount", "amount: {column: a, join: [a, b]}", "M012", 9, "one of"),
        ("debtor_account_id", "remittance_information", "M022", 7, "debtor or a creditor"),
        ("source: m", "source: 'A b'", "M012", 2, "pattern"),
    ],
)  # fmt: skip
def test_findings_name_the_place_and_the_nearest(old: str, new: str, code: str, line: int, words: str) -> None:
    assert old in GOOD
    found = findings(GOOD.replace(old, new, 1))
    assert any(c == code and at == line and words in text for c, at, text in found), found


def test_a_label_cannot_reach_what_rules_see() -> None:
    text = (
        GOOD
        + """\
          purpose_code: is_bad
      - table: labels
        columns:
          subject_type: {constant: transaction}
          suspicious: is_bad
          label_source: {constant: x}
          known_at: {column: when, format: "%Y-%m-%d"}
"""
    )
    assert [(c, at) for c, at, _ in findings(text)] == [("M030", 12)]


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("a: &x 1\nb: *x\n", "M003"),
        ("a: {b: 1, b: 2}\n", "M004"),
        ("a: [1\n", "M001"),
        ("", "M001"),
        ("- 1\n", "M001"),
        ("a: !!python/object/apply:os.system [id]\n", "M011"),
        ("x: " + "[" * 300 + "]" * 300, "M002"),
        ("x: " + "[" * 100_000, "M001"),
        ("x: '" + "a" * 1_000_001 + "'", "M002"),
        ("? [a]\n: 1\n", "M001"),
    ],
)
def test_hostile_yaml_is_a_finding_not_a_crash(text: str, code: str) -> None:
    assert code in [c for c, _, _ in findings(text)] or code == "M001"
    assert findings(text)


def test_yaml_words_stay_words() -> None:
    text = GOOD.replace("{constant: EUR}", "{column: c, values: {no: NOK, 12:30: EUR, 0: SEK}}")
    mapping, found = parse(text, "m.yaml")
    assert found == []
    assert mapping is not None
    columns = mapping.files["f"].fill[0].columns
    assert columns is not None
    assert columns["currency"].values == {"no": "NOK", "12:30": "EUR", "0": "SEK"}


def test_loading_raises_with_every_finding(tmp_path: Path) -> None:
    path = tmp_path / "m.yaml"
    path.write_text(GOOD.replace("amount: amount", "amuont: amount"))
    with pytest.raises(MappingError) as caught:
        load(path)
    assert {d.code for d in caught.value.diagnostics} == {"M021", "M022"}
    assert str(path) in str(caught.value)
    with pytest.raises(MappingError, match="no mapping 'aml_sim'") as unknown:
        load("aml_sim")
    assert unknown.value.hint == "did you mean 'amlsim'?"


def test_the_reference_page_lists_every_code_and_mapping(root: Path) -> None:
    import re

    from fintel.feeds.codes import REASONS, code_text

    page = (root / "docs" / "reference" / "mappings.md").read_text(encoding="utf-8")
    for code, reason in REASONS.items():
        assert f"| {code_text(code)} | {reason.message.format(column='the column')} | {reason.hint} |" in page
    used = {
        c for f in (root / "fintel" / "feeds").glob("mapping*.py") for c in re.findall(r'"(M\d{3})"', f.read_text())
    }
    assert used == set(re.findall(r"^\| (M\d{3}) \|", page, re.MULTILINE))
    assert {f"`{name}`" for name in (*shipped(), "template")} == set(
        re.findall(r"^\| (`\w+`) \| [^|]+\| [^|]*\| ", page, re.MULTILINE)
    ) & {f"`{n}`" for n in (*shipped(), "template")}


@pytest.mark.parametrize("zone", ["Factory", "localtime"])
def test_a_zone_without_a_clock_is_unknown(zone: str) -> None:
    text = GOOD.replace('format: "%Y-%m-%d"', f'format: "%Y-%m-%d", time_zone: {zone}')
    assert [code for code, _, _ in findings(text)] == ["M028"]


@pytest.mark.parametrize(("count", "codes"), [(200, []), (201, ["M029"]), (8000, ["M029"])])
def test_beginnings_are_bounded(count: int, codes: list[str]) -> None:
    words = ", ".join(f'"k{i}*": EUR' for i in range(count))
    text = GOOD.replace("{constant: EUR}", f"{{column: c, values: {{{words}}}}}")
    assert [code for code, _, _ in findings(text)] == codes
