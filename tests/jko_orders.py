"""Orders in τ of every JKO method on every problem of reference that it can do.

    python tests/jko_orders.py [METHOD …]

prints the table of docs/jko.md: slopes of the second moment's change from τ to τ/2, on one mesh.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass

import numpy as np
from jko_iterates import gravity
from mpi4py import MPI  # noqa: F401

import ddpde
from ddpde.problem import DensityLaw, Problem
from ddpde.problem.catalogue import ornstein_uhlenbeck
from ddpde.problem.classics import porous_medium
from ddpde.step import JKO_METHODS


def eighth() -> Problem:
    """Barenblatt's profile in space, its part with coordinates ≥ 0: mass 1, so 8 times as dense,
    and 8 times as fast."""
    whole = porous_medium(3)
    density = DensityLaw(3, lambda x: 8.0 * whole.initial_density(x))
    return Problem("porous_medium", density, internal=whole.internal)


@dataclass(frozen=True)
class Study:
    """A problem, its mesh's ends and cells a direction, the time it takes, steps of the first run.

    fewer: cells of the methods that solve for paths; inner: of the second-order one.
    """

    problem: Problem
    lower: tuple[float, ...]
    upper: tuple[float, ...]
    cells: int
    t_end: float
    steps: int = 8
    fewer: int = 0
    inner: int = 4


STUDIES = {
    "Ornstein–Uhlenbeck": Study(ornstein_uhlenbeck((0.7,), (0.5,)), (-6,), (6,), 160, 1.0),
    "Barenblatt, d = 1": Study(porous_medium(1), (-3.6,), (3.6,), 160, 1.0),
    "Barenblatt, d = 2": Study(porous_medium(2), (-2.4,) * 2, (2.4,) * 2, 28, 1.0, fewer=20),
    "Barenblatt, d = 3": Study(eighth(), (0,) * 3, (2.25,) * 3, 9, 0.125, fewer=6),
    "gravity": Study(gravity(), (0,), (1,), 160, 0.2, 16),
}


def second_moment(run: ddpde.Trajectory) -> float:
    law = run.laws[-1]
    x, masses = law.points(max(4, 2 * law.degree))
    return float(masses @ np.sum(x**2, axis=1))


def slopes(method: str, study: Study, runs: int = 4) -> np.ndarray:
    """Of `runs` runs, each with steps half as long as the one before (runs − 2,)."""
    d, cells, settings = len(study.lower), study.cells, {}
    if method.startswith("jko-quantile"):
        cells = 24
    if method.startswith("jko-dynamic"):
        cells = study.fewer or cells
        settings["inner_steps"] = study.inner if method == "jko-dynamic-bdf2" else 2
    found = []
    for k in range(runs):
        mesh = ddpde.box(study.lower, study.upper, cells=(cells,) * d)
        tau = study.t_end / (study.steps * 2**k)
        run = ddpde.solve(
            study.problem, mesh, times=[study.t_end], degree=4, method=method, dt=tau, **settings
        )
        found.append(second_moment(run))
    changes = np.abs(np.diff(found))
    return np.log2(changes[:-1] / changes[1:])


def main(methods: list[str]) -> None:
    print("| method | " + " | ".join(STUDIES) + " |\n|" + " --- |" * (len(STUDIES) + 1))
    for method in methods or JKO_METHODS:
        row = []
        for study in STUDIES.values():
            if method.startswith("jko-quantile") and len(study.lower) > 1:
                row.append("")
                continue
            row.append(", ".join(f"{s:.2f}" for s in slopes(method, study)))
        print(f"| `{method}` | " + " | ".join(row) + " |", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
