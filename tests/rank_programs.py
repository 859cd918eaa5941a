"""What each rank does in tests/parallel, one thing after another, so that it starts only once.

    mpirun -n 2 python rank_programs.py FOLDER NAME...

NAME is a folder in FOLDER with a `case.toml`, which `ddpde run` takes, or a function below, whose
result on rank 0 becomes FOLDER/NAME.npy.
"""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
from mpi4py import MPI

import ddpde
from ddpde.cli import app
from ddpde.compare import NegativeSobolev
from ddpde.problem import DensityLaw, GaussianLaw, Problem
from ddpde.problem.classics import TURN, kuramoto

SQUARE = [0, 0], [TURN, TURN]


def fluctuations():
    found = ddpde.fluctuations(
        ddpde.problems.digits_pca(),
        ddpde.box([-4, -4], [4, 4], cells=[8, 7]),
        times=[0.2],
        degree=2,
        rtol=1e-4,
        observables={"product": lambda w: w[:, 0] * w[:, 1]},
    )
    return found.covariance(10, step_size=0.1)[-1].ravel()


def distances():
    mesh = ddpde.box([-4, -4], [4, 4], cells=[8, 7])
    run = ddpde.solve(ddpde.problems.digits_pca(), mesh, times=[0])
    law = run.laws[0] if run.laws else None
    cloud = np.random.default_rng(0).random((3000, 2)).round(2)  # many points on facets
    found = [
        NegativeSobolev(law, ddpde.box([-4, -4], [4, 4], cells=[16, 16], cell=cell))(cloud)
        for cell in ("quadrilateral", "triangle")
    ]
    body = Problem("body", GaussianLaw.isotropic(3, 0.5), potential=lambda t: (t * t).sum(axis=1))
    run = ddpde.solve(body, ddpde.box([-2] * 3, [2] * 3, cells=[4] * 3), times=[0], degree=1)
    law = run.laws[0] if run.laws else None
    cloud = np.random.default_rng(1).random((3000, 3)).round(2)
    tetrahedra = ddpde.box([-2] * 3, [2] * 3, cells=[5] * 3, cell="tetrahedron")
    return [*found, NegativeSobolev(law, tetrahedra)(cloud)]


def signed():
    def start(t):
        return np.exp(-((t[:, :2] - 0.3) ** 2).sum(axis=1) / 0.18) / (0.36 * np.pi)

    problem = Problem(
        "signed",
        DensityLaw(3, start),
        interaction=lambda a, b: (a[:, :2] @ b[:, :2].T) * a[:, 2:] * b[:, 2],
        potential=lambda a: -a[:, 2] * a[:, 0],
        birth_death=2.0,
        mass=0.5,
        conserved=False,
        temperature=0.02,
    )
    mesh = ddpde.signed(ddpde.box([-2, -2], [2, 2], cells=[9, 8], cell="triangle"))
    run = ddpde.solve(problem, mesh, times=[0.2], degree=2, rtol=1e-4)
    if run.laws:  # on rank 0
        moment = run.laws[-1].expectation(lambda x: x[:, 2] * x[:, 0])
        return [run.free_energy()[-1], run.history["mass"][-1], moment]


def circles():
    """Intervals that adapt, quadrilaterals, triangles; one period and two."""

    def coupling(a, b):
        return -np.cos(a[:, None] - b[None]).sum(axis=2)

    start = DensityLaw(2, lambda x: (1 + 0.5 * np.cos(x[:, 0]) * np.cos(x[:, 1] - 1)) / TURN**2)
    torus = Problem("torus", start, interaction=coupling, temperature=0.3, periods=(TURN, TURN))
    band, strip = _band(), ddpde.box([0, 0], [TURN, 1], cells=[5, 2], cell="triangle")
    rough = {"times": [0.2], "degree": 2, "rtol": 1e-3}
    runs = [
        ddpde.solve(kuramoto(0.1, 1.5), ddpde.interval(0, TURN, cells=6), **rough, adapt=1e-1),
        ddpde.solve(torus, ddpde.box(*SQUARE, cells=[8, 6]), **rough),
        ddpde.solve(torus, ddpde.box(*SQUARE, cells=[4, 3], cell="triangle"), **rough),
        ddpde.solve(band, strip, **rough),
    ]
    if runs[0].laws:
        return np.concatenate([np.append(r.laws[-1].values, r.free_energy()) for r in runs])


def descent():
    """Laws kept from rising."""
    problem = ddpde.problems.ornstein_uhlenbeck((2.0,), (0.7,), 0.5)
    mesh = ddpde.interval(-6, 6, cells=12)
    run = ddpde.solve(problem, mesh, times=[10.0], degree=2, rtol=1e-2)
    assert run.history["corrected"].max() > 0
    if run.laws:
        return [len(run.history["t"]), run.free_energy()[-1], *run.mean()[-1]]


def jko_circles():
    """Intervals, quadrilaterals, triangles; one period and two."""
    start = DensityLaw(
        2, lambda x: (1 + 0.5 * np.cos(x[:, 0] + 0.3) * np.cos(x[:, 1] - 1)) / TURN**2
    )
    torus = Problem(
        "torus",
        start,
        temperature=0.3,
        periods=(TURN, TURN),
        potential=lambda x: np.cos(x[:, 0] - x[:, 1]),
    )
    circle = Problem(
        "circle",
        DensityLaw(1, lambda x: (1 + 0.5 * np.cos(x[:, 0])) / TURN),
        potential=lambda x: np.sin(x[:, 0]),
        temperature=0.3,
        periods=(TURN,),
    )
    triangles, bent = (ddpde.box(*SQUARE, cells=[7, 5], cell="triangle") for _ in range(2))
    at = bent.geometry.x
    at[:, 0] += 0.02 * np.sin(at[:, 0]) * np.sin(at[:, 1])  # no grid
    born = replace(torus, birth_death=1.0)
    line, strip = ddpde.interval(0, TURN, cells=9), ddpde.box([0, 0], [TURN, 1], cells=[5, 3])
    runs = [
        ddpde.solve(circle, line, times=[0.2], method="jko-dynamic-bdf2", dt=0.1, inner_steps=2),
        ddpde.solve(torus, triangles, times=[0.2], method="jko-bdf2", dt=0.1),
        ddpde.solve(_band(), strip, times=[0.1], method="jko-upwind", dt=0.1),
        ddpde.solve(circle, line, times=[0.1], method="jko-entropic", dt=0.1),
        ddpde.solve(torus, bent, times=[0.1], method="jko-entropic", dt=0.1),
        ddpde.solve(born, bent, times=[0.1], method="jko-entropic", dt=0.1),
    ]
    if runs[0].laws:
        columns = "risk", "free_energy", "mass", "boundary_mass"
        found = [[run.laws[-1].values, *(run.history[name] for name in columns)] for run in runs]
        return np.concatenate([np.ravel(part) for parts in found for part in parts])


def _band():
    return Problem(
        "band",
        DensityLaw(2, lambda x: (1 + 0.5 * np.cos(x[:, 0])) / TURN),
        potential=lambda x: x[:, 1] * np.cos(x[:, 0]),
        temperature=0.3,
        periods=(TURN, None),
    )


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    for name in sys.argv[2:]:
        if (folder / name).exists():
            case, out = folder / name / "case.toml", folder / name / "out"
            app(["run", str(case), "--out", str(out)], standalone_mode=False)
        else:
            result = globals()[name]()
            if MPI.COMM_WORLD.rank == 0:
                np.save(folder / f"{name}.npy", result)
