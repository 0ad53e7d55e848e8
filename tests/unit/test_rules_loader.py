"""Packs on disk: what loads, what is left out and where the finding points, and hostile files."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fintel.errors import Severity
from fintel.rules.checks import check
from fintel.rules.loader import load, packs_folder
from fintel.rules.source import MAX_BYTES, Findings, parse

RULE = """\
id: osec/sends
title: Frequent low-value sends
version: 1
status: test
level: high
budget: 10
typology: OSEC
indicators: [X-01]
techniques: [T0058.003]
description: >-
  Why it matters.
subject: account
role: subject
per: [account_id]
parameters:
  max_amount: {default: 200, unit: CAD, basis: source, note: "often below"}
  min_sends:  {default: 4, unit: count, range: [2, 30], basis: engineering}
anchor: direction = 'out' and amount_base <= :max_amount and counterparty_country in @risk
measures:
  sends:      {count: "*", timespan: 7d}
  recipients: {distinct: counterparty_id, timespan: 7d, offset: 1d, where: "mentions(@kw)"}
when: sends >= :min_sends and recipients <= 3
reason: "{sends} sends of at most {max_amount} to {recipients}"
falsepositives: [Regular family support]
"""
CASES = """\
rates: {CAD: 0.7}
defaults: {account: a, direction: out, currency: CAD, counterparty_country: PH, remittance_information: rent}
cases:
  - name: hit
    entries: [{at: 2025-03-01, amount: 10, counterparty: "r{n}", repeat: {times: 4, every: 1d}}]
    expect: {hit: a, observed: {sends: 4}}
  - name: near miss
    near_miss: true
    entries: [{at: 2025-03-01, amount: 10, counterparty: r, repeat: {times: 3, every: 1d}}]
    expect: {hit: none}
"""
FILES = {
    "indicators.yaml": 'indicators:\n  X-01: {typology: OSEC, issuer: X, document: "D", date: 2025-11, text: "own words"}\n',
    "lists/risk.yaml": 'name: risk\nkind: values\ncolumn: country\nsource: "s"\nvalues: [PH, NO, "TH"]\n',
    "lists/kw.yaml": "name: kw\nkind: keywords\nterms:\n  - {term: school fees, language: en, category: INNOC}\n",
    "lists/threshold_rates.yaml": "name: threshold_rates\nkind: rates\nbase: USD\nrates: {CAD: 0.7}\n",
    "osec/pack.yaml": "name: osec\ntitle: OSEC\ndescription: d\n",
    "osec/sends.yaml": RULE,
    "osec/cases/sends.yaml": CASES,
}


@pytest.fixture
def pack(tmp_path: Path) -> Path:
    for name, text in FILES.items():
        path = tmp_path / "rules" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return tmp_path / "rules"


def rewrite(pack: Path, name: str, old: str, new: str) -> tuple[int, int]:
    """Replace a piece of a file; line and column of the new piece's first character."""
    path = pack / name
    text = path.read_text(encoding="utf-8")
    assert text.count(old) == 1, old
    path.write_text(text.replace(old, new), encoding="utf-8")
    before = text[: text.index(old)]
    return before.count("\n") + 1, len(before) - before.rfind("\n")


def test_a_sound_pack_loads_without_a_finding(pack):
    library, diagnostics = load([pack])
    assert diagnostics == ()
    assert check(library) == ()
    (rule,) = library.rules
    assert rule.id == "osec/sends"
    assert rule.measures["recipients"].offset.days == 1
    assert library.lists["risk"].values == ("PH", "NO", "TH")  # NO is Norway, not false
    assert library.threshold_rates == {"USD": 1.0, "CAD": 0.7}
    assert rule.parameters["max_amount"].is_money
    assert not rule.parameters["min_sends"].is_money


def test_the_repositorys_packs_load_without_an_error():
    library, diagnostics = load()
    assert [str(d) for d in diagnostics if d.severity is Severity.ERROR] == []
    assert len(library.rules) > 0
    assert all(rule.indicators for rule in library.rules)


