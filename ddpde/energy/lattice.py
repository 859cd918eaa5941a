"""Smooth functions by their values on a few points: Chebyshev lattices of a box.

What units and interactions make of a parameter is smooth, and a mesh is much finer than that: the
polynomial through the Chebyshev points of the mesh's bounding box is the same to any tolerance
worth having. A function is evaluated there once, and brought to the nodes of the mesh, whatever
its cells, by products along one direction after the other.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy import sparse
from scipy.fft import dct
from scipy.stats import qmc

from ddpde.energy.compression import Box

Function = Callable[[np.ndarray], np.ndarray]
Gather = Callable[[list[np.ndarray]], list[list[np.ndarray]]]  # every rank's, on all

_LINES = 8  # in each direction, on which functions are looked at
_COUNTS = (33, 65, 129, 257)  # points on such a line; not smooth enough if the last do not do
_CHECKS = 64
_KEYS = 2.0**40  # nodes whose coordinates differ by less than 1/_KEYS of the box share a line
_SPARSE = 8  # lines through the nodes may cross in so many times more points than there are nodes
_NEAR = 6  # grid points in each direction from which nodes that share no lines are interpolated
_OVERSAMPLING = 6  # and how many more of them there are than of the lattice's
_BLOCKED = 0.2  # cost of a number in a product of matrices, to one of a matrix and a vector


@dataclass(frozen=True, eq=False)
class Modes:
    """Functions on a lattice in fewer numbers: `bases` (n_j, c_j) in each direction, and of the
    products of these functions the ones that are needed, `places` (c,) in the array of all."""

    bases: tuple[np.ndarray, ...]
    places: np.ndarray

    @property
    def counts(self) -> tuple[int, ...]:
        """Functions in each direction."""
        return tuple(basis.shape[1] for basis in self.bases)


@dataclass(frozen=True, eq=False)
class Lattice:
    """counts (k,): Chebyshev points in each direction of `box`.

    `order`: directions from most to fewest points, as they follow each other in arrays of values:
    then the largest product of an interpolation is with the smallest matrix.
    """

    box: Box
    counts: tuple[int, ...]

    @cached_property
    def order(self) -> list[int]:
        return sorted(range(len(self.counts)), key=lambda axis: -self.counts[axis])

    @cached_property
    def shape(self) -> tuple[int, ...]:
        """Of an array of values, directions in `order`."""
        return tuple(self.counts[axis] for axis in self.order)

    def line(self, axis: int) -> np.ndarray:
        """Its coordinates (count,) in a direction, the box's ends at −1 and 1."""
        return _chebyshev(self.counts[axis])

    def values(self, axis: int, x: np.ndarray) -> np.ndarray:
        """(n, count): from values on such a line to coordinates x (n,) in [−1, 1]."""
        return _chebyshev_values(self.counts[axis], x)

    @cached_property
    def points(self) -> np.ndarray:
        """(n, k), in the order of values."""
        axes = np.meshgrid(*[self.line(axis) for axis in self.order], indexing="ij")
        unit = np.empty((axes[0].size, len(axes)))
        unit[:, self.order] = np.stack([x.ravel() for x in axes], axis=1)
        return _from_unit(unit, self.box)

    def work(self, count: int, *, lines: bool, least: int) -> float:
        """Interpolation to `count` points, in numbers of a dense product that has to be read;
        `least`: points or basis functions in the last direction."""
        if lines:
            return 2.0 * _BLOCKED * count * least
        grid = float(np.prod([_OVERSAMPLING * n for n in self.counts]))
        return 2.0 * _BLOCKED * grid * least + 2.0 * count * _NEAR ** len(self.counts)

    def probe(self, known: np.ndarray, *, lines: bool) -> tuple[np.ndarray, np.ndarray]:
        """Random points (n, k) of the box and what functions (lattice points, r) are there, by
        the interpolation that is used with `lines` or without."""
        unit = 2.0 * np.random.default_rng(1).random((_CHECKS, len(self.counts))) - 1.0
        points = _from_unit(unit, self.box)
        if not lines:
            through = Interpolation(self, points, lines=False)
            return points, np.stack([through(column) for column in known.T], axis=1)
        first, *others = [self.values(axis, unit[:, axis]) for axis in self.order]
        out = first @ known.reshape(self.shape[0], -1)
        for values in others:  # point by point
            out = np.matmul(values[:, None], out.reshape(*values.shape, -1))
        return points, out.reshape(len(points), -1)


