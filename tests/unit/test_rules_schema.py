"""Schemas for editors, in step with the loader; scaffolds that pass as they are."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from test_rules_loader import FILES, pack

import fintel
from fintel.bench.case_runs import run_library
from fintel.bench.mutation import mutate
from fintel.bench.scaffold import FORMS, OWN_INDICATOR, alike, scaffold
from fintel.bench.schemas import schemas, written_schemas
from fintel.errors import RuleError
from fintel.rules.checks import check
from fintel.rules.checks_logic import logic_findings
from fintel.rules.loader import load, packs_folder
from fintel.rules.source import Findings, Mapping, Node, Scalar, read

__all__ = ["pack"]
jsonschema = pytest.importorskip("jsonschema", reason="comes with nbformat")
_NUMBER = re.compile(r"-?(0|[1-9]\d*)(\.\d+)?")


def plain(node: Node) -> Any:
    """A file as an editor's YAML 1.2 parser reads it."""
    if isinstance(node, Mapping):
        return {key.value: plain(value) for key, value in node}
    if isinstance(node, Scalar):
        if not node.plain:
            return node.value
        if node.value in ("true", "false"):
            return node.value == "true"
        if node.empty:
            return None
        return (
            (float(node.value) if "." in node.value else int(node.value))
            if _NUMBER.fullmatch(node.value)
            else node.value
        )
    return [plain(item) for item in node.items]


def faults(path: Path, name: str) -> list[str]:
    findings = Findings()
    node = read(path, findings)
    assert node is not None, findings.items
    validator = jsonschema.Draft202012Validator(schemas()[name])
    return [f"{path.name}: {e.json_path}: {e.message}"[:300] for e in validator.iter_errors(plain(node))]


def kind_of(path: Path) -> str:
    if path.parent.name == "cases":
        return "cases"
    if path.parent.name == "lists":
        return "list"
    return {"pack.yaml": "pack", "indicators.yaml": "indicators", "conditions.yaml": "conditions",
            "rules.exclude.yaml": "exclusions"}.get(path.name, "rule")  # fmt: skip


def test_the_shipped_schemas_are_those_of_the_code() -> None:
    folder = Path(fintel.__file__).parent / "schemas"
    shipped = {path.stem: path.read_text(encoding="utf-8") for path in folder.glob("*.json")}
    assert shipped == written_schemas(), "run: fintel rules schema --write"


def test_schemas_are_schemas() -> None:
    for schema in schemas().values():
        jsonschema.Draft202012Validator.check_schema(schema)


def test_every_shipped_file_is_valid() -> None:
    files = sorted(packs_folder().rglob("*.yaml"))
    assert len(files) > 500
    assert [fault for path in files for fault in faults(path, kind_of(path))] == []


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("status: test", "status: tested"), ("level: high", "level: higher"), ("version: 1", "version: one"),
        ("typology: OSEC", "typology: SEC"), ("per: [account_id]", "per: [account]"), ("timespan: 7d}", "timespan: 7}"),
        ('count: "*"', 'counts: "*"'), ("distinct: counterparty_id", "distinct: counterparty"), ("basis: source", "basis: book"),
        ("range: [2, 30]", "range: [2]"), ("anchor:", "anker:"), ("title: Frequent", "titel: Frequent"),
        ("T0058.003", "58.003"), ("budget: 10", "budget: -1"), ("offset: 1d,", "offset: 1d, sum: amount_base,"),
        ("when: sends", "correlation: {timespan: 9d, all: [x/y]}\nwhen: sends"), ("role: subject", "role: suspect"),
    ],
)  # fmt: skip
def test_what_the_loader_refuses_the_schema_refuses(pack: Path, old: str, new: str) -> None:
    path = pack / "osec/sends.yaml"
    assert faults(path, "rule") == []
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    assert load([pack])[1] != ()
    assert faults(path, "rule") != []


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("osec/cases/sends.yaml", "amount: 10", "amont: 10"),
        ("osec/cases/sends.yaml", "direction: out", "direction: up"),
        ("osec/cases/sends.yaml", "expect: {hit: none}", "expect: {hit: none, outcome: cannot_tell}"),
        ("osec/cases/sends.yaml", "every: 1d", "every: 1"),
        ("lists/risk.yaml", "kind: values", "kind: value"),
        ("lists/kw.yaml", "language: en", "lang: en"),
        ("indicators.yaml", "typology: OSEC", "typology: SEC"),
        ("osec/pack.yaml", "title: OSEC", "titel: OSEC"),
    ],
)
def test_of_other_files_too(pack: Path, name: str, old: str, new: str) -> None:
    path = pack / name
    assert faults(path, kind_of(path)) == []
    path.write_text(FILES[name].replace(old, new, 1))
    assert faults(path, kind_of(path)) != []


