"""Figure 1: the PDE's law with the particles, at a few times."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from matplotlib.collections import PolyCollection
from matplotlib.colors import LinearSegmentedColormap

from ddpde.report.figures.drawing import (
    BARS,
    BARS_EDGE,
    INK,
    PDE,
    SMALL,
    Drawing,
    Figure,
    Panel,
    chosen,
    swatch,
)
from ddpde.report.folder import Content
from ddpde.report.numerals import counted, grouped, short, sig, spelled
from ddpde.space import Law
from ddpde.space.raster import bulk, frame, painted, raster

_PALE = LinearSegmentedColormap.from_list("pale", ["#f4f8fc", "#c3d9ee", "#86b3dc", "#3f82bd"])
_DOT = "#8a2c0d"
_SHOWN_DOTS = 400
_FRAMES = 40


def figure(content: Content) -> Figure | None:
    """Small multiples over time: curves in 1D, maps in 2D, marginals or two views in 3D."""
    if not content.laws:
        return None
    if content.on_surface:
        return _views(content)
    # rows of three panels: two where there are times enough, one in 3D with its two marginals
    many = content.dim < 3 and len(content.laws) > 5
    return over_time(content, chosen(len(content.laws), 6 if many else 3))


def film(content: Content) -> Figure | None:
    """All output times after each other, where the small multiples leave some out."""
    if len(content.laws) <= 6 or content.on_surface or content.dim > 2:
        return None
    indices = chosen(len(content.laws), _FRAMES)
    drawn = over_time(content, indices)
    caption = (
        f"The same at {counted(len(indices), 'output time')}, one after the other; in print, and "
        "where motion is not wanted, the last."
    )
    return replace(drawn, key="film", title="The law in motion", caption=caption, film=True)


def over_time(content: Content, indices: list[int]) -> Figure:
    """A panel for each of the given output times."""
    particles = content.arrays.get("particles")
    if content.dim == 1:
        return _curves(content, indices, particles)
    return _maps(content, indices, particles)


def _curves(content: Content, indices: list[int], particles: np.ndarray | None) -> Figure:
    laws = [content.laws[i] for i in indices]
    clouds = [None if particles is None else particles[i].ravel() for i in indices]
    ends = [bulk(law, 0) for law in laws]
    ends += [tuple(np.quantile(c, [5e-4, 1 - 5e-4])) for c in clouds if c is not None]
    low, high = min(e[0] for e in ends), max(e[1] for e in ends)
    least = min(law.curve()[0].min() for law in laws)
    margin = 0.04 * (high - low)
    # up to the end of the mesh where that is near, and never far beyond it
    low = least if low - least < 4 * margin else low - margin
    high += margin
    if content.closed:
        low, high = least, max(law.curve()[0].max() for law in laws)
    bars = [None if cloud is None else _histogram(cloud) for cloud in clouds]
    lines = [law.curve() for law in laws]
    tops, clipped = [], False
    for (x, density), bar in zip(lines, bars, strict=True):
        top = float(density[(x >= low) & (x <= high)].max())
        if bar is not None and top > 3.0 * bar[0].max():
            top, clipped = 2.0 * float(bar[0].max()), True
        tops.append(max(top, bar[0].max() if bar is not None else 0.0))
    shared = max(tops) < 3.0 * min(tops)
    panels = []
    for law, bar, (x, density), top in zip(laws, bars, lines, tops, strict=True):
        inside = (x >= low) & (x <= high)
        with Drawing(SMALL, left=38) as d:
            if bar is not None:
                d.axes.stairs(*bar, fill=True, color=BARS)
                d.axes.stairs(*bar, color=BARS_EDGE, linewidth=0.8)
            d.axes.plot(x[inside], density[inside], color=PDE, linewidth=1.9)
            d.axes.set(xlim=(low, high), ylim=(0, 1.06 * (max(tops) if shared else top)))
            d.axes.set(xlabel=content.labels[0], title=f"t = {short(law.time)}")
            d.axes.locator_params(nbins=5)
        mean = "" if content.closed else f"mean {sig(law.expectation(lambda p: p[:, 0]))}, "
        over = " over the histogram of the particles" if bar is not None else ""
        panels.append(
            d.panel(
                f"Density of {content.labels[0]} at t = {short(law.time)}{over}: "
                f"{mean}peak {sig(law.peak())}."
            )
        )
    scale = (
        "All panels share both axes."
        if shared
        else "All panels share the horizontal axis; the density has its own scale in each, "
        f"as its peak goes from {sig(tops[0], 2)} to {sig(tops[-1], 2)}."
    )
    cut = " Where the density is far higher than a bar can be, its line is cut off." * clipped
    legend = [(swatch("line", PDE), "density of the PDE")]
    seen = (
        f"The law of {content.labels[0]} at {spelled(len(indices))} times: the PDE’s density (line)"
    )
    if particles is not None:
        _, replicas, width, _ = particles.shape
        legend.append((swatch("bar", BARS_EDGE, fill=BARS), "histogram of the particles"))
        seen += (
            f" over the histogram of {grouped(replicas * width)} particles "
            f"(N = {width}, {counted(replicas, 'replica')})"
        )
    return Figure("laws", "The law over time", f"{seen}. {scale}{cut}", panels, legend)


def _histogram(cloud: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Densities and edges; about 30 bars over the bulk, the tails included."""
    low, high = np.quantile(cloud, [0.005, 0.995])
    size = max(high - low, 1e-9 * max(1.0, abs(high))) / 30
    first, last = np.floor((cloud.min() - low) / size), np.ceil((cloud.max() - low) / size)
    first, last = max(first, -200.0), min(last, 230.0)
    edges = low + size * np.arange(first, last + 1)
    counts, edges = np.histogram(cloud, edges)
    return counts / (cloud.size * size), edges


