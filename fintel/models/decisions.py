"""Which model is in use, and the record of who decided it: pointers, and a chain of lines that only grows.

Beside the models stand ``champion`` and ``challenger`` (a model's id each) and ``decisions.jsonl``. A decision is
written and synced first, then the pointer is replaced as a whole: a crash between the two leaves the decision, which
counts, and ``Register.open`` brings the pointer up to it. Each line holds the hash of the line before, so a line that
was changed or taken out of the middle is found. A chain cannot know of lines cut off its end: ``head`` is the hash to
keep elsewhere (it is shown after each decision and stands in the registry's tags).
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import stat
import tempfile
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, BinaryIO, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from fintel.errors import ModelError
from fintel.store.files import sync
from fintel.store.locks import Lock

Role = Literal["champion", "challenger"]
CHAMPION: Role = "champion"
CHALLENGER: Role = "challenger"
RECORD = "decisions.jsonl"
LOCK = ".decisions.lock"
MODEL_ID = re.compile(r"[0-9a-f]{12,64}")
FIRST = "0" * 64
MOST_NAME = 80
#: A link is not followed, and a pipe is not waited for.
_ITSELF = os.O_NOFOLLOW | os.O_NONBLOCK
_MOST_BYTES, _MOST_LINE = 64_000_000, 1_000_000

Id = Annotated[str, Field(pattern=r"^[0-9a-f]{12,64}$")]
Hash = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
PersonName = Annotated[str, Field(min_length=1, max_length=MOST_NAME)]


class Decision(BaseModel):
    """One change of the champion.

    ``action``: ``promote`` (two people, all gates open), ``rollback`` (two people, to the model before), ``train``
    (``fintel train`` put it in place: nobody else has looked). ``came_from``, ``to``: model ids, None = rules alone.
    ``evidence``: gates and what they rest on, as JSON. ``fingerprints``: of card, trees, rows and rules.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    number: int = Field(ge=1)
    at: datetime
    action: Literal["promote", "rollback", "train"]
    came_from: Id | None
    to: Id | None
    made_by: PersonName | None
    approved_by: PersonName | None
    fingerprints: dict[str, str]
    evidence: dict[str, Any]
    previous: Hash
    hash: Hash

    def sealed(self) -> Decision:
        """The decision with the hash that its other fields give."""
        return self.model_copy(update={"hash": hashlib.sha256(self._body()).hexdigest()})

    def line(self) -> bytes:
        """As in the record, with the end of the line."""
        return _json(self.model_dump(mode="json"))

    def _body(self) -> bytes:
        return _json(self.model_dump(mode="json", exclude={"hash"}))


def _json(value: Mapping[str, Any]) -> bytes:
    text = json.dumps(value, sort_keys=True, ensure_ascii=True, separators=(",", ":"), allow_nan=False)
    return text.encode("ascii") + b"\n"


def person(name: str) -> str | None:
    """A person's name in single spaces; None where it is empty, too long or cannot be printed."""
    words = " ".join(name.split())
    return words if words and len(words) <= MOST_NAME and words.isprintable() else None


def same_person(one: str, other: str) -> bool:
    """Whether two names are one but for case, width, accents' encoding, spaces, stops and signs that are not seen."""
    return _folded(one) == _folded(other)


def _folded(name: str) -> str:
    # Twice: folding case can leave letters that are no longer composed.
    text = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())
    return "".join(c for c in text if unicodedata.category(c)[0] in "LMN")


def pointed(folder: Path, role: Role) -> str | None:
    """The id that a pointer names; None where there is none.

    Raises
    ------
    ModelError: the pointer does not hold an id.
    """
    path = folder / role
    try:
        with path.open("rb") as stream:
            text = stream.read(100).decode("ascii", errors="replace").strip()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ModelError(f"cannot be read: {error.strerror}", location=path) from error
    if not MODEL_ID.fullmatch(text):
        raise ModelError(f"names no model id: '{text[:40]}'", location=path, hint="fintel promote --history")
    return text


