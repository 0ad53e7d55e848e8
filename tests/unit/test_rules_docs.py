"""The pages say what the code does: the example runs, every code and key is listed."""

from __future__ import annotations

import re

import pytest

from fintel.domain.detection import Level, Typology
from fintel.domain.schema import ENTRIES
from fintel.errors import RuleError
from fintel.rules.cases import ENTRY_KEYS
from fintel.rules.checks import check
from fintel.rules.expression import parse
from fintel.rules.loader import load
from fintel.rules.model import KINDS, PARTITION_COLUMNS, STATUSES
from fintel.rules.runner import detect_tables
from fintel.rules.scope import EXTRACTS, FUNCTIONS, entry_columns
from fintel.rules.testing import run_cases


def write_example(root, folder):
    """Every YAML block of the page, under the path that stands above it."""
    page = (root / "docs/how-to/write-a-rule.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^`([\w/.-]+)`\n\n```yaml\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    for name, text in blocks:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return page, len(blocks)


def test_the_example_is_sound_and_its_cases_pass(root, tmp_path):
    _, count = write_example(root, tmp_path)
    (tmp_path / "lists/rates.yaml").write_text("name: rates\nkind: rates\nrates: {EUR: 1.1}\n")
    assert count == 5
    library, diagnostics = load([tmp_path])
    assert diagnostics == ()
    assert check(library) == ()
    outcome = run_cases(library, detect_tables)
    assert [r.differences for r in outcome.results] == [()] * 4


def test_the_message_on_the_page_is_the_message(root, tmp_path):
    page, _ = write_example(root, tmp_path)
    path = tmp_path / "relay/cash-then-abroad.yaml"
    path.write_text(path.read_text().replace("and counterparty_country", "and counterparty_contry"))
    _, (found,) = load([tmp_path])
    assert str(found).replace(str(tmp_path), "my-rules") in page


def test_the_reference_lists_every_code_key_and_function(root):
    page = (root / "docs/reference/rules.md").read_text(encoding="utf-8")
    codes = set()
    for path in (root / "fintel/rules").glob("*.py"):
        codes |= set(re.findall(r'"(R\d{3})"', path.read_text(encoding="utf-8")))
    assert codes == set(re.findall(r"^\| (R\d{3}) \|", page, re.MULTILINE))
    words = [*KINDS, *STATUSES, *EXTRACTS, *FUNCTIONS, *PARTITION_COLUMNS, *map(str, Level), *map(str, Typology)]
    words += [k for k in ENTRY_KEYS if not k.startswith(("merchant_", "place_"))]
    assert [w for w in words if not re.search(rf"\b{re.escape(w)}\b", page)] == []


def test_habits_on_the_pages_are_valid(root):
    for text in (
        "local_hour between 22 and 23 or local_hour < 6",
        "amount % 50 = 0",
        "coalesce(channel, 'unknown') <> 'wire'",
    ):
        assert text in (root / "docs/how-to/write-a-rule.md").read_text(encoding="utf-8")
        assert parse(text, columns=entry_columns()).columns <= set(ENTRIES.names)
    with pytest.raises(RuleError, match="protected trait"):
        parse("sex = 'f'", columns=entry_columns())