@dataclass(frozen=True, eq=False)
class OwnLines(Lattice):
    """The lines of the nodes themselves in place of Chebyshev's: fewer on a coarse mesh."""

    lines: tuple[np.ndarray, ...]

    def line(self, axis: int) -> np.ndarray:
        return self.lines[axis]

    def values(self, axis: int, x: np.ndarray) -> np.ndarray:
        return (x[:, None] == self.lines[axis]).astype(float)

    def probe(self, known: np.ndarray, *, lines: bool) -> tuple[np.ndarray, np.ndarray]:
        some = np.random.default_rng(1).integers(len(known), size=_CHECKS)
        return self.points[some], known[some]


class Interpolation:
    """From values on a lattice to points (n, k), and its transpose.

    First along every direction to a grid, each a short dense product; then from the grid to the
    points. With `lines` (see `share_lines`) the grid is made of the points' own coordinates;
    otherwise it is uniform, and a sparse matrix interpolates between the grid points around each.
    With `modes` from `reduced` a core's values take the place of the lattice's.
    """

    def __init__(
        self, lattice: Lattice, points: np.ndarray, lines: bool, modes: Modes | None = None
    ) -> None:
        unit = to_unit(points, lattice.box)[:, lattice.order]
        if lines:
            grid, index = _lines(unit)
        else:
            grid = [np.linspace(-1, 1, _OVERSAMPLING * count) for count in lattice.shape]
        self._shape = tuple(len(x) for x in grid)
        self.lattice, self._modes = lattice, modes
        self._places = None if modes is None else modes.places
        self._along = [self.on_line(k, x) for k, x in enumerate(grid)]
        self._size = int(np.prod([values.shape[1] for values in self._along]))
        if lines:
            self._index = np.ravel_multi_index(index, self._shape)
            # the point at each place of the grid, or the one that follows the last
            self._point = np.full(int(np.prod(self._shape)), len(points))
            self._point[self._index] = np.arange(len(points))
        else:
            places = 0.5 * (unit + 1.0) * (np.array(self._shape) - 1.0)
            self._sparse = _local_interpolation(places, self._shape)
        self.exact = lines

    def on_line(self, k: int, x: np.ndarray) -> np.ndarray:
        """(n, c): the lattice's functions, or modes, of its k-th direction at x (n,) in [−1, 1]."""
        values = self.lattice.values(self.lattice.order[k], _rounded(x))  # as points' lines are
        return values if self._modes is None else values @ self._modes.bases[k]

    def __call__(self, values: np.ndarray) -> np.ndarray:
        """(n,) from values (lattice points,)."""
        if self._places is not None:
            core = np.zeros(self._size)
            core[self._places] = values
            values = core
        array = values
        for along in self._along:  # the first axis goes, the new one comes last
            array = array.reshape(along.shape[1], -1).T @ along.T
        grid = array.ravel()
        return grid.take(self._index) if self.exact else self._sparse @ grid

    def transposed(self, masses: np.ndarray) -> np.ndarray:
        """(lattice points,) from masses (n,)."""
        if self.exact:
            grid = np.append(masses, 0.0).take(self._point)
        else:
            grid = self._sparse.T @ masses
        return self.tested(grid)

    def placed(self, matrix: sparse.csr_array) -> sparse.csr_array:
        """A matrix (n, …) whose rows are the points, as one whose rows are the grid's places."""
        index = np.arange(len(self._index))
        entries = np.ones(len(index)), (self._index, index)
        return sparse.csr_array(entries, shape=(len(self._point), len(index))) @ matrix

    def tested(self, array: np.ndarray, on_lines: list[np.ndarray] | None = None) -> np.ndarray:
        """(lattice points,): an array with as many axes as the lattice against the products of
        functions on lines, as `on_line` gives them; default: on the grid's."""
        for along in reversed(
            self._along if on_lines is None else on_lines
        ):  # the last axis goes, the new one comes first
            array = along.T @ array.reshape(-1, len(along)).T
        return array.ravel() if self._places is None else array.ravel().take(self._places)


