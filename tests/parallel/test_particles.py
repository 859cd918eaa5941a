"""Replicas spread over ranks are those of one process, bit by bit; restart on other ranks too,
and a validation."""

import json

import numpy as np
import pytest
from on_ranks import LONG, needs_mpirun, python

pytestmark = LONG
SCRIPT = """
import dataclasses
import sys
from pathlib import Path
from mpi4py import MPI
import numpy as np
from ddpde.particles import Conic, SGD, train
from ddpde.problem import GaussianInputs, GaussianLaw, Problem, RidgeUnit, tanh

comm = MPI.COMM_WORLD

def stop(t):
    if mode == "interrupt":
        raise RuntimeError("killed")
    return 1.0

for argument in sys.argv[1:]:
    folder, mode = Path(argument).parent, Path(argument).name
    folder.mkdir(exist_ok=True)
    problem = Problem(
        name="tanh", unit=RidgeUnit(tanh, 2), data=GaussianInputs(2, lambda x: x[:, 0]),
        initial=GaussianLaw.isotropic(2, 0.7), schedule=lambda t: 1.0 if t < 0.95 else stop(t),
    )
    for name, system in (("sgd", SGD()), ("conic", Conic())):
        try:
            made = train(
                problem, 6, replicas=5, step_size=0.05, times=[0.0, 0.5, 2.0], seed=1, comm=comm,
                system=system, checkpoint=folder / f"{name}.npz", checkpoint_every=0.0,
            )
        except RuntimeError:
            continue
        weights = np.zeros(0) if made.weights is None else made.weights
        file = folder / f"{name}_{comm.size}_{comm.rank}.npz"
        np.savez(file, theta=made.theta, weights=weights)
    if mode == "wrong":
        problem = dataclasses.replace(problem, ridge=1.0, schedule=lambda t: 1.0)
        try:
            train(problem, 3, replicas=5, step_size=10.0, times=[1e3], seed=1, comm=comm)
        except Exception as error:
            (folder / f"error_{comm.rank}").write_text(type(error).__name__)
"""


def load(folder, name, size):
    return [np.load(folder / f"{name}_{size}_{rank}.npz") for rank in range(size)]


@needs_mpirun
def test_replicas_on_ranks_and_restart_on_others(tmp_path):
    cut = tmp_path / "cut"
    for ranks, *parts in ((1, "1/run"), (2, "2/run", "cut/interrupt"), (3, "3/wrong", "cut/run")):
        python(ranks, "-c", SCRIPT, *parts, folder=tmp_path)
    errors = [(tmp_path / "3" / f"error_{rank}").read_text() for rank in range(3)]
    assert errors == ["SolverError"] * 3
    assert not list(cut.glob("*_2_*"))  # stopped before the end
    for name in ("sgd", "conic"):
        (one,) = load(tmp_path / "1", name, 1)
        for other in (
            *load(tmp_path / "2", name, 2),
            *load(tmp_path / "3", name, 3),
            *load(cut, name, 3),
        ):
            np.testing.assert_array_equal(other["theta"], one["theta"])
            np.testing.assert_array_equal(other["weights"], one["weights"])


CASE = """
title = "small"
[problem]
name = "erf_teacher"
[problem.parameters]
label_noise = 0.5
[mesh]
lower = -2.0
upper = 4.0
cells = 12
[solver]
degree = 2
rtol = 1e-5
times = [0.5]
[particles]
widths = [10, 20]
replicas = 3
step_size = 0.05
bias_factor = 2
"""


@needs_mpirun
def test_a_validation_on_two_ranks_is_that_of_one(tmp_path):
    (tmp_path / "case.toml").write_text(CASE)
    found = []
    for ranks in (1, 2):
        python(ranks, "-m", "ddpde", "validate", "case.toml", "--out", ranks, folder=tmp_path)
        summary = json.loads((tmp_path / str(ranks) / "summary.json").read_text())
        assert summary["pde"]["settings"]["ranks"] == ranks
        found.append((summary, np.load(tmp_path / str(ranks) / "arrays.npz")["particles"]))
    (one, ours), (two, theirs) = found
    np.testing.assert_array_equal(theirs, ours)
    np.testing.assert_array_equal(two["particles"]["risk"], one["particles"]["risk"])
    for check, other in zip(one["verdict"]["checks"], two["verdict"]["checks"], strict=True):
        assert check["name"] == other["name"] and check["passed"] == other["passed"]
        assert other["value"] == pytest.approx(check["value"], rel=1e-6, abs=1e-9)
