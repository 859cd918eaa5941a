"""Every JKO method tends to the method of lines as τ → 0, on networks of one and two parameters."""

import numpy as np
import pytest
from jko_agreement import PLANAR, RADIAL, compared

from ddpde.step import JKO_METHODS


@pytest.mark.slow
@pytest.mark.parametrize("case, t_end", [(RADIAL, 0.5), (PLANAR, 1.0)], ids=["radial", "planar"])
def test_differences_fall_with_tau(case, t_end):
    for name, found in compared(case, t_end, JKO_METHODS):
        sizes = np.abs(found)
        ratios = sizes[:-1] / sizes[1:]
        least = {1: 1.6, 2: 3.6}[JKO_METHODS[name].order]
        # what is left at a fixed mesh hides the order where τ is no longer what matters
        assert np.all((ratios > least) | (sizes[1:] < 1e-3)), (name, found)
