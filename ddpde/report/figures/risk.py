"""Risk over time, and its difference between networks and PDE."""

from __future__ import annotations

import numpy as np

from ddpde.report.equations import terms_of
from ddpde.report.figures.drawing import (
    INK,
    LARGE,
    MARKERS,
    MUTED,
    PDE,
    SECOND,
    Drawing,
    Figure,
    Panel,
    colours,
    first_shown,
    log_ticks,
    swatch,
    time_axis,
)
from ddpde.report.folder import Content
from ddpde.report.numerals import counted, listed, sig


def figure(content: Content) -> Figure | None:
    """Left the risk itself, right networks minus PDE with 95 % bands (or the free energy)."""
    if content.times[-1] <= 0:
        return None
    if not content.network:
        return _without_network(content)
    panels = [_risk(content)]
    legend = [(swatch("line", PDE), "PDE")]
    seen = ["(a) Risk of the PDE (line)"]
    summary = content.summary
    if summary and summary["cross_check"]:
        legend.append((swatch("marker", SECOND, marker="X"), "PDE, second method"))
        seen[0] += ", of its second discretisation (crosses)"
    if summary and _reference(content) is not None:
        legend.append((swatch("marker", INK, marker="D", fill="none"), "reference table"))
        seen[0] += ", reference values (diamonds)"
    if content.comparison is not None and summary is not None:
        widths = content.comparison["widths"]
        for i, (width, colour) in enumerate(zip(widths, colours(len(widths)), strict=True)):
            marker = MARKERS[i % len(MARKERS)]
            legend.append((swatch("errorbar", colour, marker=marker), f"networks, N = {width}"))
        panels.append(_gap(content))
        legend.append((swatch("bar", "#ffffff", fill="#d3e0ec"), "error budget"))
        replicas = len(summary["particles"]["risk"][0][0])
        seen[0] += (
            " and mean risk of the networks with 95 % intervals over "
            f"{counted(replicas, 'replica')}"
        )
        seen.append(
            "(b) The same networks minus the PDE; the shaded strip about zero is the error "
            "budget of the PDE and of the SGD step, inside which no difference means anything"
        )
    else:
        title = free_energy(content)
        panels.append(_energy(content, f"(b) {title}"))
        seen.append(f"(b) The {title.partition(' F')[0]}" + _falls(content))
    if first_shown(content.times) > 0:
        seen.append("Time is logarithmic; the values at t = 0 are in the table")
    return Figure("risk", "Risk over time", ". ".join(seen) + ".", panels, legend, columns=2)


def _without_network(content: Content) -> Figure:
    """There is no risk: the free energy alone."""
    title = free_energy(content)
    name = title.partition(" F")[0]
    legend = [(swatch("line", PDE), "PDE")]
    caption = f"The {name} of the PDE (line)" + _falls(content)
    if content.summary and content.summary["cross_check"]:
        legend.append((swatch("marker", SECOND, marker="X"), "PDE, second method"))
        caption += ", and of its second discretisation (crosses)"
    caption += "."
    if first_shown(content.times) > 0:
        caption += " Time is logarithmic; the value at t = 0 is in the table."
    panels = [_energy(content, title)]
    return Figure("energy", f"{name.capitalize()} over time", caption, panels, legend, columns=2)


def free_energy(content: Content) -> str:
    """Its name, and the terms that it has."""
    terms = terms_of(content)
    more = " + T ∫ρ log ρ" * terms.temperature + " + ∫h(ρ)" * terms.internal
    return f"free energy F{more}" if more else "energy F"


def _falls(content: Content) -> str:
    """The end of a sentence on it; with noise of covariance Σ it may rise."""
    return "" if terms_of(content).noise else ", which must not rise"


def _reference(content: Content) -> tuple[np.ndarray, np.ndarray] | None:
    """Times and risks of the reference within the run, if it has any."""
    reference = (content.summary or {}).get("reference") or {}
    if "risk" not in reference:
        return None
    t, risk = np.array(reference["times"]), np.array(reference["risk"])
    inside = t <= content.times[-1] * (1 + 1e-9)
    return t[inside], risk[inside]