MISTAKES = [
    # old, new, code, offset of the word in the new text, hint
    ("level: high", "level: hihg", "R013", 7, "high"),
    ("status: test", "status: live", "R013", 8, None),
    ("typology: OSEC", "typology: OSAC", "R013", 10, "OSEC"),
    ("version: 1", "version: 0", "R007", 9, None),
    ("title: Frequent low-value sends\n", "titel: Frequent low-value sends\n", "R005", 0, "title"),
    ("title: Frequent low-value sends\n", "", "R006", None, None),
    ("id: osec/sends", "id: osec/other", "R010", 4, None),
    ("[X-01]", "[X-02]", "R014", 0, "X-01"),
    ("[X-01]", "[]", "R014", 0, None),
    ("[T0058.003]", "[T58]", "R017", 0, None),
    ("per: [account_id]", "per: [account]", "R022", 5, "account_id"),
    ("per: [account_id]", "per: [currency]", "R018", 5, None),
    ("amount_base <= :max_amount", "amont <= :max_amount", "R022", 0, "amount"),
    ("amount_base <= :max_amount", "amount <= :max_amount", "R042", 0, "amount_base"),
    ("amount_base <= :max_amount", "amount_base % :max_amount = 0", "R042", 0, None),
    ("direction = 'out'", "sex = 'm'", "R023", 0, None),
    ("@risk", "@rsk", "R025", 0, "risk"),
    (":min_sends", ":min_send", "R024", 0, "min_sends"),
    ("sends >= :min_sends", "send >= :min_sends", "R029", 0, "sends"),
    ("sends >= :min_sends and recipients <= 3", "sends", "R028", 0, None),
    ('"mentions(@kw)"', '"mentions(@risk)"', "R030", 10, None),
    ('"mentions(@kw)"', "'merchant_name = ''a'' and 1'", "R027", 27, None),
    ("range: [2, 30]", "range: [5, 30]", "R041", -16, None),
    ("range: [2, 30]", "range: 30", "R007", 7, None),
    ('count: "*", timespan: 7d', 'count: "*"', "R043", -1, None),
    ('count: "*", timespan: 7d', 'count: "*", timespan: 7', "R044", 22, None),
    ('count: "*", timespan: 7d', 'count: amount, timespan: 7d', "R045", 7, None),
    ('count: "*", timespan: 7d', "sum: channel, timespan: 7d", "R045", 5, None),
    ('count: "*", timespan: 7d', "sum: amont, timespan: 7d", "R022", 5, "amount"),
    ('count: "*", timespan: 7d', 'count: "*", sum: amount_base, timespan: 7d', "R045", -1, None),
    ("{distinct: counterparty_id", "{distinct: sex", "R023", 11, None),
    ("{recipients}", "{recipient}", "R050", 0, "recipients"),
    ("timespan: 7d, offset: 1d", "timespam: 7d, offset: 1d", "R005", 0, "timespan"),
]  # fmt: skip


@pytest.mark.parametrize(("old", "new", "code", "offset", "hint"), MISTAKES)
def test_a_mistake_is_found_at_its_place_and_the_rule_is_left_out(pack, old, new, code, offset, hint):
    other = RULE.replace("osec/sends", "osec/other").replace(":min_sends and", ":min_sends + 1 and")
    (pack / "osec/other.yaml").write_text(other, encoding="utf-8")
    line, column = rewrite(pack, "osec/sends.yaml", old, new)
    library, diagnostics = load([pack])
    assert [rule.id for rule in library.rules] == ["osec/other"]
    found = next(d for d in diagnostics if d.code == code)
    assert found.location.file == str(pack / "osec/sends.yaml")
    if offset is not None:
        assert (found.location.line, found.location.column) == (line, column + offset)
    if hint is not None:
        assert hint in found.hint


WARNINGS = [
    ("sends >= :min_sends", "sends >= 4", "R040"),
    (" to {recipients}", "", None),
    (" and recipients <= 3", "", None),
    ("distinct: counterparty_id", "sum: amount", "R046"),
    ("counterparty_country in @risk", "channel = 'wire' and currency in @risk", "R031"),
    ("unit: CAD", "unit: EUR", "R080"),
]


