"""Variance over replicas, predicted by the central limit theorem and measured."""

from __future__ import annotations

import numpy as np
from scipy import stats

from ddpde.report.figures.drawing import (
    LARGE,
    MARKERS,
    Drawing,
    Figure,
    Panel,
    colours,
    log_ticks,
    swatch,
    time_axis,
)
from ddpde.report.folder import Content
from ddpde.report.numerals import counted, grouped, sig


def figure(content: Content) -> Figure | None:
    """N times the variance over time, a panel for the risk and for each mean."""
    comparison = content.comparison or {}
    spread = comparison.get("spread")
    if spread is None or content.times[-1] <= 0:
        return None
    widths = np.array(comparison["widths"])
    panels = [_panel(content, spread, widths, k) for k in range(len(spread["names"]))]
    legend = []
    for i, (width, colour) in enumerate(zip(widths, colours(len(widths)), strict=True)):
        legend.append((swatch("line", colour), f"predicted, N = {grouped(width)}"))
        legend.append((swatch("errorbar", colour, marker=MARKERS[i % len(MARKERS)]), "measured"))
    caption = (
        "N times the variance of the risk and of the means over networks that differ in their "
        "initial draws, samples and noise: solved for on the mesh by the linearised flow (lines), "
        f"and over {counted(spread['freedom'] + 1, 'replica')} (markers, with 95 % intervals). "
        "Where the lines of different N lie on each other the variance falls as 1/N; what batches "
        "of SGD add does not fall with N."
    )
    return Figure("fluctuations", "Fluctuations", caption, panels, legend, columns=2)


def _panel(content: Content, spread: dict, widths: np.ndarray, k: int) -> Panel:
    predicted, measured = (
        np.array(spread[name])[:, :, k] * widths[:, None] for name in ("predicted", "measured")
    )
    freedom = spread["freedom"]
    low, high = freedom / stats.chi2.ppf([0.975, 0.025], freedom)
    name = spread["names"][k]
    with Drawing(LARGE, left=58) as d:
        axes = d.axes
        late = content.times >= time_axis(axes, content.times)
        t = content.times[late]
        for i, colour in enumerate(colours(len(widths))):
            middle = measured[i, late]
            axes.plot(t, predicted[i, late], color=colour, linewidth=1.4)
            axes.errorbar(
                t,
                middle,
                [middle * (1 - low), middle * (high - 1)],
                fmt=MARKERS[i % len(MARKERS)],
                color=colour,
                markersize=4.5,
                elinewidth=1.1,
            )
        values = np.concatenate([predicted[:, late].ravel(), measured[:, late].ravel()])
        if values.max() > 20 * values.min() > 0:
            axes.set_yscale("log")
            axes.set_ylim(values.min() / 2, values.max() * 2)
            log_ticks(axes.yaxis, values.min() / 2, values.max() * 2)
        else:
            axes.set_ylim(0, 1.15 * values.max() * high)
        what = "of the risk" if name == "risk" else f"of the mean of {name}"
        axes.set_title(f"({chr(97 + k)}) N × variance {what}")
    ends = f"predicted {sig(predicted[-1, -1])}, measured {sig(measured[-1, -1])}"
    return d.panel(f"N times the variance {what} over time; at the end, N = {widths[-1]}: {ends}.")
