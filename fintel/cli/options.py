"""Options that several commands share, and the settings they lead to."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fintel import config
from fintel.errors import ConfigError

if TYPE_CHECKING:
    from fintel.feeds.mapping import Mapping

ConfigFile = Annotated[
    Path | None, typer.Option("--config", "-c", help="Settings file; default: fintel.toml here or above.")
]
LakeFolder = Annotated[Path | None, typer.Option("--lake", help="Folder of the lake; default: the settings'.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
AsOf = Annotated[
    str | None,
    typer.Option("--as-of", help="See nothing later than this (ISO date or time, UTC). Default: the last payment."),
]
RunId = Annotated[str | None, typer.Option("--run", help="Run to read; default: the latest.")]


def settings_of(file: Path | None, lake: Path | None = None) -> config.Settings:
    """Settings from the file or upwards, with the lake's folder replaced where one is given."""
    settings = config.load(file)
    if lake is not None:
        settings = settings.model_copy(update={"lake": lake.resolve()})
    return settings


def moment(text: str | None) -> datetime | None:
    """An option's date or time, in UTC. A date means its last microsecond.

    Raises
    ------
    ConfigError: not ISO 8601.
    """
    if text is None:
        return None
    try:
        found = datetime.fromisoformat(text)
    except ValueError as error:
        raise ConfigError(f"'{text}' is not an ISO date or time", hint="for example 2025-06-30") from error
    if len(text) == 10:
        found = found.replace(hour=23, minute=59, second=59, microsecond=999_999)
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)


def mapping_for(path: Path, name: str | None) -> Mapping:
    """The mapping of that name or file, else the shipped one that recognises the feed.

    Raises
    ------
    FeedError: nothing to read, or none fits; the hint names ``fintel feed sniff``.
    """
    from fintel.errors import FeedError
    from fintel.feeds import mapping_loader
    from fintel.feeds.reading import EMPTY, files_of, not_there

    if name is not None:
        return mapping_loader.load(Path(name) if name.endswith((".yaml", ".yml")) else name)
    if not path.exists():
        raise not_there(path)
    from fintel.feeds.sniff import recognise

    if path.is_dir() and not files_of(path):
        raise FeedError("the folder holds no files", hint="name a file, or a folder of files", location=path)
    if path.is_file() and not path.stat().st_size:
        raise FeedError("the file is empty", hint=EMPTY, location=path)
    found = recognise(path)
    if found is None:
        raise FeedError(
            f"no shipped mapping fits {path.name}",
            hint=f"fintel feed sniff {path} proposes one; then --mapping FILE.yaml",
        )
    return mapping_loader.load(found)
