"""A mesh that follows the law, and a box that grows before the law reaches its end.

After each step the L1 error of the density on its mesh is estimated, cell by cell, from the decay
of the coefficients. Where it is too large, or could be afforded with far fewer cells, the mesh is
changed so that all cells have about the same error, a small part of the tolerance together, and the
density is projected onto the new mesh.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from petsc4py import PETSc

from ddpde.comm import log
from ddpde.errors import MeshError, ProblemError, SolverError
from ddpde.flow import EulerianFlow
from ddpde.flow.checks import bounding_box, check_mesh, initial_density
from ddpde.problem import Problem
from ddpde.space import AdaptiveMesh, Space, adaptive_mesh

_AIM = 0.15  # of the tolerance: what a new mesh is made for
_MOST = 0.4  # of the tolerance: with more the mesh is changed; the solution errs more than its fit
_LOST = 5.0  # times the tolerance, or _PART of the law: with more on the smallest cells a run ends
_PART = 0.1
_WORTHWHILE = 0.7  # of the cells: a mesh with more is not worth the change
_PATIENCE = 5  # steps between two looks at what could be saved
_DRAWS = 4096  # of the initial law, which show where to look for it
_CROWD = 0.2  # part of the draws in a piece beyond which it is halved unseen
_LOOSEST = 16  # powers of two by which a piece's error may exceed the mean, or fall below
_STRIDE = 3  # halvings of a piece, or doublings, at a time
_ROUNDS = 20  # of growth for the initial law


class Adaptation:
    """The flow of `problem` on meshes that follow its law.

    space: of the density on the user's mesh; build: the flow on a mesh, from its `start`
    coefficients or the initial law. tolerance: of the law's L1 error on its mesh, None to keep the
    mesh as it is; depth: how often a cell of the given mesh may be halved; rim: the mass in the
    cells at an end of the box beyond which it grows there, None for never.
    """

    def __init__(
        self,
        problem: Problem,
        space: Space,
        build: Callable[..., EulerianFlow],
        *,
        tolerance: float | None,
        depth: int,
        rim: float | None,
    ) -> None:
        check_mesh(problem, space.mesh)
        self._problem, self._build = problem, build
        self._tolerance, self._rim = tolerance, rim
        self._warned = False
        self._error = 0.0  # of the law on its mesh, as last estimated
        self._age = 0  # steps since the mesh was last looked at closely
        depth = depth if tolerance is not None else 0
        self._now = adaptive_mesh(space, depth)
        if rim is not None and not self._now.may_grow:
            raise MeshError(
                "this mesh cannot grow",
                "take a box of intervals, quadrilaterals or hexahedra, or leave grow out",
            )
        self._seek(depth)
        self._next = self._now
        self.flow = build(mesh=self._now.space.mesh, space=self._now.space)

    @property
    def due(self) -> bool:
        """Whether `consider` found that the mesh should change."""
        return self._next is not self._now

    @property
    def cells(self) -> int:
        """The number of cells of the present mesh, on all ranks."""
        mesh = self.flow.space.mesh
        return mesh.topology.index_map(mesh.topology.dim).size_global

    def consider(self, u: PETSc.Vec) -> None:
        """Look at the density after a step; SolverError where no mesh allowed can hold it."""
        self._age += 1
        coefficients = u.getArray(readonly=True).reshape(self.flow.local_shape)
        self._next = self._changed(coefficients, patient=self._age < _PATIENCE)
        if not self.due:
            self._must_resolve()

    def follow(self) -> EulerianFlow:
        """The flow on the mesh that is due, its state the law so far."""
        old, new = self._now, self._next
        u = self.flow.state.getArray(readonly=True).reshape(self.flow.local_shape)
        flow = self._build(mesh=new.space.mesh, space=new.space, start=old.transfer(u, new))
        flow.truncated_mass = self.flow.truncated_mass
        before, after = bounding_box(old.space.mesh), bounding_box(new.space.mesh)
        if not np.array_equal(before, after):
            log.info(
                "the box grows to %s",
                " × ".join(f"[{a:g}, {b:g}]" for a, b in zip(*after, strict=True)),
            )
        self._now, self.flow = new, flow
        return flow

    def _changed(self, u: np.ndarray, *, patient: bool) -> AdaptiveMesh:
        """The mesh that the coefficients u ask for; the present one where it will do."""
        now = new = self._now
        if self._tolerance is not None:
            errors = now.errors(u)
            self._error = now.total(errors)
            coarse = self._error > _MOST * self._tolerance
            if coarse or not patient:
                self._age = 0
                halvings = self._halvings(errors, self._tolerance)
                few = _WORTHWHILE * now.cells(np.zeros_like(halvings))
                if now.cells(halvings) < few or (coarse and now.total(halvings > 0)):
                    new = now.changed(halvings)
                elif coarse:
                    self._warn(self._error)
        if self._rim is not None:
            sides = now.rims(u) > self._rim
            sides[[period is not None for period in self._problem.periods]] = False
            new = new.grown(sides.astype(int), self._problem.lower)
        return new

    def _halvings(self, errors: np.ndarray, tolerance: float) -> np.ndarray:
        """How often to halve each piece (negative: to double it).

        All pieces get about the same error, as large as the total allows.
        """
        mesh, aim = self._now, _AIM * tolerance
        order = mesh.space.degree + 1
        size = np.log2(np.maximum(errors, 1e-300))
        equal = np.log2(aim / mesh.total(np.ones_like(errors)))
        highest = np.minimum(mesh.room, _STRIDE)

        def to(limit: float) -> np.ndarray:
            wanted = np.ceil((size - limit) / (order + mesh.gain))
            return np.clip(wanted, -_STRIDE, highest).astype(int)

        for relaxed in range(_LOOSEST, -_LOOSEST, -1):
            halvings = to(equal + relaxed)
            if mesh.total(errors * 2.0 ** (-order * halvings)) <= aim:
                return halvings
        return to(equal)  # the smallest cells do not suffice

    def _warn(self, error: float) -> None:
        """Say once that the smallest cells are too large."""
        assert self._tolerance is not None
        if error > self._tolerance and not self._warned:
            self._warned = True
            log.warning(
                "the cells are as small as adapt_depth lets them be, and the law's L1 error is "
                "about %.2g, not %.2g",
                error,
                self._tolerance,
            )

    def _must_resolve(self) -> None:
        """A law far narrower than the smallest cells would go on in ever so many short steps."""
        if self._tolerance is None:
            return
        error = self._error
        if error > max(self._tolerance, min(_LOST * self._tolerance, _PART)):
            raise SolverError(
                "the law has become narrower than the smallest cells (in a layer at a wall?): "
                f"its L1 error is about {error:.2g}, and adapt = {self._tolerance:g}",
                "raise adapt_depth, adapt or the temperature; at temperature 0 "
                'space = "lagrangian" follows such laws; without adapt the run goes on',
            )

    def _seek(self, depth: int) -> None:
        """Find the initial law, which may be far narrower than a cell, or outside the box."""
        draws = self._draws()
        if draws is not None:
            if self._rim is not None:
                self._now = self._now.reaching(draws, self._problem.lower)
            for _ in range(depth if self._tolerance is not None else 0):
                crowded = (self._now.crowds(draws) > _CROWD) & (self._now.room > 0)
                self._now = self._now.changed(crowded.astype(int))
        density = initial_density(self._problem, self._now.space.comm)
        for _ in range(depth + _ROUNDS):
            start = self._now.space.project(density)
            new = self._changed(start, patient=False)
            if new is self._now:
                break
            self._now = new

    def _draws(self) -> np.ndarray | None:
        """Mesh coordinates (n, k) drawn from the initial law; None where it cannot be sampled."""
        law = self._problem.initial
        normals = np.random.default_rng(0).standard_normal((_DRAWS, law.dim))
        try:
            return self._problem.coordinates(law.sample(normals))
        except ProblemError:
            return None