# -- scaffolds


@pytest.mark.parametrize("form", FORMS)
def test_a_scaffold_passes_as_it_is(tmp_path: Path, form: str) -> None:
    made = scaffold(tmp_path, "mine/first-try", form=form, library=load([])[0])
    library, diagnostics = load([tmp_path])
    assert [str(d) for d in (*diagnostics, *check(library), *logic_findings(library))] == []
    result = run_library(library, library.rules, processes=1)
    assert result.diagnostics == ()
    assert [(r.case, r.differences) for r in result.results if not r.passed] == []
    rule = library["mine/first-try"]
    assert rule.indicators == (OWN_INDICATOR,)
    assert rule.status == "experimental"
    # its cases hold it, so that who changes a number sees a case fail
    survivors = [f.mutant.what for f in mutate(library, kinds=["threshold", "comparison"]) if not f.killed]
    assert survivors == []
    for path in (p for p in made if p.suffix == ".yaml"):
        assert faults(path, kind_of(path)) == []
        schema = re.match(r"# yaml-language-server: \$schema=(\S+)\n", path.read_text())
        assert schema is not None, path
        assert json.loads((path.parent / schema[1]).read_text()) == schemas()[kind_of(path)]


def test_a_scaffold_may_cite_the_catalogue(tmp_path: Path) -> None:
    shipped = load()[0]
    indicator = next(i for i in shipped.indicators.values() if i.typology == "HT-LABOUR")
    scaffold(tmp_path, "mine/first", form="window", library=shipped, indicator=indicator.id)
    assert not (tmp_path / "indicators.yaml").exists()
    library, diagnostics = load([packs_folder(), tmp_path])
    assert diagnostics == ()
    assert (library["mine/first"].indicators, library["mine/first"].typology) == ((indicator.id,), "HT-LABOUR")


@pytest.mark.parametrize("form", FORMS)
def test_a_second_scaffold_of_a_form_is_said_to_be_the_first(tmp_path: Path, form: str) -> None:
    """``alike`` says what check would, and nothing once a number is changed."""
    empty = load([])[0]
    first = scaffold(tmp_path, "mine/first", form=form, library=empty)
    assert alike(first, load([tmp_path])[0]) == []
    second = scaffold(tmp_path, "mine/second", form=form, library=empty)
    library, _ = load([tmp_path])
    told = alike(second, library)
    said = {d.message for d in check(library) if d.code == "R012"}
    assert said == {f"'{rule}' has the very logic of '{other}'" for rule, other in told}
    if form in ("keyword", "correlation"):  # these name a list and rules of their own
        assert ("mine/second", "mine/first") not in told
    else:
        assert told == [("mine/second", "mine/first")]
        rule = tmp_path / "mine/second.yaml"
        rule.write_text(re.sub(r"(default: )(\d+)", lambda m: f"{m[1]}{int(m[2]) + 1}", rule.read_text(), count=1))
        assert alike(second, load([tmp_path])[0]) == []


def test_a_scaffold_touches_nothing(tmp_path: Path) -> None:
    library = load([])[0]
    scaffold(tmp_path, "mine/first", form="window", library=library)
    mine = tmp_path / "mine/pack.yaml"
    mine.write_text("name: mine\ntitle: My own words\ndescription: d\n")
    scaffold(tmp_path, "mine/second", form="shared", library=library)
    assert "My own words" in mine.read_text()
    with pytest.raises(RuleError, match="there already"):
        scaffold(tmp_path, "mine/first", form="window", library=library)
    for wrong in ("mine", "Mine/x", "mine/../x", "a/b/c", "mine/", "/x", "mine/x.yaml"):
        with pytest.raises(RuleError, match="no name"):
            scaffold(tmp_path, wrong, form="window", library=library)
    with pytest.raises(RuleError) as error:
        scaffold(tmp_path, "mine/third", form="windows", library=library)
    assert error.value.hint == "did you mean 'window'?"
    with pytest.raises(RuleError, match="no indicator"):
        scaffold(tmp_path, "mine/third", form="window", library=library, indicator="NO-01")
    assert not (tmp_path / "mine/third.yaml").exists()
