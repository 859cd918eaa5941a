"""(κ² − Δ)⁻¹ on the continuous elements of a mesh, without flux through the boundary."""

from __future__ import annotations

import numpy as np
from dolfinx import la
from petsc4py import PETSc

from ddpde.space.matrices import nodal_matrix
from ddpde.space.quadrature import lagrange, tabulate
from ddpde.space.spaces import Space


class ScreenedPoisson:
    """κ² M + K on the potential's nodes, factorised once (Cholesky, MUMPS)."""

    def __init__(self, space: Space, kappa: float) -> None:
        rule = space.quadrature(2 * space.degree + 2)
        element = lagrange(space.cell, space.degree + 1)
        phi, slope = tabulate(element, rule.reference, derivatives=1)
        products = np.einsum("qi,qj->qij", phi, phi)
        mass = np.tensordot(rule.weights, products, axes=1)
        weighted = rule.metric() * rule.reference_weights[:, None, None]
        stiffness = np.einsum("cqab,aqi,bqj->cij", weighted, slope, slope, optimize=True)
        self._space = space
        self._mass = nodal_matrix(space, mass)
        matrix = nodal_matrix(space, kappa**2 * mass + stiffness)
        matrix.setOption(PETSc.Mat.Option.SPD, True)
        self._solver = PETSc.KSP().create(space.comm)
        self._solver.setOperators(matrix)
        self._solver.setType(PETSc.KSP.Type.PREONLY)
        self._solver.getPC().setType(PETSc.PC.Type.CHOLESKY)
        self._solver.getPC().setFactorSolverType("mumps")
        self._solver.setErrorIfNotConverged(True)
        self._solver.setUp()
        self._ghosted = la.vector(space.potential.dofmap.index_map)

    def quadratic(self, load: np.ndarray, power: int) -> float:
        """bᵀ (A⁻¹M)^(power−1) A⁻¹ b, b the load (n_nodes,) with ghosts' parts; on all ranks."""
        self._ghosted.array[:] = load
        self._ghosted.scatter_reverse(la.InsertMode.add)
        left, right = self._mass.createVecs()
        left.setArray(self._ghosted.array[: left.getLocalSize()])
        left.copy(right)
        # half of the powers on either side: the result is a square, or a square in A
        for _ in range(power // 2):
            self._solver.solve(right, left)
            self._mass.mult(left, right)
        if power % 2:
            self._solver.solve(right, left)
            return right.dot(left)
        return left.dot(right)
