"""The linear systems of Newton's method for lagged H⁻¹ movements: sparse, plus a network.

Unknowns of a vertex are v, with δρ = along v on its curve of density against pressure, and δφ:

    m along v + div(δM ∇φ) + div(M ∇δφ) = −moved,    across v − δP = gap,

with τ in div. Rows of the first kind are divided by `along`, so that tails count as much as the
bulk. δP = δφ + τ ∇φ·∇δφ − δF', but without its middle where the norm is frozen: there δφ can be
eliminated, which leaves one unknown a vertex. Vertices far from the law are left out.

Birth and death add m ρ g to the first rows and g²/(2 rate) to P, g = rate (φ − c), c the mean of φ
over ρ: the change of c couples all vertices, and is taken in as a network is.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from mpi4py import MPI
from petsc4py import PETSc

from ddpde.comm import sum_over_ranks
from ddpde.flow.vertices import VertexFlow
from ddpde.step.low_rank import Extra, solve

_MORE_MEMORY = 100  # per cent, for pivots that the analysis does not foresee
_AMF = 2  # MUMPS's number of an ordering that is quickly found: approximate minimum fill
_HALO = 2  # rings of vertices around those needed, for the law to move
_SPARE = 0.4  # of those kept: where fewer are needed, the rest goes


@dataclass(frozen=True)
class Linearised:
    """What the equations have at one iterate.

    At the vertices (n,): along, across, moved, gap; of the pairs (e,): τ a times the mobility, the
    flux's derivatives by the densities of the first and the second end, and how much P of each
    changes with φ. f: the means of the network's features, None where F' does not change.
    """

    along: np.ndarray
    across: np.ndarray
    moved: np.ndarray
    gap: np.ndarray
    stiff: np.ndarray
    by_first: np.ndarray
    by_second: np.ndarray
    of_first: np.ndarray
    of_second: np.ndarray
    f: np.ndarray | None
    reaction: Reaction | None = None


@dataclass(frozen=True)
class Reaction:
    """Birth and death: α τ; g, which −ρ g is added by; ρ (n,)."""

    rate: float
    growth: np.ndarray
    density: np.ndarray


class LaggedSystem:
    """Solves for (v, δφ), one factorisation a solve; symbolic work is done once a set of vertices.

    frozen: with a norm that is not varied.
    """

    def __init__(self, flow: VertexFlow, *, frozen: bool = False) -> None:
        self._flow, self._frozen, self._kinds = flow, frozen, 1 if frozen else 2
        self._kept = np.zeros(flow.size, dtype=bool)
        self._direct: _Direct | None = None

    def solve(self, at: Linearised, needed: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """v and δφ (n,), at the vertices `needed` (n,) and some around them; NaN on overflow."""
        self._keep(needed)
        assert self._direct is not None
        along = self._flow.shared(at.along)
        with np.errstate(over="ignore", invalid="ignore"):  # seen to by the solver
            values, right = (self._eliminated if self._frozen else self._both)(at, along)
        unknowns = np.repeat(self._kept, self._kinds)

        def extra(part: np.ndarray) -> np.ndarray:
            whole = np.zeros(len(unknowns))
            whole[unknowns] = part
            return self._beside(at, whole.reshape(-1, self._kinds)).ravel()[unknowns]

        alone = at.f is None and at.reaction is None
        x = np.zeros(len(unknowns))
        x[unknowns] = self._direct.solve(values, right.ravel()[unknowns], None if alone else extra)
        if not self._frozen:
            return x[::2], x[1::2]
        return x, at.across * x - at.gap + self._field_change(at, at.along * x)

    def close(self) -> None:
        """Free the matrix and its factors."""
        if self._direct is not None:
            self._direct.close()

    def _both(self, at: Linearised, along: np.ndarray) -> tuple[list[np.ndarray], np.ndarray]:
        """Entries and right-hand side (n, 2); so ordered, neither diagonal is ever zero."""
        m, (i, j) = self._flow.masses, self._flow.local_pairs.T
        first, second, ratio = at.by_first, at.by_second, along[j] / along[i]
        stiff_i, stiff_j = at.stiff / along[i], at.stiff / along[j]
        values = [m, m * at.across, -m]
        values += [first, second * ratio, stiff_i, -stiff_i, -at.of_first, at.of_first]
        values += [-first / ratio, -second, -stiff_j, stiff_j, -at.of_second, at.of_second]
        if at.reaction is not None:
            more = 1.0 + at.reaction.growth
            values[0], values[2] = values[0] * more, values[2] * more
            values.append(at.reaction.rate * m * at.reaction.density / at.along)
        return values, np.stack([-at.moved / at.along, m * at.gap], axis=1)

    def _beside(self, at: Linearised, x: np.ndarray) -> np.ndarray:
        """What the network and the change of c add to the rows (n, kinds) of unknowns alike."""
        m, by, rows = self._flow.masses, at.along * x[:, 0], np.zeros_like(x)
        field = self._field_change(at, by)
        if self._frozen:
            change = at.across * x[:, 0] + field
            rows[:, 0] = self._divergence(at, field) / at.along
        else:
            change = x[:, 1]
            rows[:, 1] = m * field
        if at.reaction is not None:
            rate, growth = at.reaction.rate, at.reaction.growth
            mean = self._mean(at.reaction, by * growth / rate + at.reaction.density * change)
            there = rate * m * at.reaction.density / at.along
            if self._frozen:
                rows[:, 0] += there * (field - mean)
            else:
                rows[:, 0] -= there * mean
                rows[:, 1] += m * growth * mean
        return rows

    def _mean(self, reaction: Reaction, weighted: np.ndarray) -> float:
        """∫ of values times densities (n,), for a mass of one."""
        m = self._flow.masses
        parts = np.array([m @ weighted, m @ reaction.density])
        return float(np.divide(*sum_over_ranks(self._flow.comm, parts)))

    def _eliminated(self, at: Linearised, along: np.ndarray) -> tuple[list[np.ndarray], np.ndarray]:
        """Entries and right-hand side (n,) with δφ = across v − gap."""
        flow, (i, j) = self._flow, self._flow.local_pairs.T
        across = flow.shared(at.across)
        by_i = at.by_first * along[i] + at.stiff * across[i]
        by_j = at.by_second * along[j] - at.stiff * across[j]
        m, right = flow.masses, self._divergence(at, at.gap) - at.moved
        values = [m, by_i / along[i], by_j / along[i], -by_i / along[j], -by_j / along[j]]
        if at.reaction is not None:
            there = at.reaction.rate * m * at.reaction.density
            values[0] = m * (1.0 + at.reaction.growth) + there * at.across / at.along
            right += there * (at.gap - self._mean(at.reaction, at.reaction.density * at.gap))
        return values, right / at.along

    def _divergence(self, at: Linearised, values: np.ndarray) -> np.ndarray:
        """div(M ∇) of values (n,)."""
        i, j = self._flow.local_pairs.T
        around = self._flow.shared(values)
        flux = at.stiff * (around[i] - around[j])
        return self._flow.scattered(flux, -flux)

    def _field_change(self, at: Linearised, by: np.ndarray) -> np.ndarray:
        """δF' (n,) of the network, of densities changed by (n,)."""
        if at.f is None:
            return np.zeros_like(by)
        flow = self._flow
        return flow.features.field(flow.energy.dual_change(at.f, flow.predictions(by)))

    def _keep(self, needed: np.ndarray) -> None:
        """Have a matrix for the vertices needed (n,), and no more than few others."""
        flow = self._flow
        counts = [(needed & ~self._kept).sum(), needed.sum(), self._kept.sum()]
        missing, wanted, kept = sum_over_ranks(flow.comm, np.array(counts, dtype=float))
        if self._direct is not None and missing == 0 and wanted >= _SPARE * kept:
            return
        for _ in range(_HALO):
            needed = ringed(flow, needed)
        self.close()
        self._kept = needed
        count = int(needed.sum())
        first = flow.comm.exscan(count) or 0
        number = np.where(needed, first + np.cumsum(needed) - 1, -1.0)
        number = self._kinds * flow.shared(number).astype(PETSc.IntType)  # < 0: left out
        own, (i, j) = number[: flow.size], number[flow.local_pairs].T
        if self._frozen:
            rows, columns = [own, i, i, j, j], [own, i, j, i, j]
        else:
            rows, columns = [own, _next(own), _next(own)], [own, own, _next(own)]
            for row in (i, j):
                rows += [row, row, row, row, _next(row), _next(row)]
                columns += [i, j, _next(i), _next(j), _next(i), _next(j)]
            if flow.problem.birth_death > 0:
                rows, columns = [*rows, own], [*columns, _next(own)]
        self._direct = _Direct(flow.comm, self._kinds, count, rows, columns)


