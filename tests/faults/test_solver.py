"""A computation that cannot go on: a named error, and what was computed is kept."""

import numpy as np
import pytest

import ddpde
from ddpde.errors import MeshError, ProblemError, SolverError
from ddpde.problem import DataSet, GaussianLaw, Problem, RidgeUnit, Squared, tanh


def problem(potential, **kw):
    return Problem("p", GaussianLaw((0.0,), (0.5,)), potential=potential, **kw)


def test_blow_up_is_named_and_the_last_state_saved(tmp_path):
    """Fixed steps far beyond the stability limit."""
    steep = problem(lambda x: 200.0 * (x * x).sum(axis=1))
    mesh = ddpde.interval(-3, 3, cells=40)
    with pytest.raises(SolverError, match=r"unstable|not finite") as caught:
        ddpde.solve(steep, mesh, t_end=50.0, dt=0.5, method="rk3", folder=tmp_path)
    assert "last.npz" in caught.value.what
    law = ddpde.Law.load(tmp_path / "laws" / "last.npz")
    assert np.isfinite(law.values).all()
    assert (tmp_path / "laws" / "0000.npz").exists()


def test_what_is_saved_is_the_state_before_the_step_that_failed(tmp_path, monkeypatch):
    from ddpde.run.system import System

    diffusing, mesh = (
        problem(lambda x: (x * x).sum(axis=1), temperature=0.5),
        ddpde.interval(-4, 4, cells=12),
    )
    settings = {"t_end": 1.0, "dt": 0.1, "method": "imex3"}
    whole = ddpde.solve(diffusing, mesh, **settings)
    steps, judged = [], System.judged

    def fourth_fails(self, u):
        steps.append(1)
        if len(steps) == 4:
            raise SolverError("the fourth step")
        return judged(self, u)

    monkeypatch.setattr(System, "judged", fourth_fails)
    with pytest.raises(SolverError, match="the fourth step"):
        ddpde.solve(diffusing, mesh, folder=tmp_path, **settings)
    law = ddpde.Law.load(tmp_path / "laws" / "last.npz")
    assert law.time == pytest.approx(0.3)
    np.testing.assert_array_equal(law.values, whole.laws[3].values)


def test_error_inside_a_step_reaches_the_user_as_it_is(monkeypatch):
    from ddpde.flow import EulerianFlow

    def broken(self, u, out):
        raise ZeroDivisionError("inside the rate")

    run = problem(lambda x: (x * x).sum(axis=1))
    with monkeypatch.context() as patch:
        calls = []

        def later(self, u, out, real=EulerianFlow.transport):
            calls.append(1)
            return broken(self, u, out) if len(calls) > 3 else real(self, u, out)

        patch.setattr(EulerianFlow, "transport", later)
        with pytest.raises(ZeroDivisionError, match="inside the rate"):
            ddpde.solve(run, ddpde.interval(-3, 3, cells=10), t_end=1.0)


@pytest.mark.parametrize(
    ("mesh", "error", "message"),
    [
        (lambda: ddpde.interval(0.3, 3, cells=10), MeshError, "initial law's mass"),
        (lambda: ddpde.box([-3, -3], [3, 3], cells=[4, 4]), MeshError, "2D mesh"),
        (lambda: ddpde.interval(3, -3, cells=10), MeshError, "lower < upper"),
        (lambda: ddpde.interval(-3, 3, cells=0), MeshError, "whole number of cells"),
        (lambda: ddpde.interval(-3, 3, cells=2.5), MeshError, "whole number of cells"),
        (lambda: ddpde.BoxRecipe((-3.0,), (3.0,), (10,)), MeshError, "is no mesh"),
        (lambda: ddpde.from_gmsh("nowhere.msh"), MeshError, "no mesh file"),
    ],
)
def test_meshes_that_do_not_fit(mesh, error, message):
    with pytest.raises(error, match=message):
        ddpde.solve(problem(lambda x: (x * x).sum(axis=1)), mesh(), t_end=1.0)


