"""Where a registered version's files may be read from, and how many of their bytes.

A registry says of each version where its files lie, and whoever writes to the registry may say anything: another host,
which would be sent the token of this one, or any file of this machine. So a place counts only below the folder of the
version's own run, and that only on the tracking server itself or, where the registry is no server, in a local folder.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from urllib.parse import unquote, urlsplit

from fintel.errors import ModelError

_SERVICE = "/api/2.0/mlflow-artifacts/artifacts"
_CHUNK = 1 << 20
#: A path of plain steps: none empty, '.' or '..', nothing encoded, no query.
_STEPS = re.compile(r"(/(?!\.{1,2}(/|$))[\w .@+=:,-]+)*")


def place_of(source: str, run: str, tracking: str, root: str) -> Path | str:
    """Where a version's files are: a local folder, or the path on the tracking server's artefact service.

    Parameters
    ----------
    source: what the version says. run: the artefacts of its run. tracking: the tracking store's address, a server if it
    begins with http. root: the local folder that holds the artefacts of all runs; unused with a server.

    Raises
    ------
    ModelError: another place than those.
    """
    if not source.startswith(run.rstrip("/") + "/"):
        raise _elsewhere("it is not among the artefacts of its run")
    if tracking.startswith(("http://", "https://")):
        return _served(source, tracking)
    folder, top = _local(source).resolve(), _local(root).resolve()
    if not folder.is_relative_to(top):
        raise _elsewhere("it is not below the folder of artefacts")
    return folder


def _served(source: str, tracking: str) -> str:
    there, here = urlsplit(source), urlsplit(tracking)
    own = (there.scheme, there.netloc) == (here.scheme, here.netloc)
    before = here.path.rstrip("/") + _SERVICE
    if there.scheme == "mlflow-artifacts" and there.netloc in ("", here.netloc):
        path = there.path
    elif own and there.path.startswith(before + "/"):
        path = there.path.removeprefix(before)
    else:
        raise _elsewhere("it is not on the tracking server")
    if there.query or there.fragment or not _STEPS.fullmatch(path):
        raise _elsewhere("its path is not plain")
    return path


def _local(address: str) -> Path:
    parts = urlsplit(address)
    if parts.scheme not in ("", "file") or parts.netloc or parts.query or parts.fragment:
        raise _elsewhere("it is neither local nor on the tracking server")
    return Path(unquote(parts.path) if parts.scheme else address)


def _elsewhere(why: str) -> ModelError:
    return ModelError(f"the version's source is refused: {why}", hint="fetch it by hand, or register it anew")


def read(place: Path | str, name: str, most: int, tracking: str) -> bytes:
    """A file of a version, at most ``most`` bytes of it. ``place``: as ``place_of`` gives it.

    Raises
    ------
    ModelError: no such file, or a larger one. OSError, ValueError: it cannot be read.
    """
    data = _of_folder(place / name, most) if isinstance(place, Path) else _of_server(place, name, most, tracking)
    if data is None:
        raise ModelError(f"the version holds no {name}", hint="it is no model of fintel's")
    if not 0 < len(data) <= most:
        raise ModelError(f"{name} of the version is empty, or larger than {most:,} bytes")
    return data


def _of_folder(path: Path, most: int) -> bytes | None:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        return None
    with os.fdopen(descriptor, "rb") as stream:
        return stream.read(most + 1)


def _of_server(place: str, name: str, most: int, tracking: str) -> bytes | None:
    from mlflow.utils.credentials import get_default_host_creds
    from mlflow.utils.rest_utils import http_request

    # No redirect is followed: it could lead to another host.
    answer = http_request(
        get_default_host_creds(tracking.rstrip("/")), f"{_SERVICE}{place}/{name}", "GET", stream=True,
        allow_redirects=False,
    )  # fmt: skip
    with answer:
        if answer.status_code == 404:
            return None
        if answer.status_code != 200:
            raise ModelError(f"the tracking server answers {answer.status_code} for {name}")
        data = bytearray()
        for chunk in answer.iter_content(_CHUNK):
            data += chunk
            if len(data) > most:
                break
        return bytes(data)
