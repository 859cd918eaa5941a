"""Features in blocks of a mesh: a block low-rank matrix in place of a dense one."""

import numpy as np
import pytest

from ddpde.energy import Energy, NodalFeatures, blocks, compact
from ddpde.energy.blocks import InBlocks
from ddpde.problem import DataSet, GaussianLaw, Problem, RidgeUnit, tanh

BOX = np.full(3, -2.0), np.full(3, 2.0)


def network():
    rng = np.random.default_rng(0)
    x = rng.uniform(-2, 2, (300, 2))
    return Problem(
        name="network",
        unit=RidgeUnit(tanh, 2, bias=True),
        data=DataSet(x, np.tanh(2 * x[:, 0])),
        initial=GaussianLaw.isotropic(3, 0.5),
        temperature=0.1,
    )


def points():
    return BOX[0] + (BOX[1] - BOX[0]) * np.random.default_rng(1).random((6000, 3))


def test_products_to_tolerance(monkeypatch):
    monkeypatch.setattr(blocks, "_LARGE", 1e6)
    monkeypatch.setattr(blocks, "_IN_BLOCK", 300)
    energy, nodes = Energy(network(), BOX), points()
    found = compact(energy, nodes, BOX, 1e-4)
    assert isinstance(found, InBlocks) and found.error < 1e-3
    assert found.numbers < 0.8 * nodes.shape[0] * energy.size
    features, S = NodalFeatures(energy, nodes, found), energy.features(nodes)
    masses = np.random.default_rng(2).random(len(nodes))
    f = features.predictions(masses)
    assert f == pytest.approx(S.T @ masses, abs=2 * found.error * masses.sum())
    dual = energy.dual(f)
    assert features.field(dual) == pytest.approx(S @ dual, abs=2 * found.error * abs(dual).sum())
    # one is the other's transpose, so that F' is the derivative of the energy so approximated
    assert features.field(dual) @ masses == pytest.approx(dual @ f, rel=1e-12)


def test_blocks_are_those_of_the_box(monkeypatch):
    """A rank that has a part of the nodes finds the same pivots there."""
    monkeypatch.setattr(blocks, "_LARGE", 1e6)
    monkeypatch.setattr(blocks, "_IN_BLOCK", 300)
    nodes = points()
    whole = compact(Energy(network(), BOX), nodes, BOX, 1e-4)
    counted = Energy(network(), BOX, reduce=lambda part: part * len(nodes) / 3000)
    half = compact(counted, nodes[:3000], BOX, 1e-4)
    ranks = [[len(block.kept.expansion) for block in found.blocks] for found in (whole, half)]
    assert ranks[0] == ranks[1]


def test_few_features_stay_as_they_are():
    assert compact(Energy(network(), BOX), points(), BOX, 1e-4) is None