def test_gmsh_file_that_is_none(tmp_path):
    (tmp_path / "broken.msh").write_text("this is no mesh\n")
    with pytest.raises(MeshError, match=r"broken\.msh"):
        ddpde.from_gmsh(tmp_path / "broken.msh")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"potential": lambda x: np.where(x[:, 0] > 1, np.inf, 0.0)}, "not finite"),
        ({"schedule": lambda t: -1.0}, "schedule"),
        ({"schedule": lambda t: t**-2.0 if t else np.inf}, "schedule"),
    ],
)
def test_problems_that_make_no_sense(change, message):
    from dataclasses import replace

    with pytest.raises(ProblemError, match=message):
        ddpde.solve(
            replace(problem(lambda x: (x * x).sum(axis=1)), **change),
            ddpde.interval(-3, 3, cells=10),
            t_end=1.0,
        )


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"degree": 0}, "degree"),
        ({"degree": 2.5}, "an integer"),
        ({"degre": 2}, "did you mean degree"),
        ({"rtol": -1}, "rtol"),
        ({"rtol": "1e-6"}, "rtol"),
        ({"adapt_depth": 2.5}, "adapt_depth"),
        ({"dt": True}, "dt"),
        ({"dt": 1e-17}, "more than 2"),
        ({"t_end": -1.0}, "t_end"),
        ({"times": 1.0, "t_end": None}, "a list of"),
        ({"method": "euler"}, "method"),
        ({"space": "spectral"}, "space"),
        ({"method": "imex3"}, "does not fit"),
        ({"t_end": None}, "output times"),
        ({"times": [1.0, 0.5], "t_end": None}, "increase"),
    ],
)
def test_settings_that_make_no_sense(settings, message):
    with pytest.raises(ProblemError, match=message):
        ddpde.solve(
            problem(lambda x: (x * x).sum(axis=1)),
            ddpde.interval(-3, 3, cells=10),
            **({"t_end": 1.0} | settings),
        )


def test_features_that_do_not_fit():
    """Half a million samples on a million nodes: refused before anything is evaluated."""
    samples = np.zeros((500_000, 2))
    large = Problem(
        "large",
        GaussianLaw.isotropic(2, 0.5),
        RidgeUnit(tanh, 2),
        DataSet(samples, samples[:, 0]),
    )
    with pytest.raises(ProblemError, match="GB"):
        ddpde.solve(large, ddpde.box([-3, -3], [3, 3], cells=[150, 150]), t_end=1.0)


@pytest.mark.parametrize("temperature", [0.0, 1e-3])
def test_a_layer_at_a_wall_that_no_mesh_allowed_resolves(temperature, tmp_path):
    problem = Problem(
        "wall",
        GaussianLaw((-1.0,), (0.1,)),
        potential=lambda x: -5 * x[:, 0],
        temperature=temperature,
    )
    mesh = ddpde.interval(-2, 1, cells=6)
    settings = {"adapt": 1e-2, "adapt_depth": 4, "rtol": 1e-3, "folder": tmp_path}
    with pytest.raises(SolverError, match="narrower than the smallest cells") as caught:
        ddpde.solve(problem, mesh, times=[2.0], **settings)
    assert "adapt_depth" in str(caught.value)
    assert (tmp_path / "laws" / "last.npz").exists()


class Tiring(Squared):
    """A loss that fails after so many second derivatives."""

    left = 0

    def second_derivative(self, f, y):
        self.left -= 1
        if self.left < 0:
            raise ZeroDivisionError("the user's own")
        return super().second_derivative(f, y)


@pytest.mark.parametrize("method", ["jko", "jko-dynamic"])
def test_what_a_loss_raises_within_a_linear_solve_comes_out_as_itself(method):
    loss = Tiring()
    x = np.linspace(-1, 1, 8)[:, None]
    network = problem(
        None, unit=RidgeUnit(tanh, 1), data=DataSet(x, x[:, 0]), temperature=0.1, loss=loss
    )
    for left in (20, 23):  # of one step that takes more than 25
        loss.left = left
        with pytest.raises(ZeroDivisionError, match="the user's own"):
            ddpde.solve(network, ddpde.interval(-3, 3, cells=30), t_end=0.1, dt=0.1, method=method)


def test_an_error_budget_asks_for_a_recipe():
    diffusing = problem(lambda x: (x * x).sum(axis=1), temperature=0.5)
    with pytest.raises(MeshError, match="BoxRecipe"):
        ddpde.error_budget(diffusing, ddpde.interval(-3, 3, cells=10), t_end=0.1)
