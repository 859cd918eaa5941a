"""Distances of a million particles to a law on a mesh: seconds, factorisation apart."""

import time

import numpy as np

import ddpde
from ddpde.compare import NegativeSobolev, SlicedW1
from ddpde.problem import GaussianLaw, Problem


def best(action, repeats=3):
    """Least seconds of a few calls."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        action()
        times.append(time.perf_counter() - start)
    return min(times)


def half_square(theta):
    return 0.5 * (theta * theta).sum(axis=1)


def report(name, mesh, law, cloud, degree):
    start = time.perf_counter()
    distance = NegativeSobolev(law, mesh, kappa=1.0, degree=degree)
    ready = time.perf_counter() - start
    nodes = mesh.topology.index_map(0).size_global
    print(
        f"{name:<34} degree {degree}  {nodes:>8} vertices  prepared in {ready:5.2f} s  "
        f"a cloud in {best(lambda: distance(cloud)):5.2f} s"
    )


if __name__ == "__main__":
    rng = np.random.default_rng(0)
    print("H^-p distance of 1e6 particles to a law")
    for dim, cells, kinds in (
        (1, 2000, [None]),
        (2, 320, ["quadrilateral", "triangle"]),
        (3, 40, ["hexahedron"]),
    ):
        problem = Problem("normal", GaussianLaw.isotropic(dim, 0.5), potential=half_square)
        coarse = ddpde.box([-4] * dim, [4] * dim, cells=[16] * dim)
        law = ddpde.solve(problem, coarse, times=[0.0]).laws[0]
        cloud = 0.5 * rng.standard_normal((1_000_000, dim))
        for kind in kinds:
            mesh = ddpde.box([-4] * dim, [4] * dim, cells=[cells] * dim, cell=kind)
            report(f"{dim}D {mesh.topology.cell_name()}", mesh, law, cloud, 1)
        sliced = SlicedW1(law)
        print(f"{dim}D sliced W1, the same cloud: {best(lambda s=sliced, c=cloud: s(c)):.2f} s")
