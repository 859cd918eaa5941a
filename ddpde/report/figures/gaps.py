"""Risk gap and strong error over N: fitted slope, −1 guide, and what is not resolved."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes

from ddpde.report.figures.drawing import (
    INK,
    MUTED,
    PDE,
    SMALL,
    Drawing,
    Figure,
    Panel,
    chosen,
    log_ticks,
    swatch,
    width_ticks,
)
from ddpde.report.folder import Content
from ddpde.report.numerals import known, short, sig

FIT = "#b8432f"


def resolution(comparison: dict[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """Whether each gap (n_widths, n_times) exceeds its noise, and its upper bound.

    The noise is the 95 % half width of the Monte Carlo mean and the error of everything else.
    """
    gap = np.abs(np.array(comparison["gap"], dtype=float))
    noise = np.array(comparison["gap_half"], dtype=float)
    noise = noise + np.array(comparison["deterministic"], dtype=float)
    return gap > noise, gap + noise


def figure(content: Content) -> Figure | None:
    """One panel a time, on the same axes."""
    comparison = content.comparison
    if comparison is None or len(comparison["widths"]) < 2:
        return None
    panels, legend, fitted, (hidden, total) = over_widths(
        comparison,
        content.times,
        f"{content.quantity.capitalize()} gap",
        "|gap|",
        "the error budget of PDE and step",
    )
    caption = (
        f"Mean {content.quantity} of the {content.systems} minus that of the PDE over N, both axes "
        f"logarithmic and shared. Slope: {fitted}. "
    )
    if hidden:
        caption += (
            f"{hidden} of {total} gaps are smaller than their own noise "
            "(Monte Carlo and error budget together): open triangles mark the most they can be, "
            "and say nothing about agreement below that. A slope is given only where every gap "
            "is resolved. "
        )
    caption += "Independent particles give slope −1 exactly."
    return Figure("gaps", f"Gap of the {content.quantity} over N", caption, panels, legend)


def strong(content: Content) -> Figure | None:
    """E|X − X̄|² of particles and mean-field copies, where it was measured."""
    comparison = content.comparison or {}
    found = comparison.get("strong")
    if found is None or len(comparison["widths"]) < 2:
        return None
    measured = {
        "widths": comparison["widths"],
        "gap": found["squared"],
        "gap_half": found["half"],
        "rate": found["rate"],
        "deterministic": found["step"],
    }
    panels, legend, fitted, (hidden, _) = over_widths(
        measured, content.times, "Strong error", "E|X − X̄|²", "what the step adds"
    )
    caption = (
        "Mean square distance of particles and mean-field copies, which have the same initial "
        "parameters, samples and noise in the forces of the PDE’s law; both axes logarithmic and "
        f"shared. Slope: {fitted}. "
    )
    if hidden:
        caption += "Open triangles: below its own noise, the most it can be. "
    caption += "Propagation of chaos gives slope −1."
    return Figure("strong", "Strong error over N", caption, panels, legend)


def over_widths(
    comparison: dict[str, Any], times: np.ndarray, what: str, symbol: str, below: str
) -> tuple[list[Panel], list[tuple[str, str]], str, tuple[int, int]]:
    """Panels over N at up to three times, their legend, the slopes in words, and how many of how
    many values are not resolved."""
    indices = chosen(len(times), 3, first=1)
    resolved, bound = resolution(comparison)
    gap = np.abs(np.array(comparison["gap"], dtype=float))
    shown = np.where(resolved, gap, bound)[:, indices]
    limits = shown.min() / 4, shown.max() * 3
    panels = [_panel(comparison, i, times[i], limits, what) for i in indices]
    slopes = [slope(comparison, i) for i in indices]
    fitted = [_words(rate, times[i]) for rate, i in zip(slopes, indices, strict=True)]
    if not any(slopes):
        fitted = ["not resolved at any of these times"]
    visible = resolved[:, indices]
    budgets = [comparison["deterministic"][i] or 0.0 for i in indices]
    entries = [
        (visible.any(), swatch("errorbar", INK), f"{symbol} with 95 % interval"),
        (
            not visible.all(),
            swatch("marker", INK, marker="v", fill="#ffffff"),
            "not resolved: upper bound",
        ),
        (any(map(bool, slopes)), swatch("line", FIT), "fitted power of N"),
        ((visible.sum(axis=0) > 1).any(), swatch("dash", MUTED), "guide, slope −1"),
        (
            max(budgets) > limits[0],
            swatch("bar", "#ffffff", fill="#d3e0ec"),
            f"below {below}",
        ),
    ]
    legend = [(mark, words) for drawn, mark, words in entries if drawn]
    return panels, legend, "; ".join(fitted), (visible.size - int(visible.sum()), visible.size)


def slope(comparison: dict[str, Any], i: int) -> dict[str, float] | None:
    """Exponent of N with its interval at time index i; None unless every gap is resolved."""
    rate = comparison["rate"][i]
    return rate if known(rate["slope"]) and resolution(comparison)[0][:, i].all() else None


def _words(rate: dict[str, float] | None, time: float) -> str:
    if rate is None:
        return f"not resolved at t = {short(time)}"
    low, high = _decimal(rate["low"]), _decimal(rate["high"])
    return f"{_decimal(rate['slope'])} [{low}, {high}] at t = {short(time)}"


def _decimal(value: float) -> str:
    return f"{value:.2f}".replace("-", "−")


def _panel(
    comparison: dict[str, Any], i: int, time: float, limits: tuple[float, float], what: str
) -> Panel:
    widths = np.array(comparison["widths"], dtype=float)
    gap = np.abs(np.array(comparison["gap"], dtype=float)[:, i])
    half = np.array(comparison["gap_half"], dtype=float)[:, i]
    resolved, bound = (a[:, i] for a in resolution(comparison))
    budget = comparison["deterministic"][i]
    rate = slope(comparison, i)
    with Drawing(SMALL, left=44) as d:
        axes = d.axes
        width_ticks(axes, widths)
        axes.set_yscale("log")
        axes.set_ylim(*limits)
        log_ticks(axes.yaxis, *limits)
        if budget and budget > limits[0]:
            axes.axhspan(limits[0], budget, color=PDE, alpha=0.18, linewidth=0)
        if resolved.sum() > 1:
            guide(axes, widths[resolved], gap[resolved], -1.0, over=widths)
        if rate is not None:
            weights = (gap / half) ** 2
            centre = np.average(np.log(widths), weights=weights)
            level = np.average(np.log(gap), weights=weights)
            line = np.exp(level + rate["slope"] * (np.log(widths) - centre))
            axes.plot(widths, line, color=FIT, linewidth=1.6)
        if resolved.any():
            low = np.minimum(half, gap * 0.999)[resolved]
            axes.errorbar(
                widths[resolved],
                gap[resolved],
                yerr=[low, half[resolved]],
                fmt="o",
                color=INK,
                elinewidth=1.1,
                zorder=4,
            )
        if not resolved.all():
            axes.plot(
                widths[~resolved], bound[~resolved], "v", mfc="white", mec=INK, ms=7, zorder=4
            )
        axes.set(xlabel="width N", title=f"t = {short(time)}")
        label = "slope not resolved" if rate is None else f"slope {_decimal(rate['slope'])}"
        axes.set_title(label, loc="right", fontsize=10.5)
    each = [
        f"N = {w:.0f}: {sig(g)}" if r else f"N = {w:.0f}: not resolved, at most {sig(b)}"
        for w, g, r, b in zip(widths, gap, resolved, bound, strict=True)
    ]
    return d.panel(f"{what} over N at t = {short(time)}: {'; '.join(each)}. {label}.")


def guide(
    axes: Axes,
    widths: np.ndarray,
    values: np.ndarray,
    slope: float,
    over: np.ndarray | None = None,
) -> None:
    """A dashed line of the expected slope through the middle of the values, drawn `over` widths."""
    centre, level = np.log(widths).mean(), np.log(values).mean()
    ends = widths if over is None else over
    line = np.exp(level + slope * (np.log(ends) - centre))
    axes.plot(ends, line, "--", color=MUTED, linewidth=1.1)
