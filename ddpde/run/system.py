"""What the time loop advances: the flow on its mesh, its integrator, and what mends both."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from typing import Any

from dolfinx import mesh as dmesh
from mpi4py import MPI
from petsc4py import PETSc

from ddpde.errors import MeshError, ProblemError
from ddpde.flow import EulerianFlow, SemiDiscrete
from ddpde.flow.checks import check_mesh
from ddpde.problem import Problem
from ddpde.run.adaptation import Adaptation
from ddpde.run.options import SPACES, SolverOptions
from ddpde.space import Space
from ddpde.step import (
    JKO_METHODS,
    METHODS,
    Descent,
    JkoStepper,
    MethodOfLines,
    OnStep,
    Stepper,
    check_energy,
)

_LARGEST = PETSc.NormType.INFINITY


class System:
    """A problem discretised in space and time, on the mesh given or on those that follow its law.

    `flow` is the present one; `good` is its state before the step being made, to which a failure
    falls back. Raises ProblemError and MeshError where `options` do not fit.
    """

    def __init__(self, problem: Problem, mesh: dmesh.Mesh, options: SolverOptions) -> None:
        check_mesh(problem, mesh)
        if options.jko:
            check_energy(options.method, problem)
        self._problem, self._options = problem, options
        self._adaptation = _adaptation(problem, mesh, options)
        if self._adaptation:
            self.flow: Any = self._adaptation.flow
            self._mesh = self._adaptation.flow.space.mesh
        else:
            _must_share(mesh)
            build = JKO_METHODS[options.method].flow if options.jko else SPACES[options.space]
            self.flow = build(problem, mesh, options.degree, options.feature_tolerance)
            self._mesh = mesh
        self.method = _method(options, self.flow)
        self._begin()

    def _begin(self, previous: MethodOfLines | None = None) -> None:
        """Integrate the present flow from its state."""
        options, flow = self._options, self.flow
        self._lines: MethodOfLines | None = None
        if options.jko:
            assert options.dt is not None
            given = {} if options.inner_steps is None else {"inner_steps": options.inner_steps}
            step = JKO_METHODS[self.method].step(flow, **given)
            self.stepper: Stepper = JkoStepper(flow, step, options.dt)
        else:
            self.stepper = self._lines = MethodOfLines(
                flow, METHODS[self.method], rtol=options.rtol, dt=options.dt, previous=previous
            )
        self.good = flow.state.copy()
        self._descent = self._judge()

    def _judge(self) -> Descent | None:
        """What holds the free energy down; None where it falls by itself, or need not fall."""
        if self._lines is None or self._problem.noise is not None:
            return None
        energy = self.flow.diagnostics(self.flow.state)["free_energy"]
        return Descent(self.flow, self._lines, energy, adaptive=self._options.dt is None)

    @property
    def adaptive(self) -> bool:
        """Whether the method of lines chooses its own steps."""
        return self._lines is not None and self._options.dt is None

    def settings(self) -> dict[str, Any]:
        """The options and what came of them, for the record of the run."""
        mesh = self._mesh
        return {
            **asdict(self._options),
            "method": self.method,
            "problem": self._problem.name,
            "parameters": self._problem.parameters,
            "terms": self._problem.terms,
            "cells": mesh.topology.index_map(mesh.topology.dim).size_global,
            "cell": mesh.topology.cell_name(),
            "unknowns": self.flow.state.getSize(),
            "features": self.flow.energy.size,
            "feature_error": self.flow.feature_error,
            "ranks": mesh.comm.size,
        }

    def scalars(self, u: PETSc.Vec) -> dict[str, float]:
        """What is recorded of the state u."""
        cells = {"cells": self._adaptation.cells} if self._adaptation else {}
        return self.flow.diagnostics(u) | cells | self.stepper.status

    def advance(self, stop: float, on_step: OnStep, interrupted: Callable[[], bool]) -> bool:
        """Go on to s = `stop`, on as many meshes as it takes; False where on_step ended it."""
        while not self.stepper.advance(stop, on_step):
            if not self._adaptation or not self._adaptation.due or interrupted():
                return False
            self.flow, old = self._adaptation.follow(), self._lines
            assert old is not None
            self._begin(previous=old)  # each mesh has its own free energy
            old.close()
        return True

    def judged(self, u: PETSc.Vec) -> dict[str, float] | None:
        """The scalars after a step, which may be mended; None where it will be repeated."""
        row = self.scalars(u)
        if self._descent:
            if not self._descent.accepts(u, self.good, row["free_energy"]):
                return None
            if self.stepper.status["corrected"]:
                row = self.scalars(u)
        return row

    def within(self) -> Callable[[float], PETSc.Vec]:
        """In an adaptive step: the states inside it, by their times s."""
        assert self._lines is not None
        return self._lines.within(self.good)

    def change(self, u: PETSc.Vec) -> float:
        """By how much the step to u changed the state, relative to its peak."""
        change = self.good.copy()
        change.axpy(-1.0, u)
        return change.norm(_LARGEST) / u.norm(_LARGEST)

    def settle(self, u: PETSc.Vec) -> bool:
        """The step to u is done with; whether the mesh should change before the next."""
        u.copy(self.good)
        if self._adaptation is None:
            return False
        assert self._lines is not None
        self._adaptation.consider(u)
        self._lines.rescale()  # a law that starts narrow has a peak that soon means nothing
        return self._adaptation.due

    def close(self) -> None:
        """Free what PETSc holds."""
        self.stepper.close()


def _must_share(mesh: dmesh.Mesh) -> None:
    """Each rank has cells, or MeshError on all of them."""
    cells = mesh.topology.index_map(mesh.topology.dim)
    if mesh.comm.allreduce(cells.size_local, MPI.MIN) == 0:
        raise MeshError(
            f"{cells.size_global} cells on {mesh.comm.size} ranks: some would have none",
            "take fewer ranks, or more cells",
        )


def _adaptation(problem: Problem, mesh: dmesh.Mesh, options: SolverOptions) -> Adaptation | None:
    """What changes the mesh as the law moves; None where it stays."""
    if options.adapt is None and options.grow is None:
        return None
    if options.space != "eulerian":
        raise ProblemError(
            f"adapt and grow do not go with space = {options.space!r}", 'use space = "eulerian"'
        )
    return Adaptation(
        problem,
        Space(mesh, options.degree, problem.periods),
        partial(EulerianFlow, problem, degree=options.degree, tolerance=options.feature_tolerance),
        tolerance=options.adapt,
        depth=options.adapt_depth,
        rim=options.grow,
    )


def _method(options: SolverOptions, flow: SemiDiscrete) -> str:
    """The method's name: the one asked for, or what "auto" stands for."""
    if options.jko:
        return options.method
    diffuses = flow.diffusion is not None or flow.nonlinear is not None
    if options.method == "auto":
        if diffuses:
            return "imex4"
        return "rk8" if options.space == "lagrangian" else "rk5"
    if METHODS[options.method].implicit != diffuses:
        fitting = [name for name, m in METHODS.items() if m.implicit == diffuses]
        raise ProblemError(
            f"method = {options.method!r} does not fit: the problem has "
            f"{'' if diffuses else 'no '}diffusion",
            f"one of: auto, {', '.join(fitting)}",
        )
    return options.method
