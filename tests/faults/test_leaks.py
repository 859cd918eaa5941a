"""Many solves in one process: PETSc's objects are freed."""

import ddpde
from ddpde.problem.catalogue import erf_teacher


def test_three_hundred_solves():
    """MPI has room for some two thousand communicators; each mesh takes a few."""
    problem = erf_teacher(temperature=0.1)
    for _ in range(300):
        run = ddpde.solve(problem, ddpde.interval(-2, 3, cells=8), times=[0.01], rtol=1e-3)
    assert run.finished
