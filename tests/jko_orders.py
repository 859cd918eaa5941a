"""Orders in τ of every JKO method on every problem of reference that it can do.

    python tests/jko_orders.py [METHOD …]

prints the table of docs/jko.md: slopes of the law's change from τ to τ/2, on
one mesh.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass

import basix
import numpy as np
from jko_iterates import gravity
from mpi4py import MPI  # noqa: F401

import ddpde
from ddpde.problem import DensityLaw, Problem
from ddpde.problem.catalogue import ornstein_uhlenbeck
from ddpde.problem.classics import porous_medium
from ddpde.space import Law
from ddpde.step import JKO_METHODS


def eighth() -> Problem:
    """Barenblatt's profile in space, its part with coordinates ≥ 0: mass 1, so 8 times as dense,
    and 8 times as fast."""
    whole = porous_medium(3)
    density = DensityLaw(3, lambda x: 8.0 * whole.initial_density(x))
    return Problem("porous_medium", density, internal=whole.internal)


@dataclass(frozen=True)
class Study:
    """A problem, ends of its mesh, cells a direction, the time it takes, steps of the first run.

    fewer: cells of the methods that solve for paths; inner: inner steps of their second-order one.
    entropic: cells and steps of that method at temperature 0, where the mesh sets γ: one with which
    γ stays the same, and steps for which the kernel is wider than a cell, or all narrower.
    """

    problem: Problem
    lower: tuple[float, ...]
    upper: tuple[float, ...]
    cells: int
    t_end: float
    steps: int
    fewer: int
    inner: int = 4
    entropic: tuple[int, int] | None = None


STUDIES = {
    "Ornstein–Uhlenbeck": Study(ornstein_uhlenbeck((0.0,), (1.0,)), (-6,), (6,), 160, 1.0, 32, 100),
    "Barenblatt, d = 1": Study(
        porous_medium(1), (-3.6,), (3.6,), 160, 1.0, 8, 80, entropic=(190, 8)
    ),
    "Barenblatt, d = 2": Study(
        porous_medium(2), (-2.4,) * 2, (2.4,) * 2, 28, 1.0, 8, 24, 3, (28, 256)
    ),
    "Barenblatt, d = 3": Study(eighth(), (0,) * 3, (2.25,) * 3, 9, 0.125, 8, 8, 3, (9, 128)),
    "gravity": Study(gravity(), (0,), (1,), 160, 0.2, 64, 60),
}
MORE = {
    "jko": 8,
    "jko-upwind": 8,
    "jko-bdf2": 4,
}  # steps, where they are cheap and fronts take them


def able(method: str, name: str) -> bool:
    """Whether the method does the problem."""
    return len(STUDIES[name].lower) == 1 or not method.startswith("jko-quantile")


def distance(one: Law, other: Law) -> float:
    """L1 of densities on one mesh; W₂ where these have moved with the law."""
    if one.moved:
        x, masses = one.points(2 * one.degree)
        return float(np.sqrt(masses @ (x - other.points(2 * one.degree)[0])[:, 0] ** 2))
    nodes = basix.make_quadrature(basix.CellType[one.cell], 3)[0]
    (_, density, volume), (_, compared, _) = one.at(nodes), other.at(nodes)
    return float(np.sum(np.abs(density - compared) * volume) / len(nodes))


def slope(method: str, study: Study) -> float:
    """Of three runs, each with steps half as long as those of the one before."""
    cells, steps, settings, found = study.cells, study.steps * MORE.get(method, 1), {}, []
    if method.startswith("jko-quantile"):
        cells = 24
    if method.startswith("jko-dynamic"):
        cells = study.fewer
        settings["inner_steps"] = study.inner if method == "jko-dynamic-bdf2" else 2
    if method == "jko-entropic" and study.entropic:
        cells, steps = study.entropic
    for halved in range(3):
        mesh = ddpde.box(study.lower, study.upper, cells=(cells,) * len(study.lower))
        tau = study.t_end / (steps * 2**halved)
        run = ddpde.solve(
            study.problem, mesh, times=[study.t_end], degree=4, method=method, dt=tau, **settings
        )
        found.append(run.laws[-1])
    return float(np.log2(distance(*found[:2]) / distance(*found[1:])))


def main(methods: list[str]) -> None:
    print("| method | " + " | ".join(STUDIES) + " |\n|" + " --- |" * (len(STUDIES) + 1))
    for method in methods or JKO_METHODS:
        row = [
            f"{slope(method, study):.2f}" if able(method, name) else ""
            for name, study in STUDIES.items()
        ]
        print(f"| `{method}` | " + " | ".join(row) + " |", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
