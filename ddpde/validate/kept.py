"""Verdicts that still hold: the same files, the same code, the same libraries."""

from __future__ import annotations

import hashlib
import json
import platform
from functools import cache
from pathlib import Path

import ddpde
from ddpde.run.environment import libraries
from ddpde.validate.case import Case
from ddpde.validate.verdict import Verdict

_NO_INPUT = {".md", ".html", ".png"}


def fingerprint(case: Case) -> str | None:
    """Of the files beside the case's own, the package's code, and the versions of Python and of
    the `libraries`; None without a case file.

    What a case imports from elsewhere is not seen.
    """
    if case.source is None:
        return None
    beside = [f for f in sorted(case.source.resolve().parent.iterdir()) if f.is_file()]
    files = [f for f in beside if f.suffix not in _NO_INPUT]
    versions = json.dumps([platform.python_version(), libraries()])
    return _digest(files) + _code() + hashlib.sha256(versions.encode()).hexdigest()[:32]


def kept_verdict(case: Case, folder: Path) -> Verdict | None:
    """The verdict in `folder`, if validating the case again could only repeat it."""
    try:
        stored = json.loads((folder / "verdict.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    if not isinstance(stored, dict) or stored.get("fingerprint") is None:
        return None
    return Verdict.from_dict(stored) if stored["fingerprint"] == fingerprint(case) else None


@cache
def _code() -> str:
    home = Path(ddpde.__file__).parent
    return _digest(sorted(f for f in home.rglob("*.py") if "cases" not in f.parts))


def _digest(files: list[Path]) -> str:
    whole = hashlib.sha256()
    for file in files:
        whole.update(f"{file.name}\0".encode())
        whole.update(hashlib.sha256(file.read_bytes()).digest())
    return whole.hexdigest()[:32]
