"""A law at one time, detached from DOLFINx: cells, their geometry, a polynomial in each.

Gathered on rank 0 in the mesh's original cell order, so it does not depend on the number of
ranks; what compare and report look at, and what is written to disk.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from mpi4py import MPI

from ddpde.space.quadrature import gauss, jacobian_determinant, lagrange, legendre, tabulate


@dataclass(frozen=True, eq=False, repr=False)
class Law:
    """A density on a mesh.

    geometry (n_cells, n_geometry, gdim): Lagrange nodes of degree `geometry_degree`, or, where
    the mesh moved with the flow (`moved`), coefficients in the orthonormal basis of that degree.
    values (n_cells, nd): coefficients in the orthonormal basis, of the density per unit volume
    or, where `moved`, of the mass per unit reference volume.
    """

    time: float
    cell: str
    degree: int
    geometry_degree: int
    geometry: np.ndarray
    values: np.ndarray
    moved: bool = False

    def __repr__(self) -> str:
        shape = f"{len(self.values)} cells ({self.cell}, degree {self.degree})"
        return f"Law(t = {self.time:g}, {self.gdim} coordinates, {shape})"

    @property
    def gdim(self) -> int:
        return self.geometry.shape[2]

    @property
    def tdim(self) -> int:
        """Dimension of the cells: less than `gdim` on curves, surfaces and the sheets of a sign."""
        return {"interval": 1, "triangle": 2, "quadrilateral": 2}.get(self.cell, 3)

    @property
    def signed(self) -> bool:
        """Whether it lives on the two sheets of a signed measure: its last coordinate is ±1."""
        return self.tdim < self.gdim and bool((np.abs(self.geometry[..., -1]) == 1.0).all())

    def sheets(self) -> tuple[Law, Law]:
        """The positive and the negative part of a signed measure, without the sign's coordinate."""
        if not self.signed:
            raise ValueError("only the law of a signed measure has two sheets")
        above = self.geometry[:, 0, -1] > 0
        positive, negative = (
            replace(self, geometry=self.geometry[part][..., :-1], values=self.values[part])
            for part in (above, ~above)
        )
        return positive, negative

    def at(self, reference: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Positions (c, q, gdim), densities (c, q), volume elements (c, q) at reference points."""
        if self.moved:
            element = legendre(self.cell, self.geometry_degree)
        else:
            element = lagrange(self.cell, self.geometry_degree)
        shape, slope = tabulate(element, reference, derivatives=1)
        volume = jacobian_determinant(np.einsum("aqn,cng->cqga", slope, self.geometry))
        density = self.values @ tabulate(legendre(self.cell, self.degree), reference).T
        if self.moved:
            volume = np.maximum(volume, 1e-300)  # cells may shrink to points
            density = density / volume
        return np.einsum("qn,cng->cqg", shape, self.geometry), density, volume

    def points(self, per_direction: int = 8) -> tuple[np.ndarray, np.ndarray]:
        """The law as weighted points: positions (n, gdim) and masses (n,) that sum to its mass.

        A Gauss rule of `per_direction` points in each direction of every cell.
        """
        reference, weights = gauss(self.cell, 2 * per_direction - 1)
        x, density, volume = self.at(reference)
        masses = density * volume * weights
        return x.reshape(-1, self.gdim), masses.ravel()

    def peak(self) -> float:
        """Largest density over the points of a Gauss rule."""
        reference, _ = gauss(self.cell, 2 * self.degree + 2)
        return float(self.at(reference)[1].max())

    def expectation(self, observable: Callable[[np.ndarray], np.ndarray]) -> float:
        """∫ observable dρ for a callable (n, gdim) -> (n,)."""
        x, masses = self.points()
        return float(masses @ observable(x))

    def curve(self, per_cell: int = 6) -> tuple[np.ndarray, np.ndarray]:
        """In 1D: positions and densities (n,) of a fine polyline, cell ends included."""
        x, density, _ = self.at(np.linspace(0.0, 1.0, per_cell)[:, None])
        order = np.argsort(x.mean(axis=1)[:, 0])
        return x[order].ravel(), density[order].ravel()

    def sample(self, count: int, rng: np.random.Generator, per_direction: int = 16) -> np.ndarray:
        """`count` independent draws (count, gdim), to the spacing of the weighted points."""
        x, masses = self.points(per_direction)
        masses = np.maximum(masses, 0.0)
        return x[rng.choice(len(x), size=count, p=masses / masses.sum())]

    def save(self, path: Path) -> None:
        """Write as .npz, complete or not at all."""
        part = path.with_suffix(".part")
        with part.open("wb") as file:
            np.savez_compressed(file, **vars(self))
        part.replace(path)

    @classmethod
    def load(cls, path: Path) -> Law:
        """Read what `save` wrote."""
        with np.load(path, allow_pickle=False) as stored:
            fields = {k: v.item() if v.ndim == 0 else v for k, v in stored.items()}
        return cls(**fields)


def gathered(comm: MPI.Comm, original_cells: np.ndarray, own: Law) -> Law | None:
    """The law whose part on each rank's cells is `own`, in original cell order; on rank 0 only."""
    everyone = comm.gather((original_cells, own.geometry, own.values), root=0)
    if everyone is None:
        return None
    cells, geometry, values = (np.concatenate(parts) for parts in zip(*everyone, strict=True))
    order = np.argsort(cells)
    return replace(own, geometry=geometry[order], values=values[order])
