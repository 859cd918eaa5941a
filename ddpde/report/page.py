"""write(): the page of a folder, in one file that needs nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

import ddpde
from ddpde.errors import DdpdeError
from ddpde.report import words
from ddpde.report.equations import equations
from ddpde.report.figures import figures
from ddpde.report.folder import USED, Content, read
from ddpde.report.numerals import MISSING, counted, known, proper, short, sig, tied
from ddpde.report.settings import groups
from ddpde.report.tables import tables

NAME = "report.html"


def write(folder: Path) -> Path:
    """Write `folder/report.html` from what `ddpde validate` or `ddpde run` left in `folder`.

    Returns its path. DdpdeError where the folder holds neither, or the page cannot be written.
    """
    content = read(Path(folder))
    return store(render(content), content.folder / NAME)


def store(page: str, path: Path) -> Path:
    """Write a page, complete or not at all; DdpdeError where that is not possible."""
    part = path.with_suffix(".part")
    try:
        part.write_text(page, encoding="utf-8")
        part.replace(path)
    except OSError as error:
        raise DdpdeError(f"cannot write {path}: {error}") from error
    return path


def templates() -> Environment:
    """The pages' templates, with their filters and the style sheet as `style`."""
    loader = PackageLoader("ddpde.report", "templates")
    environment = Environment(
        loader=loader,
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"raw": Markup, "tied": tied}
    environment.globals["style"] = loader.get_source(environment, "style.css")[0]
    return environment


def render(content: Content) -> str:
    """The page as text."""
    return (
        templates()
        .get_template("page.html")
        .render(
            kind="validation" if content.summary else "run",
            title=words.title(content),
            name=content.case.get("name") or content.case["problem"],
            abstract=words.abstract(content),
            verdict=_verdict(content),
            figures=figures(content),
            tables=tables(content),
            equations=equations(content),
            problem=words.described(content),
            settings=groups(content),
            repeat=_repeat(content),
            hashes=content.hashes,
            version=ddpde.__version__,
        )
    )


def _verdict(content: Content) -> dict[str, Any] | None:
    """Checks as text, failed ones first, with the words of the badge."""
    if content.summary is None:
        return None
    checks = sorted(content.summary["verdict"]["checks"], key=lambda c: c["passed"])
    failed = sum(not check["passed"] for check in checks)
    total = counted(len(checks), "check")
    return {
        "passed": failed == 0,
        "word": "Passed" if failed == 0 else "Failed",
        "count": f"all {total} passed" if failed == 0 else f"{failed} of {total} failed",
        "checks": [
            {
                **check,
                "value": _plain(check["value"]),
                "bound": _plain(check["bound"]),
                "detail": proper(check["detail"]),
            }
            for check in checks
        ],
    }


def _plain(value: float | None) -> str:
    if not known(value):
        return "not a number" if value is not None else MISSING
    assert value is not None
    return short(value) if float(f"{value:.2g}") == value else sig(value, 2)


def _repeat(content: Content) -> dict[str, Any]:
    """Command, where and when the run began, and versions, as text."""
    summary, found = content.summary, content.run["environment"]
    versions = [("ddpde", found["ddpde"]), ("Python", found["python"])]
    versions += list(found["libraries"].items())
    rows = [
        ("Begun", found["date"]),
        ("Machine", found["machine"]),
        ("MPI ranks", str(content.run["ranks"])),
    ]
    if summary is not None:
        command = summary["command"]
        rows.append(("Duration", f"{sig(summary['wall'], 2)} s"))
        if plan := summary["case"]["particles"]:
            rows.append(("Seed", str(plan["seed"])))
    else:
        command = f"ddpde run {USED}" if content.used else "ddpde.solve(problem, mesh, …)"
    return {"command": command, "versions": versions, "rows": rows}
