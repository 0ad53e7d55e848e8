"""What a newcomer gets wrong first: the error names the file, the line and what to do."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from fintel import config
from fintel.cli.options import mapping_for
from fintel.errors import ConfigError, FeedError, FintelError, Location
from fintel.feeds.sniff import sniff

SETTINGS = """\
base_currency = "USD"
threads = 0

[ranking]
budget = 50

[filer.address]
city = "Here"
"""


@pytest.mark.parametrize(
    ("old", "new", "line", "said", "hint"),
    [
        ("threads = 0", "thread = 0", 2, "setting 'thread': there is no such", "did you mean 'threads'?"),
        ("budget = 50", "budget = 'many'", 5, "setting 'ranking.budget'", "for example 50"),
        ("budget = 50", "budget = 0", 5, "setting 'ranking.budget': input should be greater", "for example 50"),
        ('"USD"', '"dollars"', 1, "'^[A-Z]{3}$'", 'for example "USD"'),
        ("[ranking]", "[rankings]", 4, "setting 'rankings'", "did you mean 'ranking'?"),
        ("city =", "lake =", 8, "setting 'filer.address.lake'", "in [filer.address]: street, city"),
        ("threads = 0", "threads = ", 2, "not valid TOML: Invalid value", "stands in quotes"),
    ],
)
def test_a_wrong_setting_is_named_with_its_line(
    tmp_path: Path, old: str, new: str, line: int, said: str, hint: str
) -> None:
    file = tmp_path / "fintel.toml"
    assert old in SETTINGS
    file.write_text(SETTINGS.replace(old, new, 1))
    with pytest.raises(ConfigError) as caught:
        config.load(start=tmp_path, env={})
    place = caught.value.location
    assert isinstance(place, Location)
    assert (place.file, place.line) == (str(file), line)
    assert said in caught.value.message
    assert hint in (caught.value.hint or "")


def test_a_wrong_variable_is_not_laid_at_the_files_door(tmp_path: Path) -> None:
    (tmp_path / "fintel.toml").write_text(SETTINGS)
    with pytest.raises(ConfigError) as caught:
        config.load(start=tmp_path, env={"FINTEL_RANKING__BUDGET": "many"})
    assert "variable 'FINTEL_RANKING__BUDGET'" in caught.value.message
    assert caught.value.location is None


def _refused(path: Path, mapping: str | None = None) -> FintelError:
    with pytest.raises(FintelError) as caught:
        mapping_for(path, mapping)
    assert caught.value.hint
    return caught.value


def test_a_feed_that_is_not_there_or_has_nothing(tmp_path: Path) -> None:
    (tmp_path / "export.csv").touch()
    (tmp_path / "none").mkdir()
    assert _refused(tmp_path / "exprt.csv").hint == "did you mean 'export.csv'?"
    assert "holds export.csv, none" in (_refused(tmp_path / "payments.parquet").hint or "")
    assert "No such file" in (_refused(tmp_path / "nowhere" / "x.csv").hint or "")
    assert str(_refused(tmp_path / "export.csv")) == f"{tmp_path / 'export.csv'}: the file is empty"
    assert "no files" in _refused(tmp_path / "none").message
    assert "fintel feed mappings" in (_refused(tmp_path / "export.csv", "my.yaml").hint or "")
    with pytest.raises(FeedError, match="the file is empty"):
        sniff(tmp_path / "export.csv")


def test_a_file_that_is_no_table_is_named_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "junk.csv"
    path.write_bytes(b"a\rb\x00;\x93\r\n" * 3)
    with pytest.raises(FeedError) as caught:
        sniff(path)
    assert re.match(rf"{re.escape(str(path))}:\d+: line \d+ is no header", str(caught.value)) and caught.value.hint
