"""Read a mapping and check it against the canonical tables: every finding with its line."""

from __future__ import annotations

from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from fintel.errors import Diagnostic, FeedError, Location, Severity, did_you_mean
from fintel.feeds.mapping import ColumnSpec, Condition, FileSpec, Fill, Flag, Mapping, Step
from fintel.feeds.mapping_checks import check

MAX_BYTES = 1_000_000
MAX_DEPTH = 12

Path_ = tuple[str | int, ...]


class MappingError(FeedError):
    """A mapping cannot be used. ``diagnostics`` holds every finding, not only the first."""

    def __init__(self, message: str, diagnostics: list[Diagnostic], *, hint: str | None = None) -> None:
        super().__init__(message, hint=hint or (diagnostics[0].hint if diagnostics else None))
        self.diagnostics = tuple(diagnostics)


def shipped() -> tuple[str, ...]:
    """Names of the mappings that come with fintel, the template left out."""
    folder = resources.files("fintel.feeds") / "mappings"
    names = sorted(f.name.removesuffix(".yaml") for f in folder.iterdir() if f.name.endswith(".yaml"))
    return tuple(n for n in names if n != "template")


def load(name: str | Path) -> Mapping:
    """A shipped mapping by its name, or a mapping file by its path.

    Raises
    ------
    MappingError: nothing of that name, or the file has errors (all of them are listed).
    """
    if isinstance(name, str) and name in (*shipped(), "template"):
        return _load_shipped(name)
    return _load(name)


@cache
def _load_shipped(name: str) -> Mapping:
    """Shipped mappings do not change while a program runs, and are frozen."""
    return _load(name)


def _load(name: str | Path) -> Mapping:
    text, file = _text(name)
    mapping, found = parse(text, file)
    errors = [d for d in found if d.severity is Severity.ERROR]
    if mapping is None or errors:
        first = str(errors[0]) if errors else file
        more = f" and {len(errors) - 1} more" if len(errors) > 1 else ""
        raise MappingError(f"mapping cannot be used: {first}{more}", found)
    return mapping


def parse(text: str, file: str) -> tuple[Mapping | None, list[Diagnostic]]:
    """A mapping and every finding about it; no mapping if it cannot be understood at all."""
    places: dict[Path_, Location] = {}
    try:
        data = _read_yaml(text, file, places)
    except _Refused as refused:
        return None, [refused.diagnostic]
    if not isinstance(data, dict):
        return None, [Diagnostic("M001", "a mapping is a list of keys and values", Location(file, 1, 1))]
    data.pop("text", None)
    try:
        mapping = Mapping.model_validate({**data, "text": text})
    except ValidationError as error:
        return None, [_explain(e, places, file) for e in error.errors(include_url=False)]
    return mapping, check(mapping, lambda path: _place(path, places, file))


def _text(name: str | Path) -> tuple[str, str]:
    if isinstance(name, str) and "/" not in name and not name.endswith((".yaml", ".yml")):
        entry = resources.files("fintel.feeds") / "mappings" / f"{name}.yaml"
        if not entry.is_file():
            hint = did_you_mean(name, shipped()) or f"shipped mappings: {', '.join(shipped())}"
            raise MappingError(f"no mapping '{name}'", [], hint=hint)
        return entry.read_text(encoding="utf-8"), f"{name}.yaml"
    path = Path(name)
    try:
        with path.open("rb") as handle:
            raw = handle.read(MAX_BYTES + 1)
    except OSError as error:
        hint = "fintel feed mappings lists the shipped ones; fintel feed sniff FEED -o FILE.yaml proposes one"
        raise MappingError(f"cannot read the mapping {path}: {error.strerror}", [], hint=hint) from error
    if len(raw) > MAX_BYTES:
        raise MappingError(f"mapping {path} is larger than {MAX_BYTES:,} bytes", [])
    try:
        return raw.decode("utf-8-sig"), str(path)
    except UnicodeDecodeError as error:
        raise MappingError(f"mapping {path} is not UTF-8", []) from error


class _Refused(Exception):  # noqa: N818 (it carries a finding; it is never shown as an error itself)
    def __init__(self, code: str, message: str, where: Location, hint: str | None = None) -> None:
        super().__init__(message)
        self.diagnostic = Diagnostic(code, message, where, hint)


