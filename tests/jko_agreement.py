"""Every JKO method and the method of lines on the same noiseless networks, as τ → 0.

    python tests/jko_agreement.py

prints the table of docs/jko.md: risk minus that of the Lagrangian method, over the initial risk.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from mpi4py import MPI  # noqa: F401

import ddpde
from ddpde.problem import GaussianInputs, GaussianLaw, Problem
from ddpde.problem.activations import Array, erf
from ddpde.problem.catalogue import isotropic_gaussians
from ddpde.step import JKO_METHODS

STEPS = (0.1, 0.05, 0.025)


@dataclass(frozen=True)
class ErfUnit:
    """σ(x; θ) = a erf(wx/√2), θ = (a, w); ddpde's activation `erf` has the √2 in it."""

    input_dim: int = 1
    dim: int = 2

    def __call__(self, x: Array, theta: Array) -> Array:
        return theta[:, :1] * erf(theta[:, 1:] * x[:, 0])


def erf_network() -> Problem:
    """Two units of the network as teacher; a and w are both trained."""

    def teacher(x):
        return 0.8 * erf(2 * x[:, 0]) - 0.4 * erf(0.5 * x[:, 0])

    return Problem(
        name="erf_network",
        unit=ErfUnit(),
        data=GaussianInputs(1, teacher, quadrature_points=60),
        initial=GaussianLaw((0.0, 1.0), (0.5, 0.3)),
    )


# problem, mesh of the reference, mesh of the JKO methods, cells of those that need a fine one
RADIAL = (isotropic_gaussians, ((0.2,), (1.6,), (32,)), ((0.0,), (6.0,), (48,)), (600,))
PLANAR = (
    erf_network,
    ((-3.0, -0.9), (3.0, 2.9), (12, 12)),
    ((-3.0, -1.0), (3.0, 3.0), (16, 16)),
    (120, 80),
)


def compared(case, t_end: float, methods) -> Iterator[tuple[str, list[float]]]:
    """For each method that takes the problem, its differences at the STEPS."""
    build, moving, box, fine = case
    problem = build()
    mesh = ddpde.box(*moving[:2], cells=moving[2])
    reference = ddpde.solve(problem, mesh, times=[t_end], degree=5, space="lagrangian", rtol=1e-9)
    start, end = reference.risk()
    for name in methods:
        exact, paths = name.startswith("jko-quantile"), name.startswith("jko-dynamic")
        if problem.mesh_dim > 1 and (exact or name == "jko-dynamic-bdf2"):  # dear in the plane
            continue
        cells, settings = box[2] if exact else fine, {}
        if paths:  # centred at temperature 0, and the dearest
            cells = tuple(n // 2 for n in fine)
            settings = {"inner_steps": 4 if name == "jko-dynamic-bdf2" else 2}
        mesh = ddpde.box(*box[:2], cells=cells)
        found = []
        for tau in STEPS:
            run = ddpde.solve(
                problem, mesh, times=[t_end], degree=4, method=name, dt=tau, **settings
            )
            found.append(float(run.risk()[-1] - end) / start)
        yield name, found


def main() -> None:
    head = ["problem, t", "method", *(f"τ = {tau:g}" for tau in STEPS)]
    print("| " + " | ".join(head) + " |\n|" + " --- |" * len(head))
    for title, case, t_end in (
        ("isotropic Gaussians, 0.5", RADIAL, 0.5),
        ("a erf(wx/√2), 1", PLANAR, 1.0),
    ):
        for name, found in compared(case, t_end, JKO_METHODS):
            print(f"| {title} | `{name}` | " + " | ".join(f"{v:+.1e}" for v in found) + " |")


if __name__ == "__main__":
    main()