def _maps(content: Content, indices: list[int], particles: np.ndarray | None) -> Figure:
    laws = [content.laws[i] for i in indices]
    pairs = [(0, 1)] if content.dim == 2 else [(0, 1), (0, 2)]
    box = frame(laws, content.periods)
    panels = []
    for pair in pairs:
        for law, i in zip(laws, indices, strict=True):
            dots = None if particles is None else particles[i, 0, :_SHOWN_DOTS][:, pair]
            panels.append(_map(law, pair, box, dots, content))
    what = "density" if content.dim == 2 else "marginal densities"
    legend = [(swatch("bar", "#4d8cc0", fill="#9dc1e0"), f"{what} of the PDE")]
    names = ", ".join(content.labels)
    seen = (
        f"The law of ({names}) at {spelled(len(laws))} times: the {what} of the PDE, darkest at "
        "the peak of each panel (the peak’s value stands above it)"
    )
    if particles is not None:
        _, replicas, width, _ = particles.shape
        count = min(width, _SHOWN_DOTS)
        legend.append((swatch("marker", _DOT, marker="."), f"{counted(count, 'particle')}"))
        seen += (
            f"; on top {'the' if count == width else f'{count} of the'} {grouped(width)} "
            f"particles of one of {counted(replicas, 'replica')}"
        )
    alike = ", which have the same scale" * all(_proportionate(box, pair) for pair in pairs)
    caption = f"{seen}. All panels share both axes{alike}."
    return Figure("laws", "The law over time", caption, panels, legend)


def _proportionate(box: list[tuple[float, float]], pair: tuple[int, int]) -> bool:
    """Whether both axes can have one scale and the panel be read."""
    (x0, x1), (y0, y1) = (box[axis] for axis in pair)
    return 0.3 * (x1 - x0) <= y1 - y0 <= 3.0 * (x1 - x0)


