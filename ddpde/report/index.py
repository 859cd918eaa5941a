"""write_index(): one page over many validations, all verdicts at a glance."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import ddpde
from ddpde.errors import DdpdeError
from ddpde.report import words
from ddpde.report.figures import laws
from ddpde.report.figures.drawing import Panel
from ddpde.report.folder import Content, read
from ddpde.report.numerals import counted, pm, sig
from ddpde.report.page import NAME, store, templates


@dataclass(frozen=True)
class Entry:
    """One validation on the page; `passed` is None for a plain run, `trouble` why it ended."""

    name: str
    title: str
    passed: bool | None = None
    link: str | None = None
    sentence: str = ""
    facts: tuple[tuple[str, str], ...] = ()
    panel: Panel | None = None
    trouble: str | None = None


def write_index(
    folders: Sequence[Path], path: Path, troubles: Mapping[str, str] | None = None
) -> Path:
    """Write the page `path` over `folders`, failed ones first; returns the path.

    `troubles` are cases that ended in an error, with its message. A folder that cannot be read is
    one of them. DdpdeError where the page cannot be written.
    """
    entries = [Entry(name, name, trouble=why) for name, why in (troubles or {}).items()]
    for folder in folders:
        try:
            entries.append(_entry(read(folder), path))
        except DdpdeError as error:
            entries.append(Entry(str(folder), str(folder), trouble=str(error)))
    judged = [e for e in entries if e.passed is not None or e.trouble]
    failed = [e for e in judged if not e.passed]
    page = (
        templates()
        .get_template("index.html")
        .render(
            entries=sorted(entries, key=lambda e: e not in failed),
            passed=not failed,
            count=f"{'all ' * (len(judged) > 1)}{counted(len(judged), 'validation')} passed"
            if not failed
            else f"{len(failed)} of {len(judged)} failed",
            version=ddpde.__version__,
        )
    )
    return store(page, path)


def _entry(content: Content, page: Path) -> Entry:
    report = content.folder / NAME
    link = quote(os.path.relpath(report, page.parent)) if report.exists() else None
    figure = laws.figure(content)
    facts: list[tuple[str, str]] = []
    passed = None
    if content.summary is not None:
        checks = content.summary["verdict"]["checks"]
        passed = all(c["passed"] for c in checks)
        good = sum(c["passed"] for c in checks)
        facts.append(("Checks", f"{good} of {len(checks)} passed"))
        missed = [c["name"] for c in checks if not c["passed"]]
        if missed:
            facts.append(("Failed", ", ".join(missed)))
        if content.comparison is not None:
            gap, half = words.limit(content.comparison, -1)
            facts.append((f"Gap of the {content.quantity}, N → ∞", pm(gap, half, signed=True)))
            w1, floor = content.comparison["w1"][-1][-1], content.comparison["floor"][-1][-1]
            if floor > 0:
                facts.append(("W₁ over its floor", sig(w1 / floor, 2)))
            else:  # a law that has condensed into a point
                facts.append(("W₁", f"{sig(w1, 2)}, its floor being 0"))
        facts.append(("Duration", f"{sig(content.summary['wall'], 2)} s"))
        facts.append(("Date", content.run["environment"]["date"]))
    return Entry(
        name=content.case.get("name") or content.case["problem"],
        title=words.title(content),
        passed=passed,
        link=link,
        sentence=words.abstract(content),
        facts=tuple(facts),
        panel=figure.panels[-1] if figure else None,
    )
