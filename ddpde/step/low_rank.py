"""Sparse linear systems with something of low rank beside the sparse matrix."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from petsc4py import PETSc

from ddpde.step.callbacks import own_errors

Extra = Callable[[np.ndarray], np.ndarray]

_MOST_ITERATIONS = 60
_TOLERANCE = 1e-10


def solve(factors: PETSc.KSP, b: PETSc.Vec, x: PETSc.Vec, extra: Extra | None) -> None:
    """x with (matrix + extra) x = b, from the sparse matrix's factors.

    `extra` maps this rank's part of a vector to its part of another. GMRES takes about as many
    iterations as a network has directions that matter: no dense matrix, no solve a feature.
    """
    if extra is None:
        factors.solve(b, x)
        return
    matrix, _ = factors.getOperators()
    shell = PETSc.Mat().createPython(matrix.getSizes(), _Sum(matrix, extra))
    shell.setUp()
    ksp = PETSc.KSP().create(matrix.getComm())
    ksp.setOperators(shell)
    ksp.setType("gmres")
    ksp.setGMRESRestart(_MOST_ITERATIONS)
    ksp.setTolerances(rtol=_TOLERANCE, atol=1e-300, max_it=_MOST_ITERATIONS)
    ksp.getPC().setType("python")
    ksp.getPC().setPythonContext(_Factors(factors))
    with own_errors():
        ksp.solve(b, x)
    ksp.destroy()
    shell.destroy()


class _Sum:
    """A sparse matrix and something more, as PETSc wants it."""

    def __init__(self, matrix: PETSc.Mat, extra: Extra) -> None:
        self._matrix, self._extra = matrix, extra

    def mult(self, matrix: PETSc.Mat, x: PETSc.Vec, y: PETSc.Vec) -> None:
        self._matrix.mult(x, y)
        with y as array:
            array += self._extra(x.getArray(readonly=True))


class _Factors:
    """The sparse part's factorisation as preconditioner."""

    def __init__(self, ksp: PETSc.KSP) -> None:
        self._ksp = ksp

    def apply(self, pc: PETSc.PC, b: PETSc.Vec, x: PETSc.Vec) -> None:
        self._ksp.solve(b, x)
