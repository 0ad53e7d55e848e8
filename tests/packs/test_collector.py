"""pytest runs the cases of rules."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from fintel.rules.loader import packs_folder

_RULE = "low-value-sends-few-recipients"


def _pytest(*arguments: str | Path, folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-v", *map(str, arguments)]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def _pack(folder: Path, *, name: str = "mine") -> Path:
    """A user's own pack with one shipped rule, which needs shipped lists and conditions."""
    pack = folder / "packs" / name
    (pack / "cases").mkdir(parents=True)
    (pack / "pack.yaml").write_text(f"name: {name}\ntitle: Mine\ndescription: mine\n")
    source = packs_folder() / "osec" / "low-value-sends-few-recipients.yaml"
    text = source.read_text().replace("id: osec/", f"id: {name}/")
    (pack / source.name).write_text(text)
    shutil.copy(source.parent / "cases" / source.name, pack / "cases" / source.name)
    (folder / "pytest.ini").write_text("[pytest]\n")
    return pack


def test_cases_of_a_users_pack_are_items(tmp_path: Path) -> None:
    pack = _pack(tmp_path)
    done = _pytest("packs", folder=tmp_path)
    assert done.returncode == 0, done.stdout
    names = sum(line.startswith("  - name:") for line in (pack / "cases" / f"{_RULE}.yaml").read_text().splitlines())
    assert f"{names} passed" in done.stdout
    # a moved threshold fails cases, each with its place and what the rule says
    rule = pack / f"{_RULE}.yaml"
    rule.write_text(rule.read_text().replace("min_sends: {default: 5,", "min_sends: {default: 6,"))
    done = _pytest("packs", folder=tmp_path)
    assert done.returncode == 1
    assert f"cases/{_RULE}.yaml:" in done.stdout
    assert "hits nothing, not " in done.stdout


def test_a_rule_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    pack = _pack(tmp_path)
    rule = pack / f"{_RULE}.yaml"
    rule.write_text(rule.read_text().replace("when: ", "when: send and "))
    done = _pytest("packs", folder=tmp_path)
    assert done.returncode == 2
    assert "R029" in done.stdout


def test_other_yaml_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    (tmp_path / "cases").mkdir()
    (tmp_path / "cases" / "some.yaml").write_text("cases: [{name: x}]\n")
    (tmp_path / "other.yaml").write_text("cases: []\n")
    done = _pytest(".", folder=tmp_path)
    assert done.returncode == 5
    assert "no tests ran" in done.stdout


def test_the_plugin_costs_nothing_where_there_are_no_rules() -> None:
    code = (
        "import sys, fintel.pytest_plugin; "
        "print(sorted({'polars','duckdb','numba','lightgbm','yaml'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