def _risk(content: Content) -> Panel:
    t, risk = content.history["t"], content.history["risk"]
    words = [f"Risk over time: PDE from {sig(risk[0])} to {sig(risk[-1])} at t = {sig(t[-1])}"]
    with Drawing(LARGE) as d:
        axes = d.axes
        start = time_axis(axes, content.times)
        shown, later = t >= start, content.times >= start
        t_out = content.times[later]
        axes.plot(t[shown], risk[shown], color=PDE, linewidth=1.9, zorder=3)
        values = [risk[shown]]
        summary = content.summary
        if summary and summary["cross_check"]:
            cross = summary["cross_check"]
            known = np.array([cross["times"], cross["risk"]])
            known = known[:, known[0] >= start]
            axes.plot(*known, "x", color=SECOND, zorder=6, markersize=5)
        if summary and content.comparison is not None:
            runs = np.array(summary["particles"]["risk"])
            half = np.array(content.comparison["gap_half"])
            widths = content.comparison["widths"]
            for i, colour in enumerate(colours(len(widths))):
                mean = runs[i].mean(axis=-1)
                axes.errorbar(
                    t_out,
                    mean[later],
                    half[i][later],
                    fmt=MARKERS[i % len(MARKERS)],
                    color=colour,
                    markersize=4.5,
                    elinewidth=1.1,
                )
                values.append(mean[later])
            ends = zip(widths, runs[:, -1].mean(axis=-1), strict=True)
            last = listed([f"N = {w}: {sig(r)}" for w, r in ends])
            words.append(f"mean of the networks at the end, {last}")
        reference = _reference(content)
        if summary and reference is not None:
            late = np.array(reference)[:, reference[0] >= start]
            axes.plot(*late, "D", mfc="none", mec=INK, markersize=7.5, zorder=5)
        everything = np.concatenate(values)
        if everything.min() > 0 and everything.max() > 20 * everything.min():
            axes.set_yscale("log")
            low, high = everything.min() / 1.3, everything.max() * 1.3
            axes.set_ylim(low, high)
            log_ticks(axes.yaxis, low, high)
        elif everything.min() > 0 and everything.min() < 0.5 * everything.max():
            axes.set_ylim(0, 1.06 * everything.max())
        axes.set_title("(a) risk R")
    return d.panel("; ".join(words) + ".")


def _gap(content: Content) -> Panel:
    comparison = content.comparison
    assert comparison is not None
    gap, half = np.array(comparison["gap"]), np.array(comparison["gap_half"])
    widths, times = comparison["widths"], content.times
    with Drawing(LARGE, left=58) as d:
        axes = d.axes
        late = times >= time_axis(axes, times)
        times, gap, half = times[late], gap[:, late], half[:, late]
        budget = np.array(comparison["deterministic"], dtype=float)[late]
        axes.fill_between(times, -budget, budget, color=PDE, alpha=0.18, linewidth=0)
        axes.axhline(0, color=PDE, linewidth=1.5)
        for i, colour in enumerate(colours(len(widths))):
            _band(d, times, gap[i], half[i], colour, MARKERS[i % len(MARKERS)])
        axes.set_title("(b) risk of the networks − risk of the PDE")
        axes.locator_params(axis="y", nbins=6)
    return d.panel(
        "Risk of the networks minus that of the PDE over time; at the end "
        + listed(
            [
                f"{sig(g)} ± {sig(h, 2)} for N = {w}"
                for w, g, h in zip(widths, gap[:, -1], half[:, -1], strict=True)
            ]
        )
        + "."
    )


def _band(
    d: Drawing, t: np.ndarray, mean: np.ndarray, half: np.ndarray, colour: str, marker: str
) -> None:
    low, high = mean - half, mean + half
    d.axes.fill_between(t, low, high, facecolor=colour, alpha=0.1, linewidth=0)
    for edge in (low, high):
        d.axes.plot(t, edge, color=colour, linewidth=0.5, alpha=0.6)
    d.axes.plot(t, mean, color=colour, marker=marker, linewidth=0.9, markersize=4.5)


def _energy(content: Content, title: str) -> Panel:
    t, energy = content.history["t"], content.history["free_energy"]
    cross = (content.summary or {}).get("cross_check")
    with Drawing(LARGE) as d:
        start = time_axis(d.axes, content.times)
        d.axes.plot(t[t >= start], energy[t >= start], color=PDE, linewidth=1.9)
        if cross and not content.network:
            late = np.array(cross["times"]) >= start
            second = np.array(cross["free_energy"])[late]
            d.axes.plot(np.array(cross["times"])[late], second, "x", color=SECOND, markersize=5)
        d.axes.set_title(title)
        d.axes.title.set_color(INK)
        d.axes.tick_params(color=MUTED)
    return d.panel(f"Free energy over time, from {sig(energy[0])} to {sig(energy[-1])}.")
