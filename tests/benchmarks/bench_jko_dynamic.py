"""JKO steps, 2D Barenblatt (m = 2, radius of the support 0.2 to 0.4): L1 error against seconds.

Each point is a whole `ddpde.solve` with its mesh; `jko-dynamic` with two inner steps.

    python tests/benchmarks/bench_jko_dynamic.py [--rounds 1]
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from workprecision import Point, main, measure

RADII = (0.2, 0.4)
DISC = 0.43  # radius of the mesh: the support stays within
DYNAMIC = [(0.04, 32), (0.03, 48), (0.025, 56)]  # size of triangles, steps
SQUARE = [(37, 32)]  # cells a direction of the square of length one, steps


def dynamic() -> Iterator[Point]:
    """`ddpde.solve(method="jko-dynamic")`, mesh included."""
    import ddpde
    from ddpde.problem import Problem
    from ddpde.problem.classics import Barenblatt
    from ddpde.problem.initial import DensityLaw
    from ddpde.problem.internal import PorousMedium

    one = Barenblatt(2, 2.0, 1.0).radius
    start, end = ((radius / one) ** 4 for radius in RADII)
    problem = Problem(
        name="barenblatt",
        initial=DensityLaw(2, Barenblatt(2, 2.0, start)),
        internal=PorousMedium(2),
    )
    exact = Barenblatt(2, 2.0, end)

    def judge(run: ddpde.Trajectory) -> tuple[float, float]:
        triangles = run.laws[-1].cell == "triangle"
        centre, volume = (1 / 3, 0.5) if triangles else (0.5, 1.0)
        x, density, stretch = run.laws[-1].at(np.array([[centre, centre]]))
        error = np.abs(density - exact(x.reshape(-1, 2)).reshape(density.shape))
        return float((error * stretch).sum() * volume), float(run.history["minimum"].min())

    settings = [
        (f"disc of triangles of {h}", lambda h=h: ddpde.disc(DISC, size=h), steps)
        for h, steps in DYNAMIC
    ]
    settings += [
        (f"{n}² cells", lambda n=n: ddpde.box((-0.5, -0.5), (0.5, 0.5), cells=(n, n)), steps)
        for n, steps in SQUARE
    ]
    for words, mesh, steps in settings:

        def run(mesh=mesh, steps=steps):  # type: ignore[no-untyped-def]
            return ddpde.solve(
                problem,
                mesh(),
                times=[end - start],
                method="jko-dynamic",
                dt=(end - start) / steps,
                inner_steps=2,
            )

        yield measure("jko-dynamic", f"{words}, {steps} steps", run, judge, 2)


if __name__ == "__main__":
    main(__doc__ or "", dynamic, {}, (2.5e-2, 1.5e-2, 1.2e-2))
