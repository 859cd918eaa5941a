"""Steps end at the output times."""

import numpy as np
import pytest

import ddpde


def test_equal_jko_steps_to_each_output_time():
    """The mean of an Ornstein–Uhlenbeck law after steps τ_k is m/Π(1 + τ_k)."""
    run = ddpde.solve(
        ddpde.problems.ornstein_uhlenbeck((1.0,), (0.6,), 0.5),
        ddpde.interval(-5, 6, cells=24),
        times=[0.5, 0.6],
        method="jko-quantile",
        dt=0.3,
    )
    np.testing.assert_allclose(run.history["dt"], [0.0, 0.25, 0.25, 0.1], atol=1e-12)
    np.testing.assert_allclose(run.history["t"], [0.0, 0.25, 0.5, 0.6])
    means = [1.0, 1 / 1.25**2, 1 / (1.25**2 * 1.1)]
    assert run.mean()[:, 0] == pytest.approx(means, abs=1e-9)
