"""Talking to people and programs: tables and JSON to stdout, talk and progress to stderr."""

from __future__ import annotations

import json
import os
import sys
import tempfile
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from fintel.errors import ConfigError, Diagnostic, FintelError, RuleError, Severity

#: Columns of a table that is written to a file or a pipe.
PIPE_WIDTH = 120


def out() -> Console:
    """Where data goes. Piped, there is no screen to fit: tables get room."""
    console = Console(soft_wrap=False, highlight=False)
    return console if console.is_terminal else Console(width=PIPE_WIDTH, highlight=False)


def err() -> Console:
    """Where talk goes."""
    return Console(stderr=True, highlight=False)


def visible(text: str) -> str:
    """Text with control and direction signs written out: names and texts come from feeds, and a
    terminal would obey them. Shown, not dropped: an analyst should see them."""
    return "".join(c if c == "\n" or not _unseen(c) else _written(c) for c in text)


def _unseen(sign: str) -> bool:
    return unicodedata.category(sign) in ("Cc", "Cf", "Co", "Cs", "Zl", "Zp")


def _written(sign: str) -> str:
    return f"\\u{ord(sign):04x}" if ord(sign) < 0x10000 else f"\\U{ord(sign):08x}"


def safe(text: str) -> str:
    """Text for a rich console: no markup, no control signs."""
    return escape(visible(text))


def say(text: str) -> None:
    """A line of talk."""
    err().print(safe(text), soft_wrap=True)


def tell(text: str, *, style: str = "") -> None:
    """A line of data."""
    out().print(safe(text), soft_wrap=True, style=style)


def plain(value: Any) -> Any:
    """A value as JSON can hold it."""
    if isinstance(value, (datetime, date)):
        return value.isoformat()
    if isinstance(value, Decimal):
        return str(value)
    if isinstance(value, float) and value != value:
        return None
    if isinstance(value, dict):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    return value


def print_json(value: Any) -> None:
    """One JSON document to stdout."""
    # ASCII: whatever stands in a text, the terminal that shows the JSON is not told anything.
    sys.stdout.write(json.dumps(plain(value), ensure_ascii=True, indent=2, allow_nan=False) + "\n")


def cell(value: Any) -> str:
    """A value as a person reads it in a table."""
    if value is None:
        return "–"
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M}"
    if isinstance(value, float):
        return f"{value:,.2f}"
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return str(value)


def print_table(
    title: str | None, columns: Sequence[str], rows: Iterable[Sequence[Any]], *, right: Sequence[str] = ()
) -> None:
    """A table to stdout. Everything in it is escaped: names and texts come from feeds."""
    table = Table(title=title and safe(title), title_justify="left", header_style="bold")
    for name in columns:
        table.add_column(safe(name), justify="right" if name in right else "left", overflow="fold")
    for row in rows:
        table.add_row(*(safe(cell(v)) for v in row))
    out().print(table)


def print_diagnostics(found: Iterable[Diagnostic], *, to: Console | None = None) -> None:
    """Diagnostics, each on its own line, errors in red."""
    console = to or err()
    colours = {Severity.ERROR: "red", Severity.WARNING: "yellow", Severity.INFO: "cyan"}
    for diagnostic in found:
        console.print(f"[{colours[diagnostic.severity]}]{safe(str(diagnostic))}[/]", soft_wrap=True)


@contextmanager
def progress() -> Iterator[Callable[[str, int, int], None]]:
    """A progress bar on stderr; nothing where stderr is no terminal."""
    console = err()
    if not console.is_terminal:
        yield lambda stage, done, of: None
        return
    bar = Progress(
        SpinnerColumn(), TextColumn("{task.description}"), BarColumn(bar_width=24), MofNCompleteColumn(),
        TimeElapsedColumn(), console=console, transient=True,
    )  # fmt: skip
    with bar:
        tasks: dict[str, Any] = {}

        def show(stage: str, done: int, of: int) -> None:
            if stage not in tasks:
                tasks[stage] = bar.add_task(safe(stage), total=of or None)
            bar.update(tasks[stage], completed=done, total=of or None)

        yield show


@contextmanager
def errors_explained() -> Iterator[None]:
    """Turn ``FintelError`` into a message, a hint and exit code 2."""
    try:
        yield
    except FintelError as error:
        console = err()
        console.print(f"[bold red]error:[/] {safe(str(error))}", soft_wrap=True)
        if isinstance(error, RuleError):
            print_diagnostics(error.diagnostics, to=console)
        if error.hint:
            console.print(f"[dim]hint: {safe(error.hint)}[/]", soft_wrap=True)
        raise typer.Exit(2) from error
    except BrokenPipeError:
        # the reader of our output (head, less) has seen enough
        sys.stderr.close()
        raise typer.Exit(0) from None


def short_path(path: Path) -> str:
    """A path as short as it can be typed from here."""
    here = Path.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) else str(path)


def require_writable(path: Path) -> None:
    """Check, before any work, that a file can be written there.

    Raises
    ------
    ConfigError: there is no such folder, it cannot be written to, or the path is a folder.
    """
    if not path.parent.is_dir():
        raise ConfigError(
            f"there is no folder '{path.parent}' to write '{path.name}' to", hint="make it first (mkdir -p)"
        )
    if path.is_dir():
        raise ConfigError(f"'{path}' is a folder, not a file", hint="name a file in it")
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise ConfigError(f"the folder '{path.parent}' cannot be written to", hint="name a file in another folder")


def write_private(path: Path, text: str) -> None:
    """Write a file that only its owner can read: it may name people. What stood there is replaced, never followed.

    Raises ``ConfigError`` where it cannot be written (``require_writable``).
    """
    require_writable(path)
    with tempfile.NamedTemporaryFile("w", encoding="utf-8", dir=path.parent, delete=False) as stream:
        stream.write(text)
    Path(stream.name).replace(path)
