"""Settings of both methods, and what is accepted, as lists of (name, words)."""

from __future__ import annotations

from typing import Any

from ddpde.report.folder import Content
from ddpde.report.numerals import grouped, known, short, sig
from ddpde.report.words import LAWS, SPACES, changes, meshed, method, value

Rows = list[tuple[str, str]]


def groups(content: Content) -> list[tuple[str, Rows]]:
    """Headed lists: the PDE, its second discretisation, the networks, acceptance."""
    summary = content.summary
    if summary is None:
        rim = content.history["boundary_mass"].max()
        rows = _discretisation(content.run)
        rows.insert(3, _extent(content))
        rows += [
            ("Steps taken", grouped(len(content.history["t"]) - 1)),
        ]
        if content.case["conserved"]:
            drift = float(abs(content.history["mass"] / content.case["mass"] - 1).max())
            rows.append(("Largest drift of the mass", sig(drift, 2)))
        rows += [("Largest mass at the rim", sig(rim, 2))] * (not content.closed)
        return [("Solution of the PDE", rows)]
    terms = content.run["terms"]
    rows = _solution(summary["pde"], terms)
    rows.insert(3, _extent(content))
    out = [("Solution of the PDE", rows)]
    if summary["cross_check"]:
        out.append(("Second discretisation", _solution(summary["cross_check"], terms)))
    if summary["case"]["particles"] and summary["particles"]:
        out.append((content.systems.capitalize(), _networks(summary)))
    names = {
        "reference_rtol": "PDE against reference, relative",
        "cross_check_rtol": "second discretisation against reference, relative",
        "level": f"probability of a false alarm against the {content.systems}",
        "w1_over_floor": "W₁ over its floor",
        "w1_tolerance": "W₁ that always passes",
        "limit": "Limit of the particles",
    }
    accepted = summary["case"]["acceptance"]
    if not content.network:
        unused = ("level", "w1_over_floor", "w1_tolerance", "limit")
        accepted = {k: v for k, v in accepted.items() if k not in unused}
    out.append(
        (
            "Acceptance",
            [(_first(names.get(k, k.replace("_", " "))), value(v)) for k, v in accepted.items()],
        )
    )
    return out


def _first(text: str) -> str:
    return text[0].upper() + text[1:]


def _discretisation(settings: dict[str, Any]) -> Rows:
    step = (
        f"fixed, {short(settings['dt'])}"
        if settings.get("dt")
        else (f"adaptive, relative tolerance {short(settings['rtol'])}")
    )
    space = SPACES.get(settings["space"], settings["space"])
    space = LAWS.get(settings.get("method", ""), space)
    if changes(settings):
        space = space.replace("a fixed mesh", "a mesh that changes")
    return [
        ("Space", _first(space)),
        ("Degree", str(settings["degree"])),
        ("Cells", meshed(settings) + ", at first" * changes(settings)),
        *_moving(settings),
        ("Unknowns", grouped(settings["unknowns"])),
        ("Time", _first(method(settings["method"]))),
        ("Step", step),
        ("MPI ranks", str(settings["ranks"])),
    ]


def _extent(content: Content) -> tuple[str, str]:
    """The smallest box around the first law's mesh."""
    corners = content.laws[0].geometry.reshape(-1, content.dim)
    if content.signed:
        corners = corners[:, :-1]
    sides = zip(corners.min(axis=0), corners.max(axis=0), strict=True)
    return "Mesh within", " × ".join(f"[{short(low)}, {short(high)}]" for low, high in sides)


def _moving(settings: dict[str, Any]) -> Rows:
    """What makes the mesh change, where it does."""
    rows = []
    if settings.get("adapt"):
        rows.append(("Mesh", f"follows the law, tolerance {short(settings['adapt'])} in L¹"))
    if settings.get("grow"):
        rows.append(("Box", f"grows where its end holds more than {short(settings['grow'])}"))
    return rows


def _solution(run: dict[str, Any], terms: dict[str, Any]) -> Rows:
    rows = _discretisation(run["settings"])
    rows += [("Steps taken", grouped(run["steps"]))]
    rows += [("Largest drift of the mass", sig(run["mass_drift"], 2))] * terms["conserved"]
    rows += [
        ("Least density", sig(run["minimum"], 2)),
        ("Largest mass at the rim", sig(run["boundary_mass"], 2)),
        ("Initial mass off the mesh", sig(run["truncated_mass"], 2)),
        ("Duration", f"{sig(run['wall'], 2)} s"),
    ]
    if not run["finished"]:
        rows.append(("Finished", f"no, interrupted at t = {short(run['times'][-1])}"))
    return [(name, text) for name, text in rows if known_text(text)]


def known_text(text: str) -> bool:
    """Leave out what was not recorded."""
    return not text.startswith("—")


def _networks(summary: dict[str, Any]) -> Rows:
    plan, found = summary["case"]["particles"], summary["particles"]
    rows = [
        ("Widths N", ", ".join(map(grouped, plan["widths"]))),
        ("Replicas", str(plan["replicas"])),
        ("Step ε", ", ".join(map(short, plan["step_sizes"]))),
        ("Batch", str(plan["batch"])),
        ("Arithmetic", plan["dtype"]),
        ("Seed", str(plan["seed"])),
        (
            "Bias of the step",
            f"from a step {plan['bias_factor']} times as long, N = {found['bias_width']}",
        ),
    ]
    if summary["data"] is None and plan.get("risk_samples"):
        rows.append(("Samples for a risk", grouped(plan["risk_samples"])))
    if known(found.get("wall")):
        rows.append(("Duration", f"{sig(found['wall'], 2)} s"))
    return rows
