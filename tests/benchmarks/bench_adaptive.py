"""Narrow Gaussians in a wide box: an adaptive mesh against the uniform one, cells and seconds.

Ornstein–Uhlenbeck ∂_t ρ = ∇·(xρ) + ½Δρ from N(1.5, σ² I) to t = 0.1. The uniform mesh is the
coarsest on which the initial law is as accurate as the adaptive run is at its worst; same degree,
same tolerance of the time steps. Errors are the largest in L1 over all output times.

    python tests/benchmarks/bench_adaptive.py
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from itertools import count

import numpy as np
from workprecision import head

START, TEMPERATURE = 1.5, 0.5
TIMES = (1e-3, 1e-2, 0.1)


@dataclass(frozen=True)
class Setting:
    """σ of the initial law, half the box, coarsest cells a direction, degree, tolerance."""

    dim: int
    cell: str | None
    std: float
    half: float
    cells: int
    degree: int
    adapt: float
    repeats: int


SETTINGS = (
    Setting(1, None, 0.02, 6.0, 12, 3, 1e-3, 3),
    Setting(1, None, 0.02, 6.0, 12, 5, 1e-4, 3),
    Setting(2, "quadrilateral", 0.02, 6.0, 12, 4, 5e-3, 1),
    Setting(2, "triangle", 0.1, 6.0, 12, 3, 2e-2, 1),
    Setting(3, "hexahedron", 0.25, 4.0, 4, 3, 1e-1, 1),
)


def error(law, std: float) -> float:  # type: ignore[no-untyped-def]
    """∫ |ρ_h − ρ| at the law's time."""
    from ddpde.space.quadrature import gauss

    reference, weights = gauss(law.cell, 2 * law.degree + 6)
    decay = np.exp(-law.time)
    variance = (std * decay) ** 2 + TEMPERATURE * (1 - decay**2)
    x, density, volume = law.at(reference)
    z = ((x - START * decay) ** 2).sum(axis=-1) / variance
    exact = np.exp(-z / 2) / (2 * np.pi * variance) ** (law.gdim / 2)
    return float((np.abs(density - exact) * volume * weights).sum())


def measure(setting: Setting, cells: int, adapt: float | None) -> tuple[float, float, float]:
    """Cells (most), seconds (best) and error (largest)."""
    import ddpde
    from ddpde.problem import GaussianLaw, Problem

    law = GaussianLaw.isotropic(setting.dim, setting.std, START)
    problem = Problem(
        "narrow", law, potential=lambda x: 0.5 * (x * x).sum(axis=1), temperature=TEMPERATURE
    )
    seconds = []
    for _ in range(setting.repeats if adapt else 1):
        start = time.perf_counter()
        ends = [-setting.half] * setting.dim, [setting.half] * setting.dim
        mesh = ddpde.box(*ends, cells=[cells] * setting.dim, cell=setting.cell)
        run = ddpde.solve(
            problem,
            mesh,
            times=TIMES,
            degree=setting.degree,
            rtol=1e-2 * setting.adapt,
            adapt=adapt,
        )
        seconds.append(time.perf_counter() - start)
    most = max(run.history.get("cells", [run.settings["cells"]]))
    return most, min(seconds), max(error(law, setting.std) for law in run.laws)


def enough(setting: Setting, accuracy: float) -> int:
    """Cells a direction of a uniform mesh that carries the initial law to this L1 error."""
    import ddpde
    from ddpde.problem import GaussianLaw
    from ddpde.space import Law, Space

    density = GaussianLaw.isotropic(setting.dim, setting.std, START).density
    ends = START - 6 * setting.std, START + 6 * setting.std  # all of it: the cell size decides
    for cells in count(4):
        box = [[end] * setting.dim for end in ends]
        mesh = ddpde.box(*box, cells=[cells] * setting.dim, cell=setting.cell)
        space = Space(mesh, setting.degree)
        values = space.project(density)
        law = Law(0.0, space.cell, setting.degree, 1, space.geometry, values)
        if error(law, setting.std) <= accuracy:
            return round(2 * setting.half * cells / (ends[1] - ends[0]))
    raise AssertionError


def main() -> None:
    print(__doc__.splitlines()[0])
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} at the start")
    head("case", "mesh", "cells", "s", "L1 error", "cells, uniform / adaptive", "seconds")
    for setting in SETTINGS:
        few, quick, fine = measure(setting, setting.cells, setting.adapt)
        many, slow, same = measure(setting, enough(setting, fine), None)
        name = f"{setting.dim}D {setting.cell or 'interval'}, σ = {setting.std:g}, degree "
        name += f"{setting.degree}, adapt {setting.adapt:g}"
        print(f"| {name} | adaptive | {few} | {quick:.2f} | {fine:.1e} | | |", flush=True)
        ratios = f"{many / few:.3g} | {slow / quick:.3g}"
        print(f"| | uniform | {many} | {slow:.2f} | {same:.1e} | {ratios} |", flush=True)
    print(f"load {os.getloadavg()[0]:.1f} at the end")


if __name__ == "__main__":
    main()
