"""pytest runs the cases of rules: ``pytest rules/`` collects every ``cases/*.yaml`` that lies beside its rule.

Imported by every pytest where fintel is installed, so nothing but pytest is imported here before such a
file is found.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from fintel.errors import Diagnostic
    from fintel.rules.cases import Case
    from fintel.rules.model import Library, Rule

    Loaded = tuple[Library, tuple[Diagnostic, ...]]

_LIBRARIES = pytest.StashKey["dict[Path, Loaded]"]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """``--fintel-rules``."""
    group = parser.getgroup("fintel")
    group.addoption(
        "--fintel-rules",
        action="append",
        default=[],
        type=Path,
        metavar="FOLDER",
        help="a folder of packs whose lists and conditions rules may use, beside the shipped ones and their own",
    )


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> pytest.Collector | None:
    """A file of cases beside a rule."""
    if file_path.suffix != ".yaml" or file_path.parent.name != "cases":
        return None
    if not (file_path.parent.parent / file_path.name).is_file():
        return None
    file: CaseFile = CaseFile.from_parent(parent, path=file_path)
    return file


class CaseFile(pytest.File):
    """The cases of one rule; judged together when the first of them is run."""

    def collect(self) -> Iterator[pytest.Item]:
        """One item a case.

        Raises
        ------
        CollectError: the rule or the file of cases cannot be read.
        """
        from fintel.rules.cases import load_cases

        self.rule = self._rule()
        cases, findings = load_cases(self.rule)
        if findings:
            raise self.CollectError("\n".join(map(str, findings)))
        self.cases = cases
        self._verdicts: list[tuple[str, ...]] | None = None
        for place, case in enumerate(cases):
            yield CaseItem.from_parent(self, name=case.name, place=place, case=case)

    def verdict(self, place: int) -> tuple[str, ...]:
        """What is wrong with the rule in a case."""
        from fintel.rules.judging import Docket, judge

        if self._verdicts is None:
            ((self._verdicts,),) = judge([Docket((self.rule,), self.cases)], self._library()[0])
        return self._verdicts[place]

    def _rule(self) -> Rule:
        library, findings = self._library()
        pack = self.path.parent.parent
        for rule in library.rules:
            if rule.id == f"{pack.name}/{self.path.stem}":
                return rule
        mine = [str(d) for d in findings if d.location and Path(d.location.file) == pack / self.path.name]
        raise self.CollectError("\n".join(mine) or f"no rule {pack.name}/{self.path.stem}")

    def _library(self) -> Loaded:
        """The shipped packs, those of the options, and the folder of packs that the file is in."""
        from fintel.rules.loader import load, packs_folder

        known = self.config.stash.setdefault(_LIBRARIES, {})
        root = self.path.parent.parent.parent
        if root not in known:
            folders = [packs_folder(), *(f.resolve() for f in self.config.getoption("fintel_rules")), root]
            known[root] = load(list(dict.fromkeys(folders)))
        return known[root]


class CaseItem(pytest.Item):
    """One case."""

    def __init__(self, *, place: int, case: Case, **rest: Any) -> None:
        super().__init__(**rest)
        self.place, self.case = place, case

    def runtest(self) -> None:
        """Fails where the rule does not say what the case expects."""
        assert isinstance(self.parent, CaseFile)
        wrong = self.parent.verdict(self.place)
        if wrong:
            pytest.fail(f"{self.case.location}: {'; '.join(wrong)}", pytrace=False)

    def reportinfo(self) -> tuple[Path, int | None, str]:
        """Where the case stands."""
        line = self.case.location.line
        return self.path, None if line is None else line - 1, f"{self.path.stem}: {self.name}"
