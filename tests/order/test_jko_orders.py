"""Every JKO method has its order in τ on every problem of reference that it can do."""

import pytest
from jko_orders import STUDIES, able, slope

from ddpde.step import JKO_METHODS

FAST = {("jko-bdf2", "Barenblatt, d = 3"), ("jko-dynamic-bdf2", "Barenblatt, d = 1")}
CASES = [
    pytest.param(method, name, marks=() if (method, name) in FAST else pytest.mark.slow)
    for method in JKO_METHODS
    for name in STUDIES
    if able(method, name)
]


@pytest.mark.parametrize("method, name", CASES)
def test_order(method, name):
    assert slope(method, STUDIES[name]) == pytest.approx(JKO_METHODS[method].order, abs=0.1)
