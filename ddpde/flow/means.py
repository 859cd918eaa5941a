"""From a law's coefficients to the means of the features kept, with nothing in between.

With B = ∫ φ_i ψ_j the means are Sᵀ(Bρ). On one rank's tensor grid B is a product of matrices of
lines, as the features' interpolation is, and both become one short product a direction; on
other meshes whose nodes share lines B ends on their grid. Where few features stand on the nodes
themselves, BᵀS is formed once.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ddpde.energy import NodalFeatures
from ddpde.energy.lattice import Interpolation, to_unit
from ddpde.space import Space
from ddpde.space.quadrature import CellQuadrature, lagrange, legendre, tabulate
from ddpde.space.tensor import TensorGrid, tensor_grid

Means = Callable[[np.ndarray], np.ndarray]


def means_of(space: Space, features: NodalFeatures) -> Means:
    """From coefficients u (n_cells, nd) to this rank's part (r,) of the means."""
    if features.few_on_nodes is not None:
        moments = np.empty((np.prod(space.local_shape), features.few_on_nodes.shape[1]), order="F")
        moments[:] = space.potential_moments(features.few_on_nodes).reshape(moments.shape)
        return lambda u: u.ravel() @ moments
    interpolation = features.interpolation
    if interpolation is not None and interpolation.exact:
        grid = tensor_grid(space) if space.comm.size == 1 else None
        if grid is not None:
            on_lines = _OnLines(space, grid, interpolation)
            return lambda u: features.means_kept(on_lines(u))
        to_grid = interpolation.placed(space.assembly)
        return lambda u: features.means_kept(interpolation.tested(to_grid @ space.local_masses(u)))
    return lambda u: features.means(space.nodal_masses(u))


class _OnLines:
    """What `Interpolation.transposed` gives of a law's nodal masses, on the lines of its cells."""

    def __init__(self, space: Space, grid: TensorGrid, interpolation: Interpolation) -> None:
        self._interpolation = interpolation
        box, order = interpolation.lattice.box, interpolation.lattice.order
        places = grid.spread(np.arange(np.prod(space.local_shape)).reshape(space.local_shape))
        self._places = places.transpose([grid.axes.index(axis) for axis in order]).ravel()
        reference = lagrange("interval", space.degree + 1)
        rule = CellQuadrature("interval", np.array([[[0.0], [1.0]]]), 1, 2 * space.degree + 2)
        basis = tabulate(legendre("interval", space.degree), rule.reference)
        products = (rule.weights[0] * basis.T) @ tabulate(reference, rule.reference)
        places_1d = reference.basix_element.points[:, 0]
        self._on_lines = []
        for k, axis in enumerate(order):
            line = grid.lines[grid.axes.index(axis)]
            size = np.diff(line)
            nodes = np.zeros((len(size) * len(places_1d), len(order)))
            nodes[:, axis] = (line[:-1, None] + size[:, None] * places_1d).ravel()
            values = interpolation.on_line(k, to_unit(nodes, box)[:, axis])
            values = values.reshape(len(size), len(places_1d), -1)
            moments = np.einsum("c,ij,cjm->cim", size, products, values, optimize=True)
            self._on_lines.append(moments.reshape(len(size) * len(products), -1))

    def __call__(self, u: np.ndarray) -> np.ndarray:
        return self._interpolation.tested(u.ravel().take(self._places), self._on_lines)
