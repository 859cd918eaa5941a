"""The linear system of a path of densities and potentials on the vertices of a mesh.

Newton's method on the saddle point of `dynamic_newton` has the symmetric, quasi-definite matrix

    [ D  −Bᵀ ]    D: diagonal, > 0            B: continuity by ρ, in k and k − 1
    [ −B  −A ]    A: Σ a M (φ_i − φ_j)², ≥ 0

for the whole path, and beside it what is not sparse: a network, the means of birth and death. Rows
and columns of ρ_k are multiplied by √ρ_k, those of φ_k divided by it: relative changes, of which
tails have no fewer than the bulk.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from petsc4py import PETSc

from ddpde.comm import sum_over_ranks
from ddpde.flow.vertices import VertexFlow
from ddpde.step.low_rank import solve

_METIS = 5
_MORE_MEMORY = 100  # per cent, for pivots that the analysis does not foresee


class PathReaction(NamedTuple):
    """Birth and death: δ_k α (K,), what of ρ̄_k dies in inner step k (n, K), ρ̄_k (n, K)."""

    rate: np.ndarray
    dying: np.ndarray
    mean: np.ndarray


class PathMatrix:
    """Matrix and factors for K inner steps of a flow.

    new, old (K,): the weights of ρ_k and ρ_{k−1} in the mobility of inner step k.
    """

    def __init__(self, flow: VertexFlow, new: np.ndarray, old: np.ndarray) -> None:
        self._flow, self._new, self._old = flow, new, old
        self._i, self._j = flow.local_pairs.T
        self._matrix = self._pattern()
        self._x, self._b = self._matrix.createVecs()
        self._ksp: PETSc.KSP | None = None
        self._pivots = 0.0
        self._root = np.empty(0)
        self._reaction: PathReaction | None = None

    def fill(
        self,
        diagonal: np.ndarray,
        density: np.ndarray,
        inner: np.ndarray,
        jump: np.ndarray,
        from_i: np.ndarray,
        mobility: np.ndarray,
        reaction: PathReaction | None,
    ) -> None:
        """D (n, K) and densities (n, K) > 0 of the owned vertices, lengths of inner steps (K,);
        of the pairs (e, K): jumps of φ, the share of the first end in the mobility, mobilities.
        """
        flow, m = self._flow, self._flow.masses[:, None]
        self._root, self._reaction = np.sqrt(density), reaction
        root, dies = self._root, reaction.dying if reaction else np.zeros_like(density)
        everywhere = flow.shared(root)
        roots = everywhere[self._i], everywhere[self._j]
        a = inner * flow.transmissibility[:, None]
        stiff, drift = a * mobility, a * jump
        now = -m * (1.0 + self._new * dies)
        then = (m * (1.0 - self._old * dies))[:, 1:] * root[:, :-1] / root[:, 1:]
        values = [diagonal * density, now, now, then, then]
        for row, sign in ((0, -1.0), (1, 1.0)):
            for column, share in ((0, from_i), (1, 1.0 - from_i)):
                same = 1.0 if row == column else -1.0
                values.append(-same * stiff / (roots[row] * roots[column]))
                by = sign * drift * share / roots[row]
                now = by * roots[column] * self._new
                then = (by * self._old)[:, 1:] * roots[column][:, :-1]
                values += [now, now, then, then]
        if reaction is not None:
            values.append(-reaction.rate * m * reaction.mean / density)
        self._matrix.setValuesCOO(np.concatenate([part.ravel() for part in values]))

    def factorise(self, pivots: float) -> None:
        """Factors of what was filled in; `pivots`: MUMPS' threshold, 0 for none."""
        if self._ksp is None or pivots != self._pivots:
            self._new_factors(pivots)
        assert self._ksp is not None
        self._ksp.setOperators(self._matrix)
        self._ksp.setUp()

    def solve(
        self, by_density: np.ndarray, by_potential: np.ndarray, f: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """(δρ, δφ) (n, K) of right-hand sides (n, K).

        f: the means of a network, whose energy at ρ_K is added to D.
        """
        right = np.stack([self._root * by_density, by_potential / self._root], axis=2)
        self._b.setArray(right.ravel())
        assert self._ksp is not None

        def beside(x: np.ndarray) -> np.ndarray:
            changes = x.reshape(right.shape)
            return self._beside(changes[..., 0] * self._root, changes[..., 1] / self._root, f)

        alone = f is None and self._reaction is None
        solve(self._ksp, self._b, self._x, None if alone else beside)
        x = self._x.getArray().reshape(right.shape)
        return self._root * x[..., 0], x[..., 1] / self._root

    def _beside(self, by_rho: np.ndarray, by_phi: np.ndarray, f: np.ndarray | None) -> np.ndarray:
        """The rows of what is not sparse, of changes (n, K): the network; the means c_k of φ_k."""
        flow, m = self._flow, self._flow.masses[:, None]
        of_rho, of_phi = np.zeros_like(by_rho), np.zeros_like(by_phi)
        if f is not None:
            change = flow.energy.dual_change(f, flow.predictions(by_rho[:, -1]))
            of_rho[:, -1] = flow.masses * flow.features.field(change)
        if self._reaction is not None:
            rate, dies, mean = self._reaction
            by_mean = self._new * by_rho
            by_mean[:, 1:] += self._old[1:] * by_rho[:, :-1]
            changed = m * (by_mean * dies / rate + mean * by_phi)
            parts = np.stack([changed.sum(axis=0), (m * mean).sum(axis=0)])
            changed, mass = sum_over_ranks(flow.comm, parts)
            by = m * dies * (changed / mass)
            of_rho += self._new * by
            of_rho[:, :-1] += (self._old * by)[:, 1:]
            of_phi = rate * m * mean * (changed / mass)
        return np.stack([self._root * of_rho, of_phi / self._root], axis=2).ravel()

    def close(self) -> None:
        """Free the matrix and its factors."""
        for thing in (self._ksp, self._matrix, self._x, self._b):
            if thing is not None:
                thing.destroy()

    def _pattern(self) -> PETSc.Mat:
        """Unknowns of a vertex: δρ_1, δφ_1, δρ_2, δφ_2, …, in the order of `fill`."""
        flow, K = self._flow, len(self._new)
        steps = 2 * np.arange(K)
        own = 2 * K * (flow.first + np.arange(flow.size))[:, None] + steps
        ends = [2 * K * end[:, None] + steps for end in flow.pairs.T]
        entries = [(own, own), (own, own + 1), (own + 1, own)]
        entries += [(own[:, 1:] + 1, own[:, :-1]), (own[:, :-1], own[:, 1:] + 1)]
        for row in ends:
            for column in ends:
                entries += [(row + 1, column + 1), (row + 1, column), (column, row + 1)]
                then = row[:, 1:] + 1, column[:, :-1]
                entries += [then, then[::-1]]
        if flow.problem.birth_death > 0:
            entries.append((own + 1, own + 1))
        rows, columns = (
            np.concatenate([part.ravel() for part in parts]).astype(PETSc.IntType)
            for parts in zip(*entries, strict=True)
        )
        sizes = ((2 * K * flow.size, None), (2 * K * flow.size, None))
        matrix = PETSc.Mat().createAIJ(sizes, comm=flow.comm)
        matrix.setPreallocationCOO(rows, columns)
        matrix.setOption(PETSc.Mat.Option.SYMMETRIC, True)
        matrix.setOption(PETSc.Mat.Option.SYMMETRY_ETERNAL, True)
        return matrix

    def _new_factors(self, pivots: float) -> None:
        if self._ksp is not None:
            self._ksp.destroy()
        self._pivots = pivots
        self._ksp = ksp = PETSc.KSP().create(self._flow.comm)
        ksp.setOperators(self._matrix)
        ksp.setType("preonly")
        pc = ksp.getPC()
        pc.setType("cholesky")
        pc.setFactorSolverType("mumps")
        pc.setFactorSetUpSolverType()
        factors = pc.getFactorMatrix()
        factors.setMumpsIcntl(7, _METIS)
        factors.setMumpsIcntl(14, _MORE_MEMORY)
        factors.setMumpsIcntl(15, -2 * len(self._new))  # a vertex is ordered as a whole
        factors.setMumpsCntl(1, pivots)
