"""Does the mesh fit the problem? Asked before anything is computed."""

from __future__ import annotations

import os
from collections.abc import Callable

import numpy as np
from dolfinx import mesh as dmesh
from mpi4py import MPI

from ddpde.errors import MeshError, ProblemError
from ddpde.problem import Problem
from ddpde.space import bounding_box

_ROUNDING = 1e-12  # of the largest density: as much below zero is none
_TINY_MASS = 1e-3  # of the initial law outside the mesh: more is refused


def check_mesh(problem: Problem, mesh: dmesh.Mesh) -> None:
    """Dimension and range of the mesh against the problem's coordinates; MeshError."""
    if not isinstance(mesh, dmesh.Mesh):
        raise MeshError(f"{mesh!r} is no mesh", "a recipe's build() makes one, as does ddpde.box")
    if mesh.geometry.dim != problem.mesh_dim:
        raise MeshError(
            f"a {mesh.geometry.dim}D mesh for a problem with {problem.mesh_dim} "
            f"coordinate{'s' if problem.mesh_dim > 1 else ''} ({', '.join(problem.labels)})",
            f"give a {problem.mesh_dim}D mesh",
        )
    least, most = bounding_box(mesh)
    for axis, period in enumerate(problem.periods):
        if period is None:
            continue
        if abs(most[axis] - least[axis] - period) > 1e-9 * period:
            raise MeshError(
                f"the mesh spans {most[axis] - least[axis]:g} in {problem.labels[axis]}, "
                f"whose period is {period:g}",
                "let it span exactly one period",
            )
    for j, (label, allowed) in enumerate(zip(problem.labels, problem.lower, strict=True)):
        low = least[j]
        if low < allowed - 1e-12:
            raise MeshError(
                f"the mesh reaches {low:g} in {label}, below the least value {allowed:g}",
                "move its lower end",
            )


def initial_density(problem: Problem, comm: MPI.Comm) -> Callable[[np.ndarray], np.ndarray]:
    """ρ₀ at mesh coordinates (n, k) -> (n,); ProblemError where it is no density.

    All ranks of `comm` call it alike, and what is wrong on one is raised on all.
    """

    def checked(points: np.ndarray) -> np.ndarray:
        values = np.asarray(problem.initial_density(points))
        wrong = ""
        if values.shape != (len(points),):
            wrong = f"has the shape {values.shape} at {len(points)} points"
        elif not np.isfinite(values).all():
            at = points[np.flatnonzero(~np.isfinite(values))[0]]
            wrong = f"is not finite at {at.tolist()}"
        elif values.size and values.min() < -_ROUNDING * values.max():
            at = points[values.argmin()]
            wrong = f"is negative, {values.min():.6g} at {at.tolist()}"
        found = next(filter(None, comm.allgather(wrong)), "")
        if found:
            raise ProblemError(
                f"the initial law's density {found}",
                "give the initial law a density that is finite and >= 0 everywhere on the mesh",
            )
        return values

    return checked


def check_mass(mass: float) -> float:
    """The part of the initial law that the mesh misses; MeshError where it is not small.

    The law is rescaled to the problem's mass; the missing part belongs in the error budget.
    """
    if not mass < 1.0 + _TINY_MASS:
        raise MeshError(
            f"the initial law has the mass {mass:.6g} on the mesh, which should be one",
            "normalise its density, which has to be integrable; refine the mesh where it is large",
        )
    if not abs(mass - 1.0) < _TINY_MASS:
        raise MeshError(
            f"the mesh carries {mass:.6g} of the initial law's mass",
            "enlarge the mesh, or refine it where the initial law is concentrated",
        )
    return abs(mass - 1.0)


def check_memory(comm: MPI.Comm, features: int, others: int) -> float:
    """Refuse what cannot fit: the numbers that features and all else keep, on every rank.

    Returns the bytes that this rank will need beside what it has.
    """
    needed = 8.0 * (features + others)
    free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    short = comm.allreduce(needed / free, MPI.MAX)
    if short > 1.0:
        raise ProblemError(
            f"about {needed / 1e9:.1f} GB a rank are needed, {8e-9 * features:.1f} of them for the "
            f"features on the mesh; {free / 1e9:.1f} GB are free",
            "take fewer cells, a lower degree, fewer data nodes, or more ranks on more machines",
        )
    return needed
