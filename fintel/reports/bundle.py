"""A draft on disk: XML, page, payments and a sidecar with what is needed to trust or refuse them."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from lxml import etree

from fintel.config import Filer
from fintel.domain.case import Case, Missing
from fintel.errors import Diagnostic, ReportError, Severity
from fintel.reports import narrative as narratives
from fintel.reports.attachment import attachment
from fintel.reports.comparisons import disagreements
from fintel.reports.fincen import render, schema_errors
from fintel.reports.fincen_checks import check
from fintel.reports.page import render_page
from fintel.reports.text import ascii_file_name

STATUS = "draft"


@dataclass(frozen=True, slots=True)
class DraftFiles:
    """What was written. ``complete``: no fact is missing and no check found an error; it still is a
    draft, for a person to decide."""

    xml: Path
    html: Path
    csv: Path
    json: Path
    missing: tuple[Missing, ...]
    findings: tuple[Diagnostic, ...]

    @property
    def complete(self) -> bool:
        """Whether the XML could be filed as it is."""
        return not self.missing and all(f.severity is not Severity.ERROR for f in self.findings)


def write_draft(
    case: Case, folder: Path, *, filer: Filer, at: datetime, version: str, schema: Path | None = None
) -> DraftFiles:
    """Write the draft of a case: ``<alert>.DRAFT.xml``, ``.html``, ``.json`` and
    ``<alert>.transactions.csv`` (the word DRAFT stays out of the XML, which names the CSV).

    Each file appears whole or not at all, readable by its owner only; the sidecar comes last and has
    the others' hashes. The same case, settings and ``at`` give the same bytes.

    Parameters
    ----------
    at: when the draft is made, with a time zone; its day is the filing day.
    version: of fintel, for the sidecar.
    schema: FinCEN's XSD (https://www.fincen.gov/base/EFL_SARXBatchSchema.xsd), if it is to be checked.

    Raises
    ------
    ReportError: the folder cannot be written, the schema cannot be read, ``at`` has no time zone.
    """
    if at.tzinfo is None:
        raise ReportError("the time of a draft needs a time zone")
    day = at.date()
    stem = ascii_file_name(case.case_id, hashlib.sha256(case.case_id.encode()).hexdigest())
    names = {k: f"{stem}.DRAFT.{k}" for k in ("xml", "html", "json")} | {"csv": f"{stem}.transactions.csv"}
    story = narratives.write(case, filer, day)
    table = attachment(case)
    drawn = render(case, story, filer, filing_date=day, attachment=names["csv"])
    findings = [
        *check(drawn.xml, today=day, attachments={names["csv"]: len(table.data)}),
        *disagreements(case),
    ]
    if table.rows < table.of:
        message = f"the attachment holds {table.rows} of {table.of} payments: 1 MB is its limit"
        hint = "the narrative says that all are listed: change it, or shorten the period"
        findings.append(Diagnostic("S131", message, hint=hint))
    if schema is not None:
        findings += schema_errors(drawn.xml, schema)
        words = "The XML was checked against the given XSD of FinCEN."
    else:
        words = "The XML was not checked against FinCEN's XSD: none was given."
    page = render_page(case, story, missing=drawn.missing, findings=findings, schema_checked=words, made_at=at)
    parts = {"xml": drawn.xml, "html": page.encode("utf-8"), "csv": table.data}
    sidecar = {
        "status": STATUS,
        "case": case.case_id,
        "run": case.run_id,
        "made_at": at.isoformat(timespec="seconds"),
        "fintel": version,
        "lxml": ".".join(map(str, etree.LXML_VERSION)),
        "files": {names[k]: hashlib.sha256(data).hexdigest() for k, data in parts.items()},
        "validation": _validation(findings, schema),
        "missing": [asdict(m) for m in drawn.missing],
        "attachment": {"name": names["csv"], "payments": table.rows, "of": table.of},
        "seqnums": drawn.seqnums,
        "sentences": [
            {"part": s.part, "text": s.text, "evidence": list(s.evidence), "source": s.source} for s in story.sentences
        ],
    }
    parts["json"] = (json.dumps(sidecar, indent=1, ensure_ascii=False) + "\n").encode("utf-8")
    paths = {k: folder / name for k, name in names.items()}
    try:
        for made in (*reversed(folder.parents), folder):  # parents=True would leave them open to all
            made.mkdir(mode=0o700, exist_ok=True)
        for kind in ("csv", "xml", "html", "json"):
            _write(paths[kind], parts[kind])
    except OSError as error:
        raise ReportError(f"cannot write the draft: {error.strerror}", location=folder) from error
    return DraftFiles(**paths, missing=drawn.missing, findings=tuple(findings))


def _validation(findings: list[Diagnostic], schema: Path | None) -> dict[str, Any]:
    errors = [f.as_dict() for f in findings if f.severity is Severity.ERROR]
    return {
        "errors": errors,
        "warnings": [f.as_dict() for f in findings if f.severity is not Severity.ERROR],
        "schema_sha256": hashlib.sha256(schema.read_bytes()).hexdigest() if schema else None,
        "schema_valid": None if schema is None else not any(e["code"] == "S120" for e in errors),
    }


def _write(path: Path, data: bytes) -> None:
    """Whole or not at all: a temporary file (readable by its owner only), synced, then renamed."""
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".draft-")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError:
        Path(temporary).unlink(missing_ok=True)
        raise