class _Loader(yaml.SafeLoader):
    """Composes nodes only; nothing is ever constructed from a tag."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        event = self.peek_event()  # type: ignore[no-untyped-call]
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            mark = event.start_mark
            raise yaml.YAMLError(mark)
        return super().compose_node(parent, index)


def _read_yaml(text: str, file: str, places: dict[Path_, Location]) -> Any:
    if len(text.encode()) > MAX_BYTES:
        raise _Refused("M002", f"larger than {MAX_BYTES:,} bytes", Location(file))
    try:
        node = _Loader(text).get_single_node()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = Location(file, mark.line + 1, mark.column + 1) if mark else Location(file)
        raise _Refused("M001", f"not valid YAML: {error.problem or error.context}", where) from error
    except yaml.YAMLError as error:
        mark = error.args[0] if error.args and isinstance(error.args[0], yaml.Mark) else None
        if mark is None:
            raise _Refused("M001", f"not valid YAML: {error}", Location(file)) from error
        where = Location(file, mark.line + 1, mark.column + 1)
        raise _Refused("M003", "anchors and aliases (& and *) are not allowed", where) from error
    except RecursionError as error:
        raise _Refused("M002", "nested too deeply", Location(file)) from error
    if node is None:
        raise _Refused("M001", "the file is empty", Location(file, 1, 1))
    return _value(node, (), file, places)


def _value(node: yaml.Node, path: Path_, file: str, places: dict[Path_, Location]) -> Any:
    where = Location(file, node.start_mark.line + 1, node.start_mark.column + 1)
    places.setdefault(path, where)
    if len(path) > MAX_DEPTH:
        raise _Refused("M002", "nested too deeply", where)
    if isinstance(node, yaml.ScalarNode):
        return _scalar(node)
    if isinstance(node, yaml.SequenceNode):
        return [_value(child, (*path, i), file, places) for i, child in enumerate(node.value)]
    result: dict[str, Any] = {}
    for key, child in node.value:
        here = Location(file, key.start_mark.line + 1, key.start_mark.column + 1)
        if not isinstance(key, yaml.ScalarNode):
            raise _Refused("M001", "a key is one word", here)
        if key.value in result:
            raise _Refused("M004", f"'{key.value}' stands twice", here)
        places[(*path, key.value)] = here
        result[key.value] = _value(child, (*path, key.value), file, places)
    return result


def _scalar(node: yaml.ScalarNode) -> Any:
    """YAML 1.2's core words only: ``no`` is Norway, ``12:30`` is text, a date is text."""
    word = node.value
    if node.style is not None:
        return word
    if word in ("", "~", "null"):
        return None
    if word in ("true", "false"):
        return word == "true"
    if word.isascii() and word.isdigit() and len(word) < 10 and str(int(word)) == word:
        return int(word)
    return word


def _place(path: Path_, places: dict[Path_, Location], file: str) -> Location:
    while path and path not in places:
        path = path[:-1]
    return places.get(path, Location(file))


_KEYS: dict[str, type[BaseModel]] = {
    "mapping": Mapping, "files": FileSpec, "fill": Fill, "columns": ColumnSpec,
    "skip_where": Condition, "step": Step, "flag": Flag,
}  # fmt: skip


def _explain(error: Any, places: dict[Path_, Location], file: str) -> Diagnostic:
    """A pydantic finding in our words, at the place in the file."""
    loc = tuple(p for p in error["loc"] if not (isinstance(p, str) and p.startswith(("function-", "literal["))))
    loc = tuple(p for p in loc if p not in ("tuple", "str", "int", "dict"))
    where = _place(loc, places, file)
    name = str(loc[-1]) if loc else ""
    if error["type"] == "extra_forbidden":
        return Diagnostic("M010", f"unknown key '{name}'", where, did_you_mean(name, _siblings(loc)))
    if error["type"] == "missing":
        return Diagnostic("M011", f"'{name}' is missing", where)
    message = str(error["msg"]).removeprefix("Value error, ")
    return Diagnostic("M012", f"'{name}': {message}" if name else message, where)


def _siblings(loc: Path_) -> list[str]:
    owner: type[BaseModel] = Mapping
    for part in loc[:-1]:
        owner = _KEYS.get(str(part), owner)
    return [field.alias or name for name, field in owner.model_fields.items() if name != "text"]
