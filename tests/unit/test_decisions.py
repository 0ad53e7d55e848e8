"""The record of decisions: it only grows, a change in it is found, and a crash or a rival leaves it whole."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fintel.errors import ModelError
from fintel.models import decisions
from fintel.models.decisions import (
    CHALLENGER,
    CHAMPION,
    LOCK,
    RECORD,
    Decision,
    Register,
    champion_of,
    former,
    person,
    point,
    pointed,
    read_decisions,
    same_person,
)

AT = datetime(2025, 3, 1, 12, tzinfo=UTC)
A, B, C = "a" * 16, "b" * 16, "c" * 16


def decide(folder: Path, to: str | None, action: str = "promote") -> Decision:
    with Register.open(folder) as register:
        return register.decide(
            action, to, at=AT, made_by="Ann", approved_by="Bob", fingerprints={"rows": "1"}, evidence={"gates": []}
        )  # type: ignore[arg-type]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for model in (A, B, C):
        decide(tmp_path, model)
    return tmp_path


def test_the_record_grows_and_the_pointer_follows(folder: Path) -> None:
    before = (folder / RECORD).read_bytes()
    found = read_decisions(folder)
    assert [(d.number, d.came_from, d.to) for d in found] == [(1, None, A), (2, A, B), (3, B, C)]
    assert champion_of(folder) == pointed(folder, CHAMPION) == C
    point(folder, CHALLENGER, B)
    decide(folder, B)
    assert (folder / RECORD).read_bytes().startswith(before)
    assert pointed(folder, CHALLENGER) is None, "a champion is no challenger"
    decide(folder, None, "rollback")
    assert champion_of(folder) is None and not (folder / CHAMPION).exists()


def test_any_changed_byte_is_found(folder: Path) -> None:
    path = folder / RECORD
    whole = path.read_bytes()
    for place in range(0, len(whole), 7):
        changed = bytearray(whole)
        changed[place] ^= 1
        path.write_bytes(bytes(changed))
        try:
            found = read_decisions(folder)
        except ModelError:
            continue
        # only the last end of a line may go: then the last decision was never finished
        assert place == len(whole) - 1 and len(found) == 2


@pytest.mark.parametrize("order", [(0, 2), (1, 2), (0, 2, 1), (0, 1, 1, 2), (2,)])
def test_lines_taken_out_doubled_or_moved_are_found(folder: Path, order: tuple[int, ...]) -> None:
    lines = (folder / RECORD).read_bytes().splitlines(keepends=True)
    (folder / RECORD).write_bytes(b"".join(lines[i] for i in order))
    with pytest.raises(ModelError, match="does not follow"):
        read_decisions(folder)
    with pytest.raises(ModelError), Register.open(folder):
        pass


def test_a_line_with_a_hash_of_its_own_making_breaks_the_chain(folder: Path) -> None:
    lines = (folder / RECORD).read_bytes().splitlines(keepends=True)
    forged = Decision.model_validate_json(lines[1]).model_copy(update={"approved_by": "Mallory"}).sealed().line()
    (folder / RECORD).write_bytes(lines[0] + forged + lines[2])
    with pytest.raises(ModelError, match="line 3"):
        read_decisions(folder)


def test_a_crash_between_record_and_pointer_is_finished_later(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def dies(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(decisions, "point", dies)
        with pytest.raises(KeyboardInterrupt):
            decide(folder, A)
    assert pointed(folder, CHAMPION) == C
    assert champion_of(folder) == A, "what was decided counts"
    with Register.open(folder) as register:
        assert register.champion == A
    assert pointed(folder, CHAMPION) == A


def test_a_line_that_was_never_finished_is_no_decision(folder: Path) -> None:
    path = folder / RECORD
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"number":4,"at":"20')
    assert champion_of(folder) == C
    decide(folder, A)
    assert [d.to for d in read_decisions(folder)] == [A, B, C, A]
    assert path.read_bytes().startswith(whole)


def test_a_pointer_by_hand_does_not_outvote_the_record(folder: Path) -> None:
    (folder / CHAMPION).write_text(A)
    assert champion_of(folder) == C
    with Register.open(folder):
        assert pointed(folder, CHAMPION) == C


@pytest.mark.parametrize("text", ["../../etc/passwd", "", "ABC", "a" * 11, "\x00" * 16, "é" * 16])
def test_a_pointer_that_is_no_id_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / CHAMPION).write_text(text, encoding="utf-8")
    with pytest.raises(ModelError, match="no model id"):
        champion_of(tmp_path)


def test_one_decides_at_a_time(folder: Path) -> None:
    with Register.open(folder), pytest.raises(ModelError, match="another process"), Register.open(folder):
        pass
    with Register.open(folder):
        code = (
            "import sys\nfrom pathlib import Path\nfrom fintel.errors import ModelError\n"
            "from fintel.models.decisions import Register\n"
            "try:\n    with Register.open(Path(sys.argv[1])): print('in')\n"
            "except ModelError as error: print(error.message)\n"
        )
        done = subprocess.run([sys.executable, "-c", code, str(folder)], capture_output=True, text=True, check=True)
        assert "another process" in done.stdout
    assert (folder / LOCK).is_file()


def test_a_lock_that_is_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / LOCK).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(Exception, match="not a link"), Register.open(tmp_path):
        pass
    assert not (tmp_path / "elsewhere").exists()


@given(st.lists(st.sampled_from(["promote", "train", "rollback"]), max_size=12))
def test_rollbacks_retrace_the_champions(actions: list[str]) -> None:
    held: list[str | None] = [None]
    record: list[Decision] = []
    names = (f"{n:016x}" for n in itertools.count(1))
    for action in actions:
        if action == "rollback":
            if len(held) < 2:
                with pytest.raises(ModelError, match="before this one"):
                    former(record)
                continue
            to = former(record)
            assert to == held[-2]
            came = held.pop()
        else:
            came, to = held[-1], next(names)
            held.append(to)
        record.append(
            Decision(
                number=len(record) + 1,
                at=AT,
                action=action,
                came_from=came,
                to=to,
                made_by=None,
                approved_by=None,
                fingerprints={},
                evidence={},
                previous="0" * 64,
                hash="0" * 64,
            )  # type: ignore[arg-type]  # fmt: skip
        )


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Ann Analyst", "  ann   ANALYST "),
        ("Ann Analyst", "A\u200bnn Analyst"),
        ("Ann Analyst", "Ann\u00a0Analyst"),
        ("A. Analyst", "A Analyst"),
        ("René", "Rene\u0301"),
        ("STRASSE", "straße"),
        ("Ａｎｎ", "Ann"),
    ],
)
def test_one_person_by_two_spellings(one: str, other: str) -> None:
    assert same_person(one, other)


def test_two_people_and_what_is_no_name() -> None:
    assert not same_person("Ann Analyst", "Anne Analyst")
    assert person("  Ann   Analyst ") == "Ann Analyst"
    assert [person(n) for n in ("", "   ", "x" * 81, "Ann\x1b[2J")] == [None] * 4


def test_the_record_is_plain_lines_of_json(folder: Path) -> None:
    for line in (folder / RECORD).read_text(encoding="ascii").splitlines():
        assert {"at", "to", "made_by", "approved_by", "evidence", "previous", "hash"} <= set(json.loads(line))


@pytest.mark.parametrize("cut", [True, False])
def test_a_link_in_the_records_place_is_not_written_through(tmp_path: Path, cut: bool) -> None:
    other = tmp_path / "other"
    kept = b"somebody's file without an end of line" if cut else b""
    other.write_bytes(kept)
    models = tmp_path / "models"
    models.mkdir()
    (models / RECORD).symlink_to(other)
    with pytest.raises(ModelError, match=r"cannot be written"):
        decide(models, A)
    assert other.read_bytes() == kept
