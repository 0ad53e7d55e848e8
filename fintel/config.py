"""Settings: ``fintel.toml`` found upwards from the working folder, then ``FINTEL_*`` variables.

Nothing is read at import. ``load()`` returns frozen settings that are passed on by hand.
"""

from __future__ import annotations

import os
import stat
import tomllib
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from fintel.errors import ConfigError, did_you_mean

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
    """How evidence becomes a score."""

    prior: float = Field(default=0.001, gt=0, lt=0.5)
    budget: int = Field(default=50, ge=1)
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
    ConfigError: unreadable file, unknown or wrong setting; names the file and the setting.
    """
    file = path or _trusted(find(start))
    data: dict[str, Any] = {}
    if path is not None and not path.is_file():
        raise ConfigError(f"no settings file {path}", hint="fintel init writes one")
    if file is not None:
        try:
            data = tomllib.loads(file.read_text(encoding="utf-8"))
        except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
            raise ConfigError(f"not valid TOML: {error}", location=file) from error
    for name, value in (os.environ if env is None else env).items():
        if name.startswith("FINTEL_"):
            _put(data, name.removeprefix("FINTEL_").lower().split("__"), value)
    try:
        settings = Settings.model_validate(data)
    except ValidationError as error:
        raise ConfigError(_explain(error), location=file, hint=_hint(error)) from error
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


def _explain(error: ValidationError) -> str:
    first = error.errors()[0]
    name = ".".join(str(p) for p in first["loc"])
    return f"setting '{name}': {first['msg'].lower()}"


def _hint(error: ValidationError) -> str | None:
    first = error.errors()[0]
    if first["type"] != "extra_forbidden":
        return None
    section: type[BaseModel] = Settings
    for part in first["loc"][:-1]:
        annotation = section.model_fields[str(part)].annotation
        if not (isinstance(annotation, type) and issubclass(annotation, BaseModel)):
            return None
        section = annotation
    return did_you_mean(str(first["loc"][-1]), section.model_fields)
