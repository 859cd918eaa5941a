"""W₁ between particles and law over N, against the floor of independent draws."""

from __future__ import annotations

from typing import Any

import numpy as np

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
from ddpde.report.figures.gaps import guide
from ddpde.report.folder import Content
from ddpde.report.numerals import listed, short, sig


def figure(content: Content) -> Figure | None:
    """One panel a time, on the same axes."""
    comparison = content.comparison
    if comparison is None:
        return None
    times = content.times
    indices = chosen(len(times), 3, first=1)
    values = np.array([comparison[k] for k in ("w1", "floor", "floor_high")])[:, :, indices]
    limits = values[values > 0].min() / 1.5, values.max() * 1.4
    panels = [_panel(comparison, i, times[i], limits) for i in indices]
    legend = [
        (swatch("errorbar", INK), f"{content.systems}, mean with 95 % interval"),
        (swatch("line", PDE), "floor: independent draws of the PDE’s law"),
        (swatch("bar", "#ffffff", fill="#c3d6e6"), "floor up to the 97.5 % quantile of a draw"),
        (swatch("dash", MUTED), "guide, slope −½"),
    ]
    ratio = [_over(w1, floor) for w1, floor in values[:2, -1].T]
    name = distance(content)
    reached = listed([f"{r} at t = {short(t)}" for r, t in zip(ratio, times[indices], strict=True)])
    caption = (
        f"{name[0].upper()}{name[1:]} between the particles and the PDE’s law, mean "
        "over replicas, both axes logarithmic and shared. Floor: the "
        "distance that N independent draws of the law itself have from it; particles that interact "
        "can come a little closer. "
        f"Distance over floor at N = {comparison['widths'][-1]}: {reached}."
    )
    return Figure("distances", "Distance to the law over the width", caption, panels, legend)


def _over(distance: float, floor: float) -> str:
    """Their ratio; independent draws of a single point have no distance at all."""
    return f"{distance / floor:.2f}" if floor > 0 else "∞"


def distance(content: Content) -> str:
    """The name of the distance: in more dimensions it is averaged over directions."""
    return "W₁ distance" if content.dim == 1 else "sliced W₁ distance"


def _panel(comparison: dict[str, Any], i: int, time: float, limits: tuple[float, float]) -> Panel:
    widths = np.array(comparison["widths"], dtype=float)
    keys = ("w1", "w1_half", "floor", "floor_high")
    mean, half, low, high = (np.array(comparison[k], dtype=float)[:, i] for k in keys)
    with Drawing(SMALL, left=44) as d:
        axes = d.axes
        width_ticks(axes, widths)
        axes.set_yscale("log")
        axes.set_ylim(*limits)
        log_ticks(axes.yaxis, *limits)
        axes.fill_between(widths, low, high, color=PDE, alpha=0.22, linewidth=0)
        axes.plot(widths, low, color=PDE, linewidth=1.6)
        if len(widths) > 1 and low.min() > 0:
            guide(axes, widths, low / 1.25, -0.5)
        axes.errorbar(widths, mean, yerr=half, fmt="o", color=INK, elinewidth=1.1, zorder=4)
        axes.set(xlabel="width N", title=f"t = {short(time)}")
        axes.set_title(f"ratio to floor {_over(mean[-1], low[-1])}", loc="right", fontsize=10.5)
    each = [
        f"N = {w:.0f}: {sig(m)}, floor {sig(f)}" for w, m, f in zip(widths, mean, low, strict=True)
    ]
    return d.panel(f"Distance to the PDE’s law over N at t = {short(time)}: {'; '.join(each)}.")
