"""The tables of a report: rows of finished text."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from ddpde.compare import ChaosGap, half_width
from ddpde.report.figures.budget import NAMES, parts
from ddpde.report.figures.distances import distance
from ddpde.report.figures.gaps import resolution, slope
from ddpde.report.folder import Content
from ddpde.report.numerals import MISSING, fixed, known, pm, short, sig
from ddpde.report.words import budget, limit


@dataclass(frozen=True)
class Table:
    """First column heads the rows. `note` says what the numbers are."""

    title: str
    head: list[str]
    rows: list[list[str]]
    note: str = ""


def tables(content: Content) -> list[Table]:
    """Those that the content is enough for."""
    if content.summary is None:
        return [_run(content)]
    made = [_risk(content) if content.network else _free_energy(content), _means(content)]
    if content.comparison is not None:
        made += [
            _rates(content),
            _distances(content),
            _chaos(content),
            _strong(content),
            _data(content),
        ]
    made += [_methods(content), _budget(content)]
    return [table for table in made if table is not None and table.rows]


def _run(content: Content) -> Table:
    names = {"risk": "risk", "free_energy": "free energy"}
    if not content.network:
        del names["risk"]
    columns = {k: [sig(v, 7) for v in content.at_outputs(k)] for k in names}
    head, where = ["t", *names.values()], []
    for j, (label, period) in enumerate(zip(content.labels, content.periods, strict=True)):
        head.append(f"resultant of {label}" if period else f"mean of {label}")
        places = [_location(law, j, period) for law in content.laws]
        rounding = 1e-14 * max(map(abs, [1.0, *places]))
        where.append([sig(x if abs(x) > rounding else 0.0, 6) for x in places])
    mass, given = content.at_outputs("mass"), content.case["mass"]
    if content.case["conserved"]:
        head.append("drift of the mass")
        rest = [[sig(abs(v / given - 1), 2) for v in mass]]
    else:
        head.append("mass")
        rest = [[sig(v, 6) for v in mass]]
    if not content.closed:
        head.append("mass at the rim")
        rest.append([sig(v, 2) for v in content.at_outputs("boundary_mass")])
    times = [short(t) for t in content.times]
    rows = [list(row) for row in zip(times, *columns.values(), *where, *rest, strict=True)]
    note = "A plain run measures no error of its own; a validation does."
    if any(content.periods):
        note += (
            " A circle has no mean: the resultant is |∫ exp(2πiθ/L) ρ(dθ)|, L its length, 0 for "
            "the uniform law and 1 for a point."
        )
    title = "Risk, energy and means" if content.network else "Free energy and means"
    if content.closed:
        title = title.replace("means", "resultants")
    return Table(f"{title} at the output times", head, rows, note)


def _location(law: Any, axis: int, period: float | None) -> float:
    """Mean of a coordinate; on a circle the length of the mean of the points of the unit circle."""
    if period is None:
        return float(law_mean(law)[axis])
    points, masses = law.points()
    return float(abs(masses @ np.exp(2j * np.pi * points[:, axis] / period)) / masses.sum())


def law_mean(law: Any) -> np.ndarray:
    """Mean of each coordinate."""
    points, masses = law.points()
    return masses @ points / masses.sum()


def _lookup(reference: dict[str, Any] | None, key: str, time: float) -> float | None:
    for t, value in zip(
        (reference or {}).get("times", []), (reference or {}).get(key, []), strict=False
    ):
        if np.isclose(t, time, rtol=1e-12, atol=1e-14):
            return value
    return None


def _risk(content: Content) -> Table:
    summary, comparison = content.summary, content.comparison
    assert summary is not None
    errors, cross, reference = budget(content), summary["cross_check"], summary.get("reference")
    has_reference = bool(reference) and "risk" in (reference or {})
    head = ["t", "PDE"] + ["second method"] * bool(cross) + ["reference"] * has_reference
    if comparison is not None:
        width = comparison["widths"][-1]
        head += [f"networks, N = {width}", "gap", "gap, N → ∞", "outcome"]
    rows = []
    for i, t in enumerate(content.times):
        error = None if errors is None else float(errors[i])
        row = [short(t), pm(summary["pde"]["risk"][i], error)]
        if cross:
            row.append(sig(cross["risk"][i], 8) if i < len(cross["risk"]) else MISSING)
        if has_reference:
            row.append(sig(_lookup(reference, "risk", t), 8))
        if comparison is not None:
            mean = float(np.mean(summary["particles"]["risk"][-1][i]))
            half = comparison["gap_half"][-1][i]
            far, spread = limit(comparison, i)
            resolved = abs(far) > spread + comparison["deterministic"][i]
            row += [pm(mean, half), pm(comparison["gap"][-1][i], half, signed=True)]
            row += [pm(far, spread, signed=True), "resolved" if resolved else "not resolved"]
        rows.append(row)
    note = "PDE: ± the sum of its measured errors (mesh, time step, data quadrature, truncation)."
    if errors is None:
        note = "The error of the PDE was not measured."
    if comparison is not None:
        note += (
            " Networks, gap and its extrapolation by a + b/N over all widths: ± the half width of "
            "the 95 % interval over replicas. Not resolved: the extrapolated gap is smaller than "
            "that interval and the error budget together."
        )
    return Table("Risk", head, rows, note)


def _free_energy(content: Content) -> Table:
    """In place of the risk, where there is no network."""
    summary = content.summary
    assert summary is not None
    cross = summary["cross_check"]
    rows = []
    for i, t in enumerate(content.times):
        row = [short(t), sig(summary["pde"]["free_energy"][i], 8)]
        if cross:
            second = cross["free_energy"]
            row.append(sig(second[i], 8) if i < len(second) else MISSING)
        rows.append(row)
    note = "The error of the free energy is not measured by itself"
    note += "; the second method shows its size." if cross else "."
    return Table("Free energy", ["t", "PDE"] + ["second method"] * bool(cross), rows, note)


def _methods(content: Content) -> Table | None:
    """Other ways to solve the same PDE, a row each; SGD as one of them."""
    summary, comparison = content.summary, content.comparison
    assert summary is not None
    others = summary.get("methods")
    if not others:
        return None
    main = summary["pde"]
    largest = np.abs(main["risk"] if content.network else main["free_energy"]).max()
    times = range(1, len(content.times))
    head = ["method", *[f"t = {short(content.times[i])}" for i in times], "steps", "seconds"]
    rows = [["main run", *["0" for _ in times], str(main["steps"]), sig(main["wall"], 2)]]
    for other in others:
        found = [sig(other["differences"][i], 2) for i in times]
        rows.append([other["label"], *found, str(other["steps"]), sig(other["wall"], 2)])
    note = (
        f"{'Risk' if content.network else 'Free energy'} minus that of the main run, over the "
        "largest of the main run."
    )
    plan = summary["case"]["particles"]
    if comparison is not None and isinstance(plan["step_size"], float):
        bias = np.asarray(summary["particles"]["step_bias"]) / largest
        spread = half_width(bias)
        steps = str(round(content.times[-1] / plan["step_size"]))
        label = f"SGD, ε = {plan['step_size']:g}: bias of its step"
        found = [pm(float(bias[i].mean()), float(spread[i]), signed=True) for i in times]
        rows.append([label, *found, steps, MISSING])
        note += (
            " SGD's is the part that its step size makes, measured against steps "
            f"{plan['bias_factor']} times longer, at N = {summary['particles']['bias_width']}; "
            "± the half width of its 95 % interval over replicas."
        )
    return Table("Other methods", head, rows, note)


def _means(content: Content) -> Table | None:
    summary, comparison = content.summary, content.comparison
    assert summary is not None
    reference, cross = summary.get("reference"), summary["cross_check"]
    head, rows = ["t"], []
    has_reference = "mean" in (reference or {})
    ours = [_column(list(v)) for v in zip(*summary["pde"]["mean"], strict=True)]
    theirs = [_column(list(v)) for v in zip(*cross["mean"], strict=True)] if cross else []
    axes = [j for j, period in enumerate(content.periods) if not period]  # a circle has no mean
    if not axes:
        return None
    for name in (content.labels[j] for j in axes):
        head.append(f"mean of {name}, PDE")
        if cross:
            head.append("second method")
        if has_reference:
            head.append("reference")
        if comparison is not None:
            head.append(f"{content.systems} − PDE, N = {comparison['widths'][-1]}")
    for i, t in enumerate(content.times):
        row = [short(t)]
        for j in axes:
            row.append(ours[j][i])
            if cross:
                row.append(theirs[j][i] if i < len(theirs[j]) else MISSING)
            if has_reference:
                row.append(sig(_lookup(reference, "mean", t), 6) if j == 0 else MISSING)
            if comparison is not None:
                gap, half = comparison["mean_gap"][-1][i][j], comparison["mean_half"][-1][i][j]
                row.append(pm(gap, half, signed=True))
        rows.append(row)
    note = "The error of the PDE’s means is not measured by itself"
    note += "; the second method shows its size." if cross else "."
    if comparison is not None:
        note += (
            f" {content.systems.capitalize()}: ± the half width of the 95 % interval over replicas."
        )
    return Table("Means", head, rows, note)


def _column(values: list[float]) -> list[str]:
    """Numbers of one column, to the same decimal place: six digits of the largest."""
    largest = max(map(abs, values))
    decimals = 5 - math.floor(math.log10(largest)) if largest > 1e-9 else 6
    return [fixed(v, min(max(decimals, 0), 12)) for v in values]


def _interval(rate: dict[str, float] | None) -> str:
    if rate is None or not known(rate["slope"]):
        return "not resolved"
    return f"{rate['slope']:.2f} [{rate['low']:.2f}, {rate['high']:.2f}]".replace("-", "−")


def _rates(content: Content) -> Table:
    comparison = content.comparison
    assert comparison is not None
    resolved, bound = resolution(comparison)
    gap, half = np.array(comparison["gap"]), np.array(comparison["gap_half"])
    head = ["t", *[f"gap, N = {w}" for w in comparison["widths"]], "slope in N"]
    rows = []
    for i, t in enumerate(content.times):
        cells = [
            pm(g, h, signed=True) if r else f"not resolved\n|gap| < {sig(b, 2)}"
            for g, h, r, b in zip(gap[:, i], half[:, i], resolved[:, i], bound[:, i], strict=True)
        ]
        rows.append([short(t), *cells, _interval(slope(comparison, i))])
    return Table(
        f"Gap of the {content.quantity} over the width",
        head,
        rows,
        f"Mean {content.quantity} of the {content.systems} minus that of the PDE, ± the half width "
        "of the 95 % interval over replicas; not resolved where it is smaller than that and the "
        "error budget together. "
        "Slope of log |gap| over log N with its 95 % bootstrap interval, expected −1; given only "
        "where every gap is resolved.",
    )


def _distances(content: Content) -> Table:
    comparison = content.comparison
    assert comparison is not None
    w1, half = np.array(comparison["w1"])[-1], np.array(comparison["w1_half"])[-1]
    floor = np.array(comparison["floor"])[-1]
    width = comparison["widths"][-1]
    rows = [
        [
            short(t),
            pm(w1[i], half[i]),
            sig(floor[i], 3),
            sig(comparison["floor_high"][-1][i], 3),
            pm(w1[i] / floor[i], half[i] / floor[i]) if floor[i] > 0 else "∞",
            _interval(comparison["w1_rate"][i]),
        ]
        for i, t in enumerate(content.times)
    ]
    name = distance(content)
    return Table(
        f"{name[0].upper()}{name[1:]} to the PDE’s law, N = {width}",
        ["t", content.systems, "floor", "97.5 % quantile", "ratio to floor", "slope in N"],
        rows,
        "Floor: mean distance of N independent draws of the PDE’s law from that law; the quantile "
        "is that of a single draw. ± the half width of the 95 % interval over replicas. Slope over "
        "all widths with its 95 % bootstrap interval; independent draws give about −½.",
    )


def _chaos(content: Content) -> Table | None:
    comparison = content.comparison
    assert comparison is not None
    found = [
        ChaosGap(**g | {"squares": np.array(g["squares"])}) for g in comparison.get("chaos", ())
    ]
    rows = [
        [
            str(gap.k),
            str(gap.width),
            pm(gap.squared, gap.half_width(), signed=True),
            sig(gap.distance, 3) if gap.resolved else "not resolved",
            sig(gap.floor, 3),
            str(gap.points),
        ]
        for gap in found
    ]
    return Table(
        f"Law of k of N particles against k independent draws, t = {short(content.times[-1])}",
        ["k", "N", "W₂²", "W₂", "floor of W₂²", "points"],
        rows,
        "W₂² between clouds of k-tuples by exact transport, less the floor, which is what two "
        "clouds of one law are apart; ± the half width of the 95 % interval over groups of "
        "replicas. Not resolved: chance explains it.",
    )


def _strong(content: Content) -> Table | None:
    comparison = content.comparison
    assert comparison is not None
    strong = comparison.get("strong")
    if strong is None:
        return None
    widths = comparison["widths"]
    rows = [
        [
            short(t),
            *(pm(n * s, n * h) for n, s, h in zip(widths, squared, half, strict=True)),
            sig(step * widths[-1], 2),
        ]
        for t, squared, half, step in zip(
            comparison["times"],
            np.transpose(strong["squared"]),
            np.transpose(strong["half"]),
            strong["step"],
            strict=True,
        )
        if t > 0
    ]
    return Table(
        "Strong error: N E|X − X̄|² of particles and mean-field copies",
        ["t", *(f"N = {n}" for n in widths), f"from the step, N = {widths[-1]}"],
        rows,
        "A copy X̄ has the same initial parameters, samples and noise as the particle X, in the "
        "forces of the PDE’s law. ± 95 % interval over replicas.",
    )


def _data(content: Content) -> Table | None:
    data = (content.summary or {}).get("data")
    comparison = content.comparison
    if not data or comparison is None:
        return None
    labels = content.arrays.get("train_y")
    with_error = labels is not None and bool(np.isin(labels, (-1.0, 1.0)).all())
    tested = "test_risk" in data
    head = ["", "train risk"] + ["test risk"] * tested
    row = ["mean-field limit", sig(data["train_risk"], 5)]
    if tested:
        row.append(sig(data["test_risk"], 5))
    if with_error:
        head += ["train error"] + ["test error"] * tested
        row += [_share(data["train_error"])] + [_share(data["test_error"])] * tested
    rows = [row]
    for i, width in enumerate(comparison["widths"]):
        row = [f"networks, N = {width}"]
        for part in ("train", "test")[: 1 + tested]:
            row.append(_over_replicas(data[f"networks_{part}"][i]))
        if with_error:
            for part in ("train", "test")[: 1 + tested]:
                errors = data.get(f"networks_{part}_error")
                row.append(MISSING if errors is None else _over_replicas(errors[i], share=True))
        rows.append(row)
    return Table(
        f"Training {'and held-out ' * tested}data at t = {short(content.times[-1])}",
        head,
        rows,
        "Networks: mean over replicas ± the half width of its 95 % interval"
        + ("; error: share of samples on the wrong side of f = 0." if with_error else "."),
    )


def _share(value: float) -> str:
    return f"{100 * value:.2f}\u202f%"


def _over_replicas(values: list[float], *, share: bool = False) -> str:
    samples = np.array(values, dtype=float) * (100 if share else 1)
    half = float(half_width(samples)) if len(samples) > 1 else None
    if share and not half:
        return f"{samples.mean():.2f}\u202f%"
    return pm(float(samples.mean()), half) + ("\u202f%" if share else "")


def _budget(content: Content) -> Table | None:
    found = parts(content)
    if not found:
        return None
    comparison = content.comparison
    head = ["t", *[NAMES.get(name, name) for name in found], "sum"]
    if comparison is not None:
        head += [f"gap, N = {comparison['widths'][-1]}", "outcome"]
        resolved, _ = resolution(comparison)
    rows = []
    for i, t in enumerate(content.times):
        values = [errors[i] for errors in found.values()]
        row = [short(t), *[sig(v, 2) for v in values], sig(sum(filter(known, values)), 2)]
        if comparison is not None:
            row.append(sig(comparison["gap"][-1][i], 2))
            row.append("resolved" if resolved[-1, i] else "not resolved")
        rows.append(row)
    note = "Absolute errors of the risk."
    if not all(known(v) for errors in found.values() for v in errors):
        note += " A dash: not measured, and not in the sum."
    if comparison is not None:
        note += (
            " Monte Carlo: half width of the 95 % interval of the mean risk at that width. Not "
            "resolved: the gap is smaller than the sum."
        )
    return Table("Error budget", head, rows, note)
