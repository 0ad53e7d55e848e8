"""Settings: ``fintel.toml`` found upwards from the working folder, then ``FINTEL_*`` variables.

Nothing is read at import. ``load()`` returns frozen settings that are passed on by hand.
"""

from __future__ import annotations

import json
import os
import re
import stat
import tomllib
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from fintel.errors import ConfigError, Location, did_you_mean

FILE_NAME = "fintel.toml"


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Address(_Section):
    """A postal address in a filing."""

    street: str | None = None
    city: str | None = None
    state: str | None = None
    postcode: str | None = None
    country: str | None = None


class Filer(_Section):
    """Who files reports. Anything absent is named as absent in a draft, never invented.

    Numbers follow FinCEN's SAR form: ``tin`` (tax number), ``ein``, ``transmitter_control_code``,
    ``rssd``; ``regulator`` and ``organisation_type`` take FinCEN's codes.
    """

    name: str | None = None
    tin: str | None = None
    ein: str | None = None
    rssd: str | None = None
    transmitter_control_code: str | None = None
    regulator: str | None = None
    organisation_type: str | None = None
    phone: str | None = None
    contact_office: str | None = None
    contact_phone: str | None = None
    address: Address = Address()


class RankingSettings(_Section):
    """How evidence becomes a score, and two decisions that are kept apart.

    ``budget`` is capacity: how many alerts of the queue are shown. ``threshold_bits`` is a risk decision: whoever
    scores as much or more must be read, however many there are; None states none. ``risk_seeds``: whose money counts.
    """

    prior: float = Field(default=0.001, gt=0, lt=0.5)
    budget: int = Field(default=50, ge=1)
    threshold_bits: float | None = Field(default=None, ge=-100, le=100, allow_inf_nan=False)
    risk_seeds: tuple[Literal["label", "intel", "rule"], ...] = ("label", "intel", "rule")
    include_external: bool = False


class Settings(_Section):
    """All settings. Paths are absolute after ``load()``."""

    lake: Path = Path("lake")
    base_currency: str = Field(default="USD", pattern=r"^[A-Z]{3}$")
    packs: tuple[Path, ...] = ()
    drafts: Path = Path("drafts")
    threads: int = Field(default=0, ge=0)
    seed: int = 7
    mlflow_uri: str | None = None
    ranking: RankingSettings = RankingSettings()
    filer: Filer = Filer()


def find(start: Path | None = None) -> Path | None:
    """The nearest ``fintel.toml`` in ``start`` or a folder above it."""
    folder = (start or Path.cwd()).resolve()
    for candidate in (folder, *folder.parents):
        path = candidate / FILE_NAME
        if path.is_file():
            return path
    return None


def load(path: Path | None = None, *, start: Path | None = None, env: dict[str, str] | None = None) -> Settings:
    """Read settings.

    Parameters
    ----------
    path: a settings file; searched upwards from ``start`` (default: working folder) if None.
    env: variables, default ``os.environ``. ``FINTEL_LAKE`` sets ``lake``; two underscores go one
        level down (``FINTEL_RANKING__BUDGET=20``).

    Raises
    ------
    ConfigError: unreadable file, unknown or wrong setting; names the file, the line and the setting, or the variable.
    """
    file = path or _trusted(find(start))
    data: dict[str, Any] = {}
    if path is not None and not path.is_file():
        raise ConfigError(f"no settings file {path}", hint="fintel init writes one")
    if file is not None:
        try:
            data = tomllib.loads(file.read_text(encoding="utf-8"))
        except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
            raise _not_toml(file, str(error)) from error
    variables: set[str] = set()
    for name, value in (os.environ if env is None else env).items():
        if name.startswith("FINTEL_"):
            keys = name.removeprefix("FINTEL_").lower().split("__")
            _put(data, keys, value)
            variables.add(".".join(keys))
    try:
        settings = Settings.model_validate(data)
    except ValidationError as error:
        where = _place(file, error) if file is not None and not _loc(error) & variables else None
        raise ConfigError(_explain(error, variables), location=where, hint=_hint(error)) from error
    home = file.parent if file else (start or Path.cwd()).resolve()
    return settings.model_copy(
        update={
            "lake": home / settings.lake,
            "drafts": home / settings.drafts,
            "packs": tuple(home / p for p in settings.packs),
        }
    )