def resolve(functions: list[Function], box: Box, tolerance: float) -> Lattice | None:
    """The lattice on which each of some functions (n, k) -> (n, r) is known to `tolerance` of its
    largest value; None where one is not smooth enough."""
    counts = [_resolve(function, box, tolerance) for function in functions]
    if not counts or any(count is None for count in counts):
        return None
    return Lattice(box, tuple(max(each) for each in zip(*counts, strict=True)))


def _resolve(function: Function, box: Box, tolerance: float) -> list[int] | None:
    dim = len(box[0])
    centres = 2.0 * qmc.Halton(dim, scramble=False).random(_LINES) - 1.0
    counts = []
    for axis in range(dim):
        for count in _COUNTS:
            points = np.repeat(centres, count, axis=0)
            points[:, axis] = np.tile(_chebyshev(count), len(centres))
            values = function(_from_unit(points, box)).reshape(len(centres), count, -1)
            sizes = np.abs(dct(values, type=1, axis=1)).max(axis=(0, 2)) / (count - 1)
            tails = np.cumsum(sizes[::-1])[::-1]
            needed = np.count_nonzero(tails > 0.5 * tolerance * np.abs(values).max())
            if needed < 0.9 * count:  # else the tail is not seen
                counts.append(max(2, int(needed) + 1))
                break
        else:
            return None
    return counts


def reduced(lattice: Lattice, values: np.ndarray, tolerance: float) -> tuple[np.ndarray, Modes]:
    """Values (lattice points, r) as a core (c, r) and its modes.

    What is left out is in the mean `tolerance` of the largest value, a direction and once more: a
    truncated higher-order singular value decomposition (De Lathauwer, De Moor & Vandewalle 2000),
    of whose core half the rows may hold nothing: high functions of one direction do not go with
    high ones of another.
    """
    array = values.reshape(*lattice.shape, -1)
    allowed = tolerance * np.abs(values).max() * np.sqrt(values.size)
    bases = []
    for axis in range(len(lattice.shape)):
        lines = np.moveaxis(array, axis, 0)
        triangle = np.linalg.qr(lines.reshape(len(lines), -1).T, mode="r")
        _, sizes, rows = np.linalg.svd(triangle, full_matrices=False)
        basis = rows[: _needed(sizes, allowed)].T
        array = np.moveaxis(np.tensordot(lines, basis, axes=(0, 0)), -1, axis)
        bases.append(basis)
    core = array.reshape(-1, values.shape[1])
    sizes = np.linalg.norm(core, axis=1)
    order = np.argsort(-sizes)
    places = np.sort(order[: _needed(sizes[order], allowed)])
    return core[places], Modes(tuple(bases), places)


def _needed(sizes: np.ndarray, allowed: float) -> int:
    """How many of decreasing parts are needed, that the rest is no larger than allowed."""
    tails = np.sqrt(np.cumsum(sizes[::-1] ** 2)[::-1])
    return max(1, int(np.count_nonzero(tails > allowed)))


def expanded(core: np.ndarray, modes: Modes) -> np.ndarray:
    """The inverse of `reduced`."""
    full = np.zeros((int(np.prod(modes.counts)), core.shape[1]))
    full[modes.places] = core
    array = full.reshape(*modes.counts, -1)
    for axis, basis in enumerate(modes.bases):
        array = np.moveaxis(np.tensordot(array, basis, axes=(axis, 1)), -1, axis)
    return array.reshape(-1, core.shape[1])


