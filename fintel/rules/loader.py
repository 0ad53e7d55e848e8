"""Packs of rules from folders of YAML files.

A rule with an error is left out and its diagnostics say why; the others go on.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import fintel
from fintel.errors import Diagnostic, Location, RuleError, Severity
from fintel.rules.checks import rule_findings
from fintel.rules.fields import Fields
from fintel.rules.lists import Shelf, load_conditions, load_indicators, load_lists, yaml_files
from fintel.rules.model import Condition, Indicator, Library, Pack, Rule
from fintel.rules.reading import shared_condition_findings
from fintel.rules.rule_file import load_rule
from fintel.rules.source import Findings, bounded, read

PACK_FILE = "pack.yaml"
CATALOGUE = "indicators.yaml"
CONDITIONS = "conditions.yaml"
LISTS = "lists"
CASES = "cases"
_T = TypeVar("_T", Condition, Indicator)
_PACK_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")


def packs_folder() -> Path:
    """The packs that come with fintel: inside an installed package, else beside it in a checkout.

    Raises
    ------
    RuleError: neither is there.
    """
    home = Path(fintel.__file__).resolve().parent
    for folder in (home / "packs", home.parent / "rules"):
        if (folder / CATALOGUE).is_file():
            return folder
    raise RuleError("no rule packs beside fintel", hint="install fintel again, or name a folder of packs")


def load(
    folders: Sequence[Path] | None = None, *, local_lists: Path | None = None
) -> tuple[Library, tuple[Diagnostic, ...]]:
    """Read packs, lists and catalogues.

    Parameters
    ----------
    folders: folders of packs, or single packs; ``packs_folder()`` if None. Lists of one name in
        several folders are joined. A rule in a later folder replaces one of its id and a lower version.
    local_lists: a folder of private lists (beside ``fintel.toml``), joined in by name.

    Returns
    -------
    The library, and what was wrong: a rule with an error is not in the library. Where it was to replace
    another, that one runs on, and a warning (R016) says so.
    """
    roots = [packs_folder()] if folders is None else list(folders)
    findings = Findings()
    shelf = Shelf()
    indicators: dict[str, Indicator] = {}
    packs: dict[str, Pack] = {}
    conditions: dict[str, Condition] = {}
    rules: dict[str, Rule] = {}
    replaced: dict[str, Rule] = {}
    for root in roots:
        if not root.is_dir():
            findings.add("R001", "no such folder of packs", Location(str(root)))
            continue
        load_lists(root / LISTS, shelf, findings)
        shelf.close()
        _add_new(indicators, load_indicators(root / CATALOGUE, findings), root / CATALOGUE, findings)
        _add_new(conditions, load_conditions(root / CONDITIONS, findings), root / CONDITIONS, findings)
    if local_lists is not None and local_lists.is_dir():
        shelf.open()
        load_lists(local_lists, shelf, findings)
    faults, sound = shared_condition_findings(conditions, shelf.lists)
    findings.items.extend(faults)
    conditions = {name: c for name, c in conditions.items() if name in sound}
    for folder in (f for root in roots for f in _pack_folders(root)):
        if not _PACK_NAME.fullmatch(folder.name):
            findings.add(
                "R010", "a pack's folder is named by small letters, digits, '-' and '_'", Location(str(folder))
            )
            continue
        pack = _load_pack(folder, findings)
        packs[pack.name] = pack
        for path in yaml_files(folder, findings):
            rule = None if path.name == PACK_FILE else load_rule(path, pack.name, conditions, findings)
            known = rules.get(rule.id if rule is not None else f"{pack.name}/{path.stem}")
            if rule is None:
                if known is not None and Path(known.location.file) != path:
                    findings.items.append(_runs_on(known, Location(str(path), 1)))
                continue
            if known is not None and not _is_newer(rule, known):
                hint = "raise its version to replace the other" if folder != Path(known.location.file).parent else None
                findings.add("R011", f"'{rule.id}' is already in {known.location}", rule.place("id"), hint)
                continue
            if known is not None:
                message = f"replaces version {known.version} in {known.location.file}"
                findings.add("R015", message, rule.place("version"), severity=Severity.INFO)
                replaced[rule.id] = known
            rules[rule.id] = rule
    library = Library(tuple(rules.values()), shelf.lists, indicators, packs, shelf.rates, conditions)
    return _without_errors(library, replaced, findings)


def _add_new(known: dict[str, _T], found: Mapping[str, _T], path: Path, findings: Findings) -> None:
    """Add what is new. A folder that says something else under a name of another would change the other's rules."""
    for name, value in found.items():
        if known.setdefault(name, value) != value:
            findings.add("R075", f"another folder has '{name}', and says something else", Location(str(path)))


def _is_newer(rule: Rule, known: Rule) -> bool:
    """A higher version in another folder: somebody's own, tuned from the one that is shipped."""
    return rule.version > known.version and Path(rule.location.file).parent != Path(known.location.file).parent


def _runs_on(known: Rule, place: Location) -> Diagnostic:
    message = f"'{known.id}' has errors here: version {known.version} in {known.location.file} runs on"
    return Diagnostic("R016", message, place, "fintel rules check finds them", Severity.WARNING)


def _without_errors(
    library: Library, replaced: Mapping[str, Rule], findings: Findings
) -> tuple[Library, tuple[Diagnostic, ...]]:
    """A correlation is judged after the rules that it names, so that it does not rest on one that is left out.

    A rule of a folder of one's own that has errors takes nothing away: the one that it was to replace runs on.
    """
    for correlates in (False, True):
        sound: list[Rule] = []
        for rule in library.rules:
            errors: list[Diagnostic] = []
            if (rule.correlation is not None) is correlates:
                errors = [d for d in rule_findings(rule, library) if d.severity is Severity.ERROR]
                findings.items.extend(errors)
            if not errors:
                sound.append(rule)
            elif (known := replaced.get(rule.id)) is not None and not any(
                d.severity is Severity.ERROR for d in rule_findings(known, library)
            ):
                sound.append(known)
                findings.items.append(_runs_on(known, errors[0].location or rule.location))
        library = replace(library, rules=tuple(sound))
    return library, bounded(findings.items)


def _pack_folders(root: Path) -> list[Path]:
    if (root / PACK_FILE).is_file():
        return [root]
    if not root.is_dir():
        return []
    found = [f for f in sorted(root.iterdir()) if f.is_dir() and not f.name.startswith(".")]
    return [f for f in found if f.name != LISTS and any(f.glob("*.yaml"))]


def _load_pack(folder: Path, findings: Findings) -> Pack:
    path = folder / PACK_FILE
    if not path.is_file():
        findings.add("R006", f"the pack has no {PACK_FILE}", Location(str(folder)), "name, title, description")
        return Pack(folder.name, folder.name, "", str(folder))
    node = read(path, findings)
    if node is None:
        return Pack(folder.name, folder.name, "", str(folder))
    fields = Fields(node, findings)
    fields.check(("name", "title", "description"), ("name", "title", "description"))
    name = fields.text("name", folder.name)
    if name != folder.name or not _PACK_NAME.fullmatch(name):
        findings.add("R010", f"pack '{name}' stands in folder '{folder.name}'", fields.span("name"))
    return Pack(folder.name, fields.text("title"), fields.text("description"), str(folder))
