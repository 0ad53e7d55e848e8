"""What the README says runs."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import yaml

import fintel


@pytest.fixture(scope="module")
def readme(root: Path) -> str:
    return (root / "README.md").read_text(encoding="utf-8")


def test_the_python_of_the_readme_runs(
    readme: str, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", readme, re.DOTALL)
    assert len(code.strip().splitlines()) <= 12
    (tmp_path / "data").symlink_to(root / "data")
    monkeypatch.chdir(tmp_path)
    exec(compile(code, "README.md", "exec"), {})


def test_links_of_the_docs_lead_somewhere(root: Path) -> None:
    for page in [root / "README.md", *(root / "docs").rglob("*.md")]:
        for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_the_rule_of_the_readme_is_the_shipped_one_shortened(readme: str, root: Path) -> None:
    (text,) = re.findall(r"```yaml\n(.*?)```", readme, re.DOTALL)
    shown = yaml.safe_load(text)
    shipped = yaml.safe_load((root / "rules" / f"{shown['id']}.yaml").read_text(encoding="utf-8"))
    assert shown["level"] == shipped["level"] and set(shown["parameters"]) <= set(shipped["parameters"])
    assert shown["indicators"] == shipped["indicators"][: len(shown["indicators"])]


def test_every_public_name_is_there() -> None:
    for name in fintel.__all__:
        assert getattr(fintel, name) is not None
    with pytest.raises(AttributeError):
        fintel.nothing  # noqa: B018


def test_no_placeholder_is_left_and_the_demo_is_the_demo(readme: str, root: Path) -> None:
    assert "@@" not in readme
    shown = re.findall(r"\$ make demo\n(.*?)```", readme, re.DOTALL)[0]
    manifest = json.loads((root / "data" / "synthetic" / "manifest.json").read_text(encoding="utf-8"))
    assert f"transactions: {manifest['rows']['transactions']:,} rows read" in shown


def test_the_number_of_rules_in_the_readme_is_counted(readme: str, root: Path) -> None:
    rules = [p for p in (root / "rules").glob("*/*.yaml") if p.name != "pack.yaml" and p.parent.name != "lists"]
    assert f"{len(rules)} rules on" in readme
