"""A law as pictures show it: where its mass is, and its density on a rectangular grid."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.interpolate import griddata
from scipy.ndimage import gaussian_filter

from ddpde.space.law import Law

Range = tuple[float, float]


def bulk(law: Law, axis: int, tail: float = 2e-4) -> Range:
    """Interval of a coordinate with no more than `tail` of the mass beyond either end."""
    points, masses = law.points(4)
    order = np.argsort(points[:, axis])
    cumulated = np.cumsum(masses[order]) / masses.sum()
    index = np.searchsorted(cumulated, [tail, 1 - tail])
    low, high = points[order, axis][np.minimum(index, len(order) - 1)]
    return float(low), float(high)


def frame(laws: Sequence[Law], periods: Sequence[float | None]) -> list[Range]:
    """A range of each coordinate that shows the bulk of all the laws; a whole circle, if one."""
    box: list[Range] = []
    for axis, period in enumerate(periods):
        if period:
            points = np.concatenate([law.geometry[..., axis].ravel() for law in laws])
            box.append((float(points.min()), float(points.max())))
            continue
        ends = np.array([bulk(law, axis, 2e-3) for law in laws])
        pad = 0.06 * (ends.max() - ends.min())
        box.append((float(ends.min() - pad), float(ends.max() + pad)))
    return box


def raster(
    law: Law, pair: tuple[int, int], box: Sequence[Range], periods: Sequence[float | None]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Two coordinates x (m,), y (n,) and the density z (n, m) over them.

    In 2D interpolated; in 3D the marginal of the pair, smoothed.
    """
    x_range, y_range = (box[axis] for axis in pair)
    if law.gdim == 2:
        x, y = np.linspace(*x_range, 90), np.linspace(*y_range, 90)
        # straight between the points: as many as make coarse cells smooth
        lattice = np.linspace(0.06, 0.94, int(np.clip(np.sqrt(2e4 / len(law.values)), 4, 10)))
        reference = np.stack(np.meshgrid(lattice, lattice), axis=-1).reshape(-1, 2)
        if law.cell == "triangle":
            reference = reference[reference.sum(axis=1) < 1.0]
        points, density, _ = law.at(reference)
        mesh = np.meshgrid(x, y)
        points, density = points.reshape(-1, 2), density.ravel()
        for axis, period in enumerate(periods):
            if period:  # what lies just beyond either end
                points, density = _wrapped(points, density, axis, period)
        z = griddata(points, density, tuple(mesh), fill_value=0.0)
        return x, y, np.maximum(z, 0.0)
    # more points than bins, without a flood of them on a fine mesh
    per_direction = int(np.clip(np.cbrt(3e6 / len(law.values)), 4, 12))
    points, masses = law.points(per_direction)
    z, x, y = np.histogram2d(
        points[:, pair[0]],
        points[:, pair[1]],
        bins=30,
        range=(x_range, y_range),
        weights=masses,
    )
    # the bins and the mesh's points beat against each other: smooth over a bin
    z = gaussian_filter(z.T, 1.0) / ((x[1] - x[0]) * (y[1] - y[0]))
    return 0.5 * (x[1:] + x[:-1]), 0.5 * (y[1:] + y[:-1]), np.maximum(z, 0.0)


def _wrapped(
    points: np.ndarray, density: np.ndarray, axis: int, period: float
) -> tuple[np.ndarray, np.ndarray]:
    """A tenth of a period added at both ends of a circle."""
    low = points[:, axis].min()
    first = points[:, axis] < low + 0.1 * period
    last = points[:, axis] > low + 0.9 * period
    shift = period * np.eye(2)[axis]
    more = [points, points[first] + shift, points[last] - shift]
    return np.concatenate(more), np.concatenate([density, density[first], density[last]])


def painted(law: Law) -> tuple[np.ndarray, np.ndarray]:
    """The cells of a surface as polygons (cells, corners, gdim), and a density for each (cells,).

    No more than the corners of a cell are seen, and the density's mean over them.
    """
    corners = {
        "triangle": [(0, 0), (1, 0), (0, 1)],
        "quadrilateral": [(0, 0), (1, 0), (1, 1), (0, 1)],
    }[law.cell]
    points, density, _ = law.at(np.array(corners, dtype=float))
    return points, density.mean(axis=1)
