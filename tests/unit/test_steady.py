"""A run ends where nothing changes any more, if that is asked for."""

import json

import numpy as np
import pytest

import ddpde
from ddpde import report
from ddpde.errors import ProblemError
from ddpde.problem.catalogue import erf_teacher, ornstein_uhlenbeck

TIMES = [1.0, 30.0, 1000.0]


def test_a_steady_law_stands_for_what_comes_later(tmp_path):
    problem = ornstein_uhlenbeck(mean=(1.0,), std=(0.5,))
    run = ddpde.solve(
        problem,
        ddpde.interval(-5, 5, cells=32),
        times=TIMES,
        rtol=1e-7,
        steady=1e-5,
        folder=tmp_path,
    )
    assert run.finished and 5 < run.steady_at < 30
    assert len(run.history["t"]) < 300
    np.testing.assert_array_equal(run.times, [0.0, *TIMES])
    np.testing.assert_allclose([law.time for law in run.laws], run.times)
    # F_inf; not yet at t = 1
    np.testing.assert_allclose(run.free_energy()[2:], -0.28618247146, atol=1e-7)
    assert run.free_energy()[1] > -0.22
    rows = [json.loads(row) for row in (tmp_path / "history.jsonl").read_text().splitlines()]
    assert rows[-1]["t"] == 1000.0
    report.write(tmp_path)


def test_steady_means_the_same_whatever_the_steps():
    """The change in a unit of time counts, not that in a step."""
    problem, mesh = ornstein_uhlenbeck(mean=(1.0,), std=(0.5,)), ddpde.interval(-5, 5, cells=12)
    ends = [
        ddpde.solve(problem, mesh, t_end=20.0, dt=dt, method="imex3", steady=1e-2).steady_at
        for dt in (0.02, 0.1)
    ]
    assert 2 < ends[0] < 10 and abs(ends[1] - ends[0]) < 0.3


def test_what_is_not_steady_goes_on():
    mesh = ddpde.interval(-1.9, 2.9, cells=16)
    run = ddpde.solve(
        erf_teacher(), mesh, times=[2.0, 4.0], space="lagrangian", degree=4, steady=1e-6
    )
    assert run.steady_at is None and run.laws[-1].time == 4.0


def test_bad_tolerance():
    with pytest.raises(ProblemError, match="steady"):
        ddpde.solve(erf_teacher(), ddpde.interval(-1, 2, cells=4), t_end=1.0, steady=0.0)