def _map(
    law: Law,
    pair: tuple[int, int],
    box: list[tuple[float, float]],
    dots: np.ndarray | None,
    content: Content,
) -> Panel:
    labels = content.labels
    (x0, x1), (y0, y1) = box[pair[0]], box[pair[1]]
    left, bottom, top = 54, 38, 24
    inner = SMALL[0] - left - 10
    alike = _proportionate(box, pair)
    height = int(inner * (np.clip((y1 - y0) / (x1 - x0), 0.3, 1.3) if alike else 0.6))
    x, y, z = raster(law, pair, box, content.periods)
    peak = float(z.max())
    with Drawing((SMALL[0], height + bottom + top), left=left, bottom=bottom, top=top) as d:
        levels = peak * np.array([0.02, *np.arange(0.1, 1.01, 0.1)])
        d.axes.contourf(x, y, z, levels=levels, cmap=_PALE)
        d.axes.contour(x, y, z, levels=levels[:-1:2], colors="#2b5f8d", linewidths=0.6)
        if dots is not None:
            d.axes.scatter(dots[:, 0], dots[:, 1], s=3.6, color=_DOT, linewidths=0, alpha=0.7)
        d.axes.set_xlim(x0, x1)
        d.axes.set_ylim(y0, y1)
        if alike:
            d.axes.set_aspect("equal", adjustable="box")
        d.axes.set(xlabel=labels[pair[0]], title=f"t = {short(law.time)}")
        d.axes.set_ylabel(labels[pair[1]], rotation=0, labelpad=6)
        d.axes.set_title(f"peak {sig(peak, 2)}", loc="right", color=INK, fontsize=10.5)
        d.axes.locator_params(nbins=5)
    over = f" with {len(dots)} particles on top" if dots is not None else ""
    return d.panel(
        f"Density over ({labels[pair[0]]}, {labels[pair[1]]}) at t = {short(law.time)}{over}; "
        f"peak {sig(peak, 2)}."
    )


def _views(content: Content) -> Figure | None:
    """A surface in space seen from both sides of its last axis; None for a curve."""
    if content.laws[0].tdim < 2:
        return None
    indices = chosen(len(content.laws), 3)
    laws = [content.laws[i] for i in indices]
    found = [painted(law) for law in laws]
    top = max(float(density.max()) for _, density in found)
    points = np.concatenate([x.reshape(-1, 3) for x, _ in found])
    low, high = points.min(axis=0), points.max(axis=0)
    pad = 0.05 * (high - low).max()
    box = [(low[j] - pad, high[j] + pad) for j in range(2)]
    panels = [
        _view(law, x, density, top, side, box, content.labels)
        for side in (1, -1)
        for law, (x, density) in zip(laws, found, strict=True)
    ]
    legend = [(swatch("bar", "#4d8cc0", fill="#9dc1e0"), "density of the PDE")]
    last = content.labels[2]
    caption = (
        f"The law of ({', '.join(content.labels)}) on its surface at {spelled(len(laws))} times, "
        f"seen along {last}: the first row from where {last} is largest, the second from where "
        "it is least and mirrored, so that both rows have the same axes. One colour a cell, per "
        f"unit area, from white at 0 to the darkest at {sig(top, 2)} in all panels."
    )
    return Figure("laws", "The law over time", caption, panels, legend)


def _view(
    law: Law,
    points: np.ndarray,
    density: np.ndarray,
    top: float,
    side: int,
    box: list[tuple[float, float]],
    labels: list[str],
) -> Panel:
    order = np.argsort(side * points[:, :, 2].mean(axis=1))  # the nearest are painted last
    shade = _PALE(np.clip(density[order] / top, 0.0, 1.0))
    (x0, x1), (y0, y1) = box
    left, bottom, above = 42, 38, 24
    inner = SMALL[0] - left - 10
    height = int(np.clip(inner * (y1 - y0) / (x1 - x0), 0.6 * inner, 1.3 * inner))
    with Drawing((SMALL[0], height + bottom + above), left=left, bottom=bottom, top=above) as d:
        cells = PolyCollection(
            list(points[order][:, :, :2]), facecolors=shade, edgecolors=shade, linewidths=0.4
        )
        cells.set_rasterized(len(points) > 600)
        d.axes.add_collection(cells)
        d.axes.set(xlim=(x0, x1), ylim=(y0, y1), xlabel=labels[0], title=f"t = {short(law.time)}")
        d.axes.set_aspect("equal", adjustable="box")
        d.axes.set_ylabel(labels[1], rotation=0, labelpad=6)
        sign = "> 0" if side > 0 else "< 0"
        d.axes.set_title(f"from {labels[2]} {sign}", loc="right", color=INK, fontsize=10.5)
        d.axes.locator_params(nbins=5)
    return d.panel(
        f"Density on the surface at t = {short(law.time)}, seen from {labels[2]} {sign}; "
        f"peak {sig(law.peak(), 2)}."
    )