def point(folder: Path, role: Role, model_id: str | None) -> None:
    """Replace a pointer as a whole; None takes it away."""
    path = folder / role
    if model_id is None:
        path.unlink(missing_ok=True)
    else:
        descriptor, name = tempfile.mkstemp(prefix=".new-", dir=folder)
        try:
            with os.fdopen(descriptor, "wb") as stream:
                stream.write(model_id.encode("ascii") + b"\n")
                stream.flush()
                os.fsync(stream.fileno())
            os.replace(name, path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
    sync(folder)


def champion_of(folder: Path) -> str | None:
    """The model in use: what the record says last, else the pointer; None: rules alone.

    Raises
    ------
    ModelError: the record or the pointer is damaged.
    """
    decisions = read_decisions(folder)
    return decisions[-1].to if decisions else pointed(folder, CHAMPION)


def read_decisions(folder: Path) -> tuple[Decision, ...]:
    """The record, checked from its first line to its last whole one; empty where there is none.

    Raises
    ------
    ModelError: a line is damaged, changed, or not the one that followed.
    """
    return _checked(folder / RECORD, _bytes(folder / RECORD))


def _bytes(path: Path) -> bytes:
    try:
        with path.open("rb") as stream:
            data = stream.read(_MOST_BYTES + 1)
    except FileNotFoundError:
        return b""
    except OSError as error:
        raise ModelError(f"cannot be read: {error.strerror}", location=path) from error
    if len(data) > _MOST_BYTES:
        raise ModelError(f"larger than {_MOST_BYTES:,} bytes", location=path)
    return data


def _opened(path: Path) -> BinaryIO:
    """The record, to write behind its end: the file itself, never what a link in its place names."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | _ITSELF, 0o666)
    except OSError as error:
        raise ModelError(f"cannot be written: {error.strerror}", location=path) from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise ModelError("is no file", location=path)
    return os.fdopen(descriptor, "ab")


def _checked(path: Path, data: bytes) -> tuple[Decision, ...]:
    # What stands behind the last end of a line was being written when the process died: no decision.
    lines = data[: data.rfind(b"\n") + 1].splitlines(keepends=True)
    found: list[Decision] = []
    for number, line in enumerate(lines, 1):
        previous = found[-1].hash if found else FIRST
        try:
            decision = Decision.model_validate_json(line)
        except ValidationError as error:
            raise _broken(path, number, "is no decision") from error
        if decision.line() != line or decision.sealed() != decision:
            raise _broken(path, number, "was changed")
        if (decision.number, decision.previous) != (number, previous):
            raise _broken(path, number, "does not follow the line before it")
        if decision.came_from != (found[-1].to if found else decision.came_from):
            raise _broken(path, number, "does not begin where the line before it ends")
        found.append(decision)
    return tuple(found)


def _broken(path: Path, number: int, why: str) -> ModelError:
    hint = "bring the file back from a copy; nothing is promoted until the record is whole"
    return ModelError(f"line {number} of the record of decisions {why}", location=path, hint=hint)


def former(decisions: Sequence[Decision]) -> str | None:
    """The champion before the one in use: what a rollback goes to. Each rollback undoes one step more.

    Raises
    ------
    ModelError: nothing was decided yet, or everything is rolled back.
    """
    held: list[str | None] = []
    for decision in decisions:
        if not held:
            held.append(decision.came_from)
        if decision.action == "rollback":
            held.pop()
        else:
            held.append(decision.to)
    if len(held) < 2:
        raise ModelError("there is no champion before this one", hint="fintel promote --history")
    return held[-2]


class Register:
    """The pointers and the record of one folder of models, held by this process alone."""

    def __init__(self, folder: Path, decisions: tuple[Decision, ...]) -> None:
        self._folder = folder
        self.decisions = decisions

    @classmethod
    @contextmanager
    def open(cls, folder: Path) -> Iterator[Register]:
        """Take the lock, check the record, and finish what a crash left half done.

        Raises
        ------
        ModelError: another process decides now, or the record is damaged.
        """
        folder.mkdir(parents=True, exist_ok=True)
        lock = Lock.exclusive(folder / LOCK)
        if lock is None:
            raise ModelError("another process is changing the champion", location=folder, hint="try again when it ends")
        with lock:
            path = folder / RECORD
            data = _bytes(path)
            decisions = _checked(path, data)
            whole = data.rfind(b"\n") + 1
            if whole < len(data):
                with _opened(path) as stream:
                    os.ftruncate(stream.fileno(), whole)
            register = cls(folder, decisions)
            if decisions and pointed(folder, CHAMPION) != decisions[-1].to:
                register._settle(decisions[-1].to)
            yield register

    @property
    def head(self) -> str:
        """Hash of the last decision: kept elsewhere, it shows whether lines were cut off."""
        return self.decisions[-1].hash if self.decisions else FIRST

    @property
    def champion(self) -> str | None:
        """The model in use; None: rules alone."""
        return self.decisions[-1].to if self.decisions else pointed(self._folder, CHAMPION)

    def decide(
        self,
        action: Literal["promote", "rollback", "train"],
        to: str | None,
        *,
        at: datetime,
        made_by: str | None,
        approved_by: str | None,
        fingerprints: Mapping[str, str],
        evidence: Mapping[str, Any],
    ) -> Decision:
        """Record a decision, then let detection follow it.

        Raises
        ------
        ModelError: the record is full.
        """
        decision = Decision(
            number=len(self.decisions) + 1, at=at, action=action, came_from=self.champion, to=to, made_by=made_by,
            approved_by=approved_by, fingerprints=dict(fingerprints), evidence=dict(evidence), previous=self.head,
            hash=FIRST,
        ).sealed()  # fmt: skip
        line = decision.line()
        path = self._folder / RECORD
        size = path.stat().st_size if path.exists() else 0
        if len(line) > _MOST_LINE or size + len(line) > _MOST_BYTES:
            raise ModelError("the record of decisions is full", location=path, hint="keep it, and begin a new lake")
        with _opened(path) as stream:
            stream.write(line)
            stream.flush()
            os.fsync(stream.fileno())
        sync(self._folder)
        self.decisions = (*self.decisions, decision)
        self._settle(to)
        return decision

    def _settle(self, champion: str | None) -> None:
        point(self._folder, CHAMPION, champion)
        if champion is not None and pointed(self._folder, CHALLENGER) == champion:
            point(self._folder, CHALLENGER, None)