@pytest.mark.parametrize(("old", "new", "code"), WARNINGS)
def test_a_warning_does_not_keep_a_rule_out(pack, old, new, code):
    rewrite(pack, "osec/sends.yaml", old, new)
    library, diagnostics = load([pack])
    assert len(library.rules) == 1
    assert diagnostics == ()
    assert [(d.code, d.severity) for d in check(library)] == ([(code, Severity.WARNING)] if code else [])


def test_an_unused_measure_and_duplicate_logic(pack):
    rewrite(pack, "osec/sends.yaml", " and recipients <= 3", "")
    rewrite(pack, "osec/sends.yaml", " to {recipients}", "")
    again = (pack / "osec/sends.yaml").read_text().replace("osec/sends", "osec/again").replace("title: F", "title: G")
    (pack / "osec/again.yaml").write_text(again.replace("  and", " AND  "))
    library, _ = load([pack])
    codes = [d.code for d in check(library)]
    assert codes.count("R048") == 2
    assert codes.count("R012") == 1
    assert codes.count("R060") == 1


def test_fingerprints_part_logic_from_words(pack):
    (before,) = load([pack])[0].rules
    rewrite(pack, "osec/sends.yaml", "direction = 'out' and amount_base", "direction   =  'out'\n  AND amount_base")
    rewrite(pack, "osec/sends.yaml", "title: Frequent", "title: Very frequent")
    (words,) = load([pack])[0].rules
    assert words.fingerprint == before.fingerprint
    assert words.metadata_fingerprint != before.metadata_fingerprint
    rewrite(pack, "osec/sends.yaml", "default: 4", "default: 5")
    (logic,) = load([pack])[0].rules
    assert logic.fingerprint != before.fingerprint
    assert logic.fingerprint == before.tuned({"min_sends": 5}).fingerprint


def test_private_lists_join_those_of_one_name(pack, tmp_path):
    local = tmp_path / "lists.local"
    local.mkdir()
    (local / "risk.yaml").write_text("name: risk\nkind: values\ncolumn: country\nvalues: [PH, XX]\n")
    (local / "kw.yaml").write_text("name: kw\nkind: keywords\nterms: [{term: secret}]\n")
    (local / "own.yaml").write_text("name: own\nkind: values\ncolumn: country\nvalues: [QQ]\n")
    library, diagnostics = load([pack], local_lists=local)
    assert diagnostics == ()
    assert library.lists["risk"].values == ("PH", "NO", "TH", "XX")
    assert [t.term for t in library.lists["kw"].terms] == ["school fees", "secret"]
    assert library.lists["own"].values == ("QQ",)
    assert library.fingerprint != load([pack])[0].fingerprint