def _trusted(file: Path | None) -> Path | None:
    """A file found upwards counts only if nobody else could have put it there: it says where drafts go."""
    if file is None or not hasattr(os, "geteuid"):
        return file
    facts = file.stat()
    if facts.st_uid not in (0, os.geteuid()) or facts.st_mode & stat.S_IWOTH:
        raise ConfigError(
            "settings found above this folder belong to somebody else, or anybody may change them",
            location=file,
            hint="name them by --config if you trust them, or run fintel init here",
        )
    return file


def _put(data: dict[str, Any], keys: list[str], value: str) -> None:
    for key in keys[:-1]:
        data = data.setdefault(key, {})
        if not isinstance(data, dict):
            raise ConfigError(f"variable FINTEL_{'__'.join(keys).upper()}: '{key}' has no parts")
    data[keys[-1]] = value


def _not_toml(file: Path, said: str) -> ConfigError:
    """What the parser says, with its place as a place."""
    found = re.search(r" \(at line (\d+), column (\d+)\)$", said)
    where = Location(str(file), int(found[1]), int(found[2])) if found else Location(str(file))
    return ConfigError(
        f"not valid TOML: {said[: found.start()] if found else said}",
        location=where, hint='name = "text", name = 3 or name = ["a", "b"]; a text stands in quotes',
    )  # fmt: skip


def _loc(error: ValidationError) -> set[str]:
    """The setting, and the sections that it stands in: any of them may be a variable's."""
    parts = [str(p) for p in error.errors()[0]["loc"]]
    return {".".join(parts[: n + 1]) for n in range(len(parts))}


def _place(file: Path, error: ValidationError) -> Location:
    """The file, and the line of the setting where one begins with its name in its section."""
    *sections, name = [str(p) for p in error.errors()[0]["loc"] if not isinstance(p, int)]
    section: list[str] = []
    for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1):
        if head := re.match(r"\s*\[([\w.\s-]+)\]", line):
            section = [part.strip() for part in head[1].split(".")]
            if section == [*sections, name]:
                return Location(str(file), number)
        elif section == sections and re.match(rf"\s*[\"']?{re.escape(name)}[\"']?\s*=", line):
            return Location(str(file), number)
    return Location(str(file))


def _explain(error: ValidationError, variables: set[str]) -> str:
    first = error.errors()[0]
    name = ".".join(str(p) for p in first["loc"])
    kind = "setting"
    if _loc(error) & variables:
        kind, name = "variable", f"FINTEL_{name.replace('.', '__').upper()}"
    if first["type"] == "extra_forbidden":
        return f"{kind} '{name}': there is no such setting"
    return f"{kind} '{name}': {first['msg'][:1].lower()}{first['msg'][1:]}"


def _hint(error: ValidationError) -> str | None:
    """The setting that was meant, those that there are, or what a right value looks like."""
    first = error.errors()[0]
    section: type[BaseModel] = Settings
    *sections, name = [str(p) for p in first["loc"] if not isinstance(p, int)]
    for part in sections:
        annotation = section.model_fields[part].annotation
        if not (isinstance(annotation, type) and issubclass(annotation, BaseModel)):
            return None
        section = annotation
    if first["type"] == "extra_forbidden":
        place = f"in [{'.'.join(sections)}]" if sections else "before the first [section]"
        return did_you_mean(name, section.model_fields) or f"{place}: {', '.join(section.model_fields)}"
    default = section.model_fields[name].default if name in section.model_fields else None
    return f"for example {json.dumps(default)}" if isinstance(default, (str, int, float)) else None
