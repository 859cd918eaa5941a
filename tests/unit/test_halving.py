"""JKO steps that are not found are taken as shorter ones."""

import numpy as np
import pytest

from ddpde.errors import SolverError
from ddpde.step.halving import Halving


class Decay:
    """u' = u/(1 + τ), found where τ is at most `longest` at that u."""

    def __init__(self, longest):
        self.longest, self.taus = longest, []
        self.iterations, self.residual = 3, 0.0

    def __call__(self, u, tau):
        self.residual = tau
        if tau > self.longest(u):
            raise SolverError(f"a step of {tau:g} was not found", "remedy")
        self.taus.append(tau)
        return u / (1 + tau)


def test_a_step_that_is_found_is_taken_whole():
    step = Halving(Decay(lambda u: 1.0))
    assert step(np.ones(2), 1.0) == pytest.approx([0.5, 0.5])
    assert (step.iterations, step.residual) == (3, 1.0)


def test_parts_sum_to_the_step_and_lengthen_again():
    """Short steps are needed above u = ½ only."""
    decay = Decay(lambda u: 0.1 if u[0] > 0.5 else 1.0)
    step = Halving(decay)
    step(np.ones(1), 2.0)
    assert sum(decay.taus) == pytest.approx(2.0, abs=1e-14)
    assert max(decay.taus) <= 1.0 and decay.taus[0] == 2.0 / 32
    assert decay.taus[-1] > 4 * decay.taus[0]
    assert step.residual == max(decay.taus)
    decay.taus.clear()
    step(np.full(1, 0.4), 1.0)
    assert len(decay.taus) < 6  # it begins where the last step ended


def test_no_end_of_halving():
    step = Halving(Decay(lambda u: 1e-6))
    with pytest.raises(SolverError, match="nor was one of") as caught:
        step(np.ones(1), 1.0)
    assert caught.value.remedy == "remedy"
    assert step.iterations == 33