def ringed(flow: VertexFlow, chosen: np.ndarray) -> np.ndarray:
    """The vertices chosen (n,) and their neighbours."""
    i, j = flow.local_pairs.T
    around = flow.shared(chosen.astype(float))
    return chosen | (flow.scattered(around[j], around[i]) > 0)


def _next(number: np.ndarray) -> np.ndarray:
    return np.where(number < 0, number, number + 1)


class _Direct:
    """A sparse matrix of given entries, factorised; entries with an index < 0 are left out.

    It has `kinds` unknowns for each of this rank's `count` vertices.
    """

    def __init__(
        self,
        comm: MPI.Comm,
        kinds: int,
        count: int,
        rows: list[np.ndarray],
        columns: list[np.ndarray],
    ) -> None:
        self._comm, self._kinds, owned = comm, kinds, kinds * count
        self._matrix = matrix = PETSc.Mat().createAIJ(((owned, None), (owned, None)), comm=comm)
        matrix.setPreallocationCOO(np.concatenate(rows), np.concatenate(columns))
        self._x, self._b = matrix.createVecs()
        self._factorise()

    def _factorise(self) -> None:
        self._ksp = ksp = PETSc.KSP().create(self._comm)
        ksp.setOperators(self._matrix)
        ksp.setType("preonly")
        pc = ksp.getPC()
        pc.setType("lu")
        pc.setFactorSolverType("mumps")
        pc.setFactorSetUpSolverType()
        factors = pc.getFactorMatrix()
        factors.setMumpsIcntl(14, _MORE_MEMORY)
        for scaled in (6, 8):  # the rows are, and diagonals are not zero: no more of that
            factors.setMumpsIcntl(scaled, 0)
        if self._comm.size == 1:
            factors.setMumpsIcntl(7, _AMF)
            factors.setMumpsIcntl(15, -self._kinds)  # unknowns of a vertex are ordered together

    def solve(self, values: list[np.ndarray], right: np.ndarray, extra: Extra | None) -> np.ndarray:
        """x with (matrix + extra) x = right; NaN where there is none."""
        fine = all(np.isfinite(part).all() for part in (*values, right))
        if not self._comm.allreduce(fine, MPI.LAND):
            return np.full_like(right, np.nan)
        self._matrix.setValuesCOO(np.concatenate(values))
        self._ksp.setOperators(self._matrix)
        self._b.setArray(right)
        try:
            solve(self._ksp, self._b, self._x, extra)
        except PETSc.Error:  # MUMPS gives a hopeless matrix up, and leaves its vectors locked
            self._x, self._b = self._matrix.createVecs()
            self._x.set(np.nan)
        if not np.isfinite(self._x.norm()):  # and is of no use afterwards
            self._ksp.destroy()
            self._factorise()
        return self._x.getArray().copy()

    def close(self) -> None:
        """Free the matrix and its factors."""
        for thing in (self._ksp, self._matrix, self._x, self._b):
            thing.destroy()