def share_lines(points: np.ndarray, box: Box) -> bool:
    """Whether points (n, k) lie on few lines in each direction, as nodes of boxes do."""
    grid, _ = _lines(to_unit(points, box))
    return float(np.prod([float(len(x)) for x in grid])) <= _SPARSE * max(1, len(points))


def own_lines(points: np.ndarray, box: Box, gather: Gather) -> OwnLines:
    """The lines on which all ranks' points (n, k) lie."""
    here, _ = _lines(to_unit(points, box))
    lines = tuple(np.unique(np.concatenate(parts)) for parts in zip(*gather(here), strict=True))
    return OwnLines(box, tuple(len(line) for line in lines), lines)


def _lines(unit: np.ndarray) -> tuple[list[np.ndarray], tuple[np.ndarray, ...]]:
    """The coordinates that occur in each direction, and where each point finds its own."""
    found = [np.unique(_rounded(x), return_inverse=True) for x in unit.T]
    return [line for line, _ in found], tuple(places for _, places in found)


def _rounded(x: np.ndarray) -> np.ndarray:
    return np.rint(x * _KEYS) / _KEYS


def to_unit(points: np.ndarray, box: Box) -> np.ndarray:
    """Points of the box in [−1, 1]^k."""
    return np.clip(2.0 * (points - box[0]) / (box[1] - box[0]) - 1.0, -1.0, 1.0)


def _from_unit(unit: np.ndarray, box: Box) -> np.ndarray:
    return box[0] + 0.5 * (box[1] - box[0]) * (unit + 1.0)


def _chebyshev(count: int) -> np.ndarray:
    """Extrema (count,) of a Chebyshev polynomial on [−1, 1], both ends included."""
    return np.cos(np.pi * np.arange(count) / (count - 1))


def _chebyshev_values(count: int, x: np.ndarray) -> np.ndarray:
    """(n, count): the polynomials that are one at one of the `count` extrema, at x (n,) in
    [−1, 1]; barycentric formula (Berrut & Trefethen 2004, eq. 4.2)."""
    weights = (-1.0) ** np.arange(count)
    weights[[0, -1]] *= 0.5
    apart = x[:, None] - _chebyshev(count)
    exact = apart == 0.0
    terms = weights / np.where(exact, 1.0, apart)
    values = terms / terms.sum(axis=1, keepdims=True)
    hit = exact.any(axis=1)
    values[hit] = exact[hit]
    return values


def _local_values(places: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Interpolation from the integers 0 … size − 1 to places (n,) between them: the first integer
    (n,) of the _NEAR around each, and the weights (n, _NEAR) of all."""
    first = np.clip(np.floor(places).astype(int) - (_NEAR // 2 - 1), 0, size - _NEAR)
    nodes = np.arange(_NEAR)
    apart = (places - first)[:, None] - nodes
    values = np.ones_like(apart)
    for i in nodes:
        for j in nodes:
            if i != j:
                values[:, i] *= apart[:, j] / (i - j)
    return first, values


def _local_interpolation(places: np.ndarray, shape: tuple[int, ...]) -> sparse.csr_array:
    """Interpolation from the points of an integer grid to places (n, k) among them."""
    columns = np.zeros((len(places), 1), dtype=np.int64)
    values = np.ones((len(places), 1))
    for axis, size in enumerate(shape):
        first, weights = _local_values(places[:, axis], size)
        near = first[:, None] + np.arange(_NEAR)
        columns = (columns[:, :, None] * size + near[:, None, :]).reshape(len(places), -1)
        values = (values[:, :, None] * weights[:, None, :]).reshape(len(places), -1)
    starts = np.arange(0, values.size + 1, values.shape[1])
    shape_ = (len(places), int(np.prod(shape)))
    return sparse.csr_array((values.ravel(), columns.ravel(), starts), shape=shape_)