HOSTILE = {
    "alias": ("a: &x [1]\nb: *x\n", "R003"),
    "billion laughs": ("a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]\n", "R003"),
    "python tag": ("a: !!python/object/apply:os.system [id]\n", "R003"),
    "own tag": ("a: !x 1\n", "R003"),
    "merge key": ("<<: {a: 1}\n", "R005"),
    "deep": ("a: " + "[" * 50_000, "R003"),
    "deep braces": ("{a: " * 50_000, "R003"),
    "twice": ("id: a\nid: b\n", "R004"),
    "two documents": ("a: 1\n---\nb: 2\n", "R002"),
    "not a mapping": ("- 1\n", "R002"),
    "empty": ("", "R002"),
    "broken": ("a: [1\nb: 2\n", "R002"),
    "control characters": ("a: \x00\x01\n", "R002"),
    "key that is a list": ("? [a]\n: 1\n", "R002"),
    "huge": ("a: " + "x" * MAX_BYTES, "R001"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_files_are_refused_and_the_others_load(pack, name):
    text, code = HOSTILE[name]
    (pack / "osec/bad.yaml").write_text(text, encoding="utf-8")
    library, diagnostics = load([pack])
    assert [rule.id for rule in library.rules] == ["osec/sends"]
    assert code in {d.code for d in diagnostics}
    assert {d.location.file for d in diagnostics} == {str(pack / "osec/bad.yaml")}


def test_findings_of_a_file_are_bounded_and_counted(pack):
    started = time.process_time()
    (pack / "osec/bad.yaml").write_text("".join(f"k{n}: 1\n" for n in range(60_000)), encoding="utf-8")
    (pack / "osec/other.yaml").write_text(f"{'x' * 900}: 1\n", encoding="utf-8")
    library, diagnostics = load([pack])
    assert [rule.id for rule in library.rules] == ["osec/sends"]
    bad = [d for d in diagnostics if d.location.file.endswith("bad.yaml")]
    assert len(bad) == 101
    missing = 13  # keys that every rule needs
    assert bad[-1].message == f"{60_000 + missing - 100:,} more findings that are not shown"
    assert bad[-1].severity is Severity.ERROR
    long = next(d for d in diagnostics if "xxx" in d.message)
    assert len(long.message) == 200 and long.message.endswith("…")
    assert time.process_time() - started < 30


def test_a_long_wrong_expression_is_read_no_further_than_needed(pack):
    text = (pack / "osec/sends.yaml").read_text().replace("id: osec/sends", "id: osec/bad")
    (pack / "osec/bad.yaml").write_text(re.sub(r"anchor:.*", f"anchor: ({' + '.join(['nme'] * 3000)}) > 1", text))
    library, diagnostics = load([pack])
    assert [rule.id for rule in library.rules] == ["osec/sends"]
    assert len(diagnostics) == 101


def test_bytes_that_are_no_text(pack):
    (pack / "osec/bad.yaml").write_bytes(b"id: \xff\xfe\x00")
    (pack / "osec/old.yml").write_text("id: x")
    os.mkfifo(pack / "osec/pipe.yaml")
    library, diagnostics = load([pack, pack / "nowhere"])
    assert len(library.rules) == 1
    assert [d.code for d in diagnostics] == ["R001", "R001", "R001"]


@settings(max_examples=300, deadline=None)
@given(st.text(alphabet=st.sampled_from(list("ab:-[]{}'\"|>#&*!%@,\n ?\\\t1é\u2028")), max_size=60))
def test_any_yaml_gives_nodes_or_a_finding_and_places_inside_the_file(text):
    findings = Findings()
    node = parse(text, "f.yaml", findings)
    assert (node is None) == bool(findings.items)
    for found in findings.items:
        assert found.location.line is None or found.location.line <= text.count("\n") + 2


def test_places_go_through_quotes_folds_and_escapes():
    text = "a: 'it''s x'\nb: \"say \\\"hi\\\" y\"\nc: >-\n  fold\n    ed z\nd: plain\n  text w\n"
    node = parse(text, "f", Findings())
    for key, word, line, column in (("a", "x", 1, 11), ("b", "y", 2, 16), ("c", "z", 5, 8), ("d", "w", 7, 8)):
        span = node.get(key).span
        place = span.locate(span.value.rindex(word))
        assert (place.line, place.column) == (line, column)


def test_packs_are_found_beside_the_package_wherever_one_stands(pack, tmp_path, root):
    assert packs_folder() == root / "rules"
    installed = tmp_path / "site" / "fintel"
    shutil.copytree(root / "fintel", installed, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(pack, installed / "packs")
    code = "from fintel.rules.loader import load, packs_folder as p; print(p()); print(len(load()[0].rules))"
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(tmp_path / "site")},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert run.stdout.split() == [str(installed / "packs"), "1"]


@pytest.mark.parametrize(
    "fault", [("default: 4", "default: 3000"), ("title: Frequent", "titel: Frequent"), (":\n", ": [\n")]
)
def test_a_faulty_version_of_ones_own_does_not_take_the_shipped_one_away(tmp_path, fault):
    shipped, own = tmp_path / "shipped", tmp_path / "own"
    for folder in (shipped, own):
        for name, text in FILES.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
    rule = own / "osec" / "sends.yaml"
    rule.write_text(RULE.replace("version: 1", "version: 2").replace(*fault))
    library, found = load([shipped, own])
    assert library["osec/sends"].version == 1
    assert any(d.severity is Severity.ERROR for d in found)
    (warning,) = [d for d in found if d.code == "R016"]
    assert warning.severity is Severity.WARNING and "osec/sends" in warning.message
    assert warning.location.file == str(rule) and warning.location.line


def test_a_newer_version_in_ones_own_folder_replaces_the_shipped_one(tmp_path):
    shipped, own = tmp_path / "shipped", tmp_path / "own"
    for folder in (shipped, own):
        for name, text in FILES.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
    rule = own / "osec" / "sends.yaml"
    rule.write_text(RULE.replace("version: 1", "version: 2").replace("default: 4", "default: 6"))
    library, found = load([shipped, own])
    assert [(d.code, d.severity) for d in found] == [("R015", Severity.INFO)]
    assert library["osec/sends"].version == 2
    assert library["osec/sends"].parameters["min_sends"].default == 6
    assert library["osec/sends"].location.file == str(rule)
    # a folder cannot change what another's rules look up
    for name, old, new in (
        ("lists/risk.yaml", "PH", "FR"),
        ("lists/threshold_rates.yaml", "0.7", "0.000001"),
        ("indicators.yaml", "own words", "other words"),
    ):
        text = FILES[name]
        (own / name).write_text(text.replace(old, new), encoding="utf-8")
        changed, found = load([shipped, own])
        assert "R075" in {d.code for d in found} and changed.lists == library.lists, name
        assert changed.threshold_rates == library.threshold_rates and changed.indicators == library.indicators
        (own / name).write_text(text, encoding="utf-8")
    # the same version, or a lower one, is somebody's mistake
    library, found = load([own, shipped])
    assert {d.code for d in found} == {"R011"} and library["osec/sends"].version == 2


def test_small_files_cannot_cost_much(pack):
    steps = "".join(f"  s{i}: {{where: credit{i}, after: s{i - 1}, within: 1d}}\n" for i in range(1, 200))
    many = {
        "steps": RULE.replace("anchor: direction", f'steps:\n  s0: {{where: "true"}}\n{steps}anchor: direction'),
        "measures": RULE.replace(
            "measures:\n", "measures:\n" + "".join(f'  m{i}: {{count: "*", timespan: 1d}}\n' for i in range(500))
        ),
        "same": RULE.replace("timespan: 7d}", "timespan: 7d, same: [currency, currency]}", 1),
        "peers": RULE.replace(
            "timespan: 7d}",
            "timespan: 7d}\n  usual: {peers: sends, quantile: 0.5, timespan: 3660d, by: [account_kind, account_kind]}",
            1,
        ),
        "title": RULE.replace("title: Frequent low-value sends", 'title: "a\\n; drop table x"'),
    }
    for name, text in many.items():
        (pack / "osec" / "sends.yaml").write_text(text, encoding="utf-8")
        library, found = load([pack])
        assert found and not library.rules, name
    lines = "".join(f"  - {{key: k{i}, amount: 1}}\n" for i in range(5_000))
    (pack / "lists" / "amounts.yaml").write_text(f"name: amounts\nkind: amounts\ncolumn: currency\nvalues:\n{lines}")
    assert "R021" in {d.code for d in load([pack])[1]}


@pytest.mark.parametrize("name", ["x`<img src=q>.yaml", "n\n; drop table x; --.yaml", "..yaml", "A.yaml"])
def test_names_of_files_are_plain(pack, name):
    (pack / "osec" / name).write_text(RULE.replace("id: osec/sends\n", ""), encoding="utf-8")
    library, found = load([pack])
    assert {r.id for r in library.rules} == {"osec/sends"}
    assert name.startswith(".") or "R010" in {d.code for d in found}
