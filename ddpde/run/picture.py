"""One picture of a run: what falls, and the law at a few times."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ddpde.space import Law
from ddpde.space.raster import Range, frame, painted, raster

if TYPE_CHECKING:
    from ddpde.run.trajectory import Trajectory

_MAPS = 4  # in a row


def picture(run: Trajectory) -> Any:
    """A matplotlib figure: the risk (without a network: the free energy) over time, and the laws.

    Densities in one dimension share a panel; in two each of up to four times has a map; in three
    a row of maps for each of two pairs of coordinates; a surface is seen from both sides of its
    last axis, as are the sheets of a signed measure. Maps go from white at 0 to the darkest at
    the peak of each, which its title says.
    """
    import matplotlib.pyplot as plt

    drawn = [run.laws[i] for i in _spread(len(run.laws))]
    if not drawn:
        rows, columns = 1, 0
    elif drawn[0].tdim == 1:
        rows, columns = 1, 1
    else:
        rows, columns = (1 if drawn[0].gdim == 2 else 2), len(drawn)
    figure = plt.figure(figsize=(4.6 + 3.4 * columns, 3.6 * rows), layout="constrained")
    grid = figure.add_gridspec(rows, 1 + columns, width_ratios=[1.35] + [1.0] * columns)
    _falling(run, figure.add_subplot(grid[:, 0]))
    if columns and drawn[0].tdim == 1:
        _curves(run, figure.add_subplot(grid[0, 1]))
    elif columns:
        axes = [[figure.add_subplot(grid[i, 1 + j]) for j in range(columns)] for i in range(rows)]
        paint = _surface if drawn[0].tdim < drawn[0].gdim else _maps
        paint(run, drawn, axes)
    return figure


def _spread(count: int) -> list[int]:
    return sorted({round(float(i)) for i in np.linspace(0, count - 1, _MAPS)}) if count else []


def _falling(run: Trajectory, axes: Any) -> None:
    name = "risk" if run.problem.unit is not None else "free_energy"
    axes.plot(run.history["t"], run.history[name], color="#1f5f9e")
    axes.plot(run.outputs["t"], run.outputs[name], "o", color="#1f5f9e", markersize=4)
    axes.set(xlabel="time t", ylabel=name.replace("_", " "))


def _curves(run: Trajectory, axes: Any) -> None:
    import matplotlib

    colours = matplotlib.colormaps["viridis"](np.linspace(0.0, 0.9, len(run.laws)))
    for law, colour in zip(run.laws, colours, strict=True):
        for part, style in zip(law.sheets() if law.signed else (law,), ("-", "--"), strict=False):
            label = f"t = {law.time:g}" if style == "-" else None
            axes.plot(*part.curve(), style, color=colour, label=label)
    note = ", negative part dashed" if run.laws[0].signed else ""
    axes.set(xlabel=run.problem.labels[0], ylabel=f"density{note}")
    axes.legend(frameon=False)


def _maps(run: Trajectory, laws: list[Law], axes: list[list[Any]]) -> None:
    periods = run.settings["terms"]["periods"]
    box = frame(laws, periods)
    for row, pair in zip(axes, ((0, 1), (0, 2)), strict=False):
        for ax, law in zip(row, laws, strict=True):
            x, y, z = raster(law, pair, box, periods)
            ax.contourf(x, y, z, levels=z.max() * np.linspace(0.02, 1.0, 15), cmap="Blues")
            title = f"t = {law.time:g}, peak {z.max():.2g}"
            _dress(ax, run, pair, (x[0], x[-1]), (y[0], y[-1]), title)


def _surface(run: Trajectory, laws: list[Law], axes: list[list[Any]]) -> None:
    from matplotlib.collections import PolyCollection

    last = run.problem.labels[2]
    for law, column in zip(laws, zip(*axes, strict=True), strict=True):
        points, density = painted(law)
        x, y = ((points[..., j].min(), points[..., j].max()) for j in range(2))
        for side, ax in zip((1, -1), column, strict=True):
            order = np.argsort(side * points[:, :, 2].mean(axis=1))  # the nearest comes last
            cells = PolyCollection(
                list(points[order][:, :, :2]), array=density[order], cmap="Blues"
            )
            cells.set_clim(0.0, density.max())
            cells.set_edgecolor("face")
            ax.add_collection(cells)
            seen = f"{last} {'>' if side > 0 else '<'} 0"
            _dress(ax, run, (0, 1), x, y, f"t = {law.time:g}, peak {density.max():.2g}, {seen}")


def _dress(ax: Any, run: Trajectory, pair: tuple[int, int], x: Range, y: Range, title: str) -> None:
    labels = run.problem.labels
    ax.set(xlim=x, ylim=y, xlabel=labels[pair[0]], ylabel=labels[pair[1]])
    ax.set_title(title, fontsize="medium")
    if 0.3 * (x[1] - x[0]) <= y[1] - y[0] <= 3.0 * (x[1] - x[0]):
        ax.set_aspect("equal")
