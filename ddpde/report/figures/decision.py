"""Real data in the plane: what the mean-field limit and one network decide, or predict."""

from __future__ import annotations

import numpy as np
from matplotlib.colors import LinearSegmentedColormap

from ddpde.report.figures.drawing import INK, LARGE, Drawing, Figure, Panel, swatch
from ddpde.report.folder import Content
from ddpde.report.numerals import short, sig

_MOST = 400  # samples of a part that are drawn: more would hide the function
UPPER, LOWER = "#9a4a00", "#4b2c82"
_MAP = LinearSegmentedColormap.from_list(
    "decision", ["#a698cf", "#d9d3ea", "#ffffff", "#f7dcbb", "#e2a866"]
)


def figure(content: Content) -> Figure | None:
    """The mean-field limit beside one network, with the samples; None without planar data."""
    arrays = content.arrays
    if "decision" not in arrays:
        return None
    fields = {
        "(a) mean-field limit (PDE)": arrays["decision"],
        f"(b) one network, N = {arrays['particles'].shape[2]}": arrays["network_decision"],
    }
    extent = max(float(np.abs(f).max()) for f in fields.values())
    panels = [_panel(name, field, arrays, extent) for name, field in fields.items()]
    decides = bool(np.isin(arrays["train_y"], (-1.0, 1.0)).all())
    above, below = ("y = +1", "y = −1") if decides else ("target above 0", "target 0 or below")
    legend = [
        (swatch("line", INK), "f = 0"),
        (swatch("marker", UPPER), above),
        (swatch("marker", LOWER, marker="^"), below),
    ]
    samples = _counted(arrays["train_x"], "training samples (filled)")
    if "test_x" in arrays:
        legend.append((swatch("marker", INK, fill="#ffffff"), "open: held-out sample"))
        samples += f" and {_counted(arrays['test_x'], 'held-out ones (open)')}"
    apart = np.abs(arrays["decision"] - arrays["network_decision"])
    kind = "decision function" if decides else "prediction"
    caption = (
        f"The {kind} f at t = {short(content.times[-1])} over the plane of the inputs, with "
        f"{samples}. Orange is positive, violet negative, to ±{sig(extent, 2)} in both. Over the "
        f"square shown the two functions differ by {sig(apart.mean(), 2)} on average, "
        f"{sig(apart.max(), 2)} at most."
    )
    return Figure("decision", f"The {kind}", caption, panels, legend, columns=2)


def _counted(x: np.ndarray, what: str) -> str:
    first = f"the first {_MOST} of " * (len(x) > _MOST)
    return f"{first}the {len(x)} {what}"


def _panel(name: str, field: np.ndarray, arrays: dict[str, np.ndarray], extent: float) -> Panel:
    axis = arrays["axis"]
    inner = LARGE[0] - 50 - 10
    with Drawing((LARGE[0], inner + 62)) as d:
        axes = d.axes
        levels = extent * np.linspace(-1.0, 1.0, 15)
        axes.contourf(axis, axis, field, levels=levels, cmap=_MAP, extend="both")
        axes.contour(axis, axis, field, levels=[0.0], colors=INK, linewidths=1.6)
        for part, filled in (("train", True), ("test", False)):
            if f"{part}_x" not in arrays:
                continue
            x, y = arrays[f"{part}_x"][:_MOST], arrays[f"{part}_y"][:_MOST]
            for mask, marker, colour in ((y > 0, "o", UPPER), (y <= 0, "^", LOWER)):
                face = colour if filled else "white"
                size = 3.2 if filled else 4.6
                axes.plot(
                    *x[mask].T, marker, ls="", mec=colour, mfc=face, ms=size, mew=0.9, alpha=0.9
                )
        axes.set(xlim=axis[[0, -1]], ylim=axis[[0, -1]], xlabel="x₁", title=name)
        axes.set_ylabel("x₂", rotation=0, labelpad=8)
    return d.panel(
        f"Function f, {name[4:]}: from {sig(field.min(), 2)} to {sig(field.max(), 2)}, "
        "with training and held-out samples."
    )
