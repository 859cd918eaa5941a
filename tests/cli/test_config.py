"""load(): what a case file becomes, and what is said of mistakes in it."""

import math
from datetime import date

import numpy as np
import pytest
from case_files import REFERENCE, ROOT, VALID, changed, mistakes, write

import ddpde
from ddpde import report
from ddpde.config import load
from ddpde.errors import ConfigError
from ddpde.particles import SGD
from ddpde.run import SolverOptions
from ddpde.space import BoxRecipe, FileRecipe
from ddpde.validate import Acceptance, Case, ParticlePlan


def test_valid_case(tmp_path):
    case = load(write(tmp_path, VALID))
    assert isinstance(case, Case)
    assert (case.name, case.title) == (tmp_path.name, "a case")
    assert case.problem.name == "erf_teacher"
    assert case.problem.initial.mean == (0.4,)
    assert case.mesh == BoxRecipe((-2.0,), (3.0,), (16,))
    assert case.options == SolverOptions(degree=2, rtol=1e-5)
    assert case.times == (0.0, 0.1, 0.2)
    assert case.cross_check.mesh == BoxRecipe((-2.0,), (3.0,), (8,))
    assert case.cross_check.options == SolverOptions(space="lagrangian")
    assert case.particles == ParticlePlan((5, 10), 3, 0.005, system=SGD())
    assert case.acceptance == Acceptance()
    assert case.reference == REFERENCE
    assert case.source == tmp_path / "case.toml"


def test_defaults_and_shorthands(tmp_path):
    data = {k: VALID[k] for k in ("title", "problem", "mesh")} | {"solver": {"t_end": 2}}
    case = load(write(tmp_path, data))
    assert case.options == SolverOptions()
    np.testing.assert_allclose(case.times, np.linspace(0, 2, 11))
    assert (case.particles, case.cross_check, case.reference) == (None, None, None)


def test_cross_check_on_the_main_mesh(tmp_path):
    case = load(write(tmp_path, changed() | {"cross_check": {"degree": 5}}))
    assert case.cross_check.mesh == case.mesh
    assert case.cross_check.options == SolverOptions(degree=5)


def test_name_of_a_case(tmp_path):
    file = write(tmp_path, VALID)
    assert load(file.rename(tmp_path / "fine mesh.toml")).name == "fine_mesh"
    assert load(write(tmp_path, VALID | {"name": "mine"})).name == "mine"


def test_mesh_file_beside_the_case(tmp_path):
    data = changed(problem={"name": "digits_pca", "parameters": None}, mesh=None, cross_check=None)
    data["mesh"] = {"file": "l.msh"}
    assert 'mesh.file: "l.msh": No such file' in mistakes(write(tmp_path, data))[0]
    (tmp_path / "l.msh").write_text("a poem")
    assert "is not a gmsh mesh" in mistakes(tmp_path / "case.toml")[0]
    (tmp_path / "l.msh").write_bytes((ROOT / "meshes" / "l_shape.msh").read_bytes())
    assert load(tmp_path / "case.toml").mesh == FileRecipe(tmp_path.resolve() / "l.msh")


@pytest.mark.parametrize(
    ("data", "line"),
    [
        ({"title": 3}, "title: 3 is not a string"),
        ({"title": None}, "title: missing"),
        ({"title": ""}, "title: "),
        ({"name": "../up"}, 'name: "../up" is not a name of letters'),
        ({"mesh": None}, "mesh: missing"),
        ({"mesh": 7}, "mesh: 7 is not a table"),
        ({"solvr": {}}, 'solvr: unknown key; did you mean "solver"?'),
        ({"degree": 3}, "degree: does not belong here but in [solver]"),
        ({"problem": {"name": "erf_teachr"}}, 'did you mean "erf_teacher"?'),
        ({"problem": {"name": None}}, "problem.name: missing"),
        ({"problem": {"temperature": 1}}, "goes in [problem.parameters]"),
        (
            {"problem": {"parameters": {"tempreature": 0.1}}},
            'problem.parameters.tempreature: unknown parameter of "erf_teacher"; did you mean '
            '"temperature"? accepted: temperature, ridge, mean, std, label_noise',
        ),
        ({"problem": {"parameters": {"mean": "0"}}}, 'parameters.mean: "0" is not a number'),
        ({"problem": {"parameters": {"mean": True}}}, "parameters.mean: true is not a number"),
        ({"problem": {"parameters": {"mean": math.nan}}}, "mean: nan is not a finite number"),
        ({"problem": {"parameters": {"temperature": -1.0}}}, "parameters.temperature: "),
        ({"problem": {"parameters": 3}}, "problem.parameters: 3 is not a table"),
        ({"mesh": {"cells": [0]}}, "mesh.cells[0]: 0 is not >= 1"),
        ({"mesh": {"cells": [16.5]}}, "mesh.cells[0]: 16.5 is not an integer"),
        ({"mesh": {"cells": [10**9]}}, "mesh.cells: [1000000000] is more than 100000000 cells"),
        ({"mesh": {"cells": None}}, "mesh.cells: missing"),
        ({"mesh": {"lower": [3.0]}}, "mesh.upper[0]: 3.0 is not > 3.0, the lower end"),
        ({"mesh": {"lower": [0.0, 0.0]}}, "mesh.lower: [0.0, 0.0] has 2 entries, not 1"),
        ({"mesh": {"cell": "triangle"}}, 'mesh.cell: "triangle" in 1D; accepted: none'),
        ({"mesh": {"cell": "hexagon"}}, 'mesh.cell: "hexagon" is unknown; did you mean "hexahed'),
        ({"mesh": {"file": "x.msh"}}, "mesh.cells: mesh.file is given too"),
        ({"mesh": {"signed": True}}, "mesh: a box in 0 dimensions; accepted: 1 or 2 beside the"),
        ({"mesh": {"upper": [math.inf]}}, "mesh.upper[0]: inf is not a finite number"),
        ({"solver": {"degree": 13}}, "solver.degree: 13 is not <= 12"),
        ({"solver": {"degree": "3"}}, 'solver.degree: "3" is not an integer'),
        ({"solver": {"rtol": 0}}, "solver.rtol: 0 is not >= 1e-14"),
        ({"solver": {"rtol": math.nan}}, "solver.rtol: nan is not a finite number"),
        ({"solver": {"space": "euler"}}, 'solver.space: "euler" is unknown; did you mean "eul'),
        ({"solver": {"method": "imex4"}}, "temperature is 0; accepted: auto, rk3, rk5, rk8"),
        ({"solver": {"adapt": 2}}, "solver.adapt: 2 is not < 1"),
        ({"solver": {"adapt": 1e-17}}, "solver.adapt: 1e-17 is not >= 1e-12"),
        ({"solver": {"adapt_depth": 13}}, "solver.adapt_depth: 13 is not <= 12"),
        ({"solver": {"adapt_depth": 3}}, "solver.adapt_depth: goes with adapt"),
        ({"cross_check": {"dt": 1e-17}}, "cross_check.dt: 1e-17 needs more than 2**30 steps to"),
        ({"solver": {"inner_steps": 3}}, 'solver.inner_steps: goes with method = "jko-dynamic"'),
        ({"solver": {"inner_steps": 0}}, "solver.inner_steps: 0 is not >= 1"),
        ({"solver": {"grow": 0}}, "solver.grow: 0 is not > 0"),
        ({"cross_check": {"grow": 1e-6}}, 'cross_check.grow: not with space = "lagrangian"'),
        ({"solver": {"times": None}}, "solver.times: missing; give times"),
        ({"solver": {"times": []}}, "solver.times: [] has 0 entries, not 1 or more"),
        ({"solver": {"times": [0.0]}}, "solver.times: [0.0] has no time > 0"),
        ({"solver": {"times": [0.2, 0.1]}}, "solver.times[1]: 0.1 is not > 0.2"),
        ({"solver": {"times": [-0.1, 0.1]}}, "solver.times[0]: -0.1 is not >= 0"),
        ({"solver": {"t_end": 1.0}}, "solver.t_end: solver.times is given too"),
        ({"solver": {"times": None, "t_end": 1e-323}}, "solver.t_end: 1e-323 is too small"),
        ({"solver": {"times": date(2020, 1, 1)}}, "solver.times: 2020-01-01 is not a number"),
        ({"particles": {"widths": [5, 0]}}, "particles.widths[1]: 0 is not >= 1"),
        ({"particles": {"widths": [5, 5]}}, "particles.widths[1]: 5 is not > 5"),
        ({"particles": {"replicas": 1}}, "particles.replicas: 1 is not >= 2"),
        ({"particles": {"step_size": -1.0}}, "particles.step_size: -1.0 is not > 0"),
        ({"particles": {"step_size": 1e-12}}, "particles.step_size: 1e-12 needs more than 2**32"),
        ({"particles": {"step_size": 0.03}}, "solver.times: 0.1, 0.2: not whole numbers of steps"),
        ({"particles": {"step_size": 0.05}}, "particles.step_size x bias_factor = 4 x"),
        ({"particles": {"marginals": [1, 6]}}, "particles.marginals: 6 of 5 particles"),
        ({"particles": {"marginals": [2, 1]}}, "particles.marginals"),
        ({"particles": {"marginals": [1]}}, "particles.replicas: 3; particles.marginals needs"),
        ({"particles": {"copies": 1}}, "particles.copies: 1 is not true or false"),
        (
            {"particles": {"copies": True}, "solver": {"grow": 1e-3}},
            "particles.copies: needs a law on one mesh",
        ),
        ({"particles": {"seed": 2**70}}, "particles.seed: the integer does not fit into 64 bits"),
        ({"particles": {"widths": None}}, "particles.widths: missing"),
        ({"cross_check": {"tims": 1}}, "cross_check.tims: unknown key"),
        ({"cross_check": {"upper": None}}, "cross_check.upper: missing"),
        ({"acceptance": {"level": 1e-300}}, "acceptance.level: 1e-300 is not >= 1e-09"),
        ({"acceptance": {"reference_rtol": 2.0}}, "acceptance.reference_rtol: 2.0 is not < 1"),
        (
            {"acceptance": {"reference": None, "cross_check_rtol": 0.1}},
            "acceptance.cross_check_rtol: goes with acceptance.reference",
        ),
        ({"acceptance": {"level": 1}}, "acceptance.level: 1 is not < 1"),
        ({"acceptance": {"reference": "no.json"}}, 'acceptance.reference: "no.json": No such file'),
    ],
)
def test_mistake_is_named(tmp_path, data, line):
    found = mistakes(write(tmp_path, changed(**data)))
    assert any(line in problem for problem in found), found


def test_positive_temperature_restricts_the_method(tmp_path):
    data = changed(problem={"parameters": {"temperature": 0.1}}, solver={"method": "rk5"})
    found = mistakes(write(tmp_path, data))
    assert len(found) == 2, found
    assert "accepted: auto, imex3, imex4" in found[0]
    assert found[1].startswith('cross_check.space: "lagrangian" is for temperature 0')


def test_mesh_below_the_coordinates_range(tmp_path):
    data = changed(problem={"name": "isotropic_gaussians", "parameters": None}, cross_check=None)
    found = mistakes(write(tmp_path, data))
    assert found == ["mesh.lower[0]: -2.0 is not >= 0, the least value of r = |w|"]


def test_all_mistakes_at_once(tmp_path):
    data = changed(
        title=None,
        problem={"parameters": {"mean": "x", "std": -1}},
        mesh={"cells": ["many"], "lower": [9.0]},
        solver={"degree": 0, "times": [0.2, 0.1], "tolerance": 1},
        particles={"widths": [0, -1], "replicas": 1.5},
        acceptance={"level": 2},
    )
    paths = {problem.partition(":")[0] for problem in mistakes(write(tmp_path, data))}
    assert paths == {
        *("title", "problem.parameters.mean", "mesh.cells[0]", "mesh.upper[0]"),
        *("solver.degree", "solver.times[1]", "solver.tolerance"),
        *("particles.widths[0]", "particles.widths[1]", "particles.replicas", "acceptance.level"),
    }


@pytest.mark.parametrize(
    ("reference", "line"),
    [
        ({**REFERENCE, "source": None}, "reference.json.source: "),
        ({k: REFERENCE[k] for k in ("times", "risk")}, "reference.json.source: missing"),
        ({**REFERENCE, "risk": [1.0]}, "reference.json: risk: 1 entries for 2 times"),
        ({**REFERENCE, "risk": [1.0, math.nan]}, "risk[1]: nan is not a finite number"),
        ({**REFERENCE, "times": [7.0, 8.0]}, "none of them is an output time"),
        ({"source": "x", "times": [0.1]}, "has neither risk nor mean"),
        ({**REFERENCE, "rsik": []}, 'did you mean "risk"?'),
        ([1, 2], "does not hold an object"),
    ],
)
def test_reference_file(tmp_path, reference, line):
    found = mistakes(write(tmp_path, VALID, reference))
    assert any(line in problem for problem in found), found


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (b"title = ", "not valid TOML: Invalid value (at end of document)"),
        (b"title = 'a'\ntitle = 'b'\n", "(at line 2, column"),
        (b"\xff\xfe", "not UTF-8 text (byte 0)"),
        (b"a = " + b"[" * 100_000, "nested too deeply"),
        (b"a = 0x" + b"f" * 10_000, "the integer does not fit"),
        (b"a = " + b"9" * 10_000, "not valid TOML"),
        (b"", "title: missing"),
    ],
    ids=["half", "twice", "utf-16", "deep", "hex", "long", "empty"],
)
def test_file_that_is_no_case(tmp_path, content, line):
    file = tmp_path / "case.toml"
    file.write_bytes(content)
    assert any(line in problem for problem in mistakes(file))


SIGNED = """
import numpy as np
from ddpde.problem import DensityLaw, Problem

def build():
    return Problem(
        "signed",
        DensityLaw(2, lambda x: np.exp(-2 * x[:, 0] ** 2) / np.sqrt(2 * np.pi)),
        interaction=lambda a, b: a[:, :1] * b[:, 0] * a[:, 1:] * b[:, 1],
        potential=lambda a: -a[:, 1] * a[:, 0],
        birth_death=1.0,
        conserved=False,
        temperature=0.1,
    )
"""


def test_a_signed_measure(tmp_path):
    """Two sheets, of a box and of its finer and wider companions; solved, and reported."""
    (tmp_path / "pairs.py").write_text(SIGNED)
    data = changed(
        problem={"name": "pairs:build", "parameters": None},
        mesh={"lower": -3, "upper": 3, "cells": 12, "signed": True},
        solver={"times": [0.1], "rtol": 1e-3},
    )
    for table in ("cross_check", "particles", "acceptance"):
        del data[table]
    case = load(write(tmp_path, data))
    assert case.mesh == BoxRecipe((-3.0,), (3.0,), (12,), None, True)
    wider = case.mesh.finer().wider(case.problem.lower)
    third = 1 / 3
    assert wider.cells == (22,) and wider.signed and wider.cell is None
    assert (*wider.lower, *wider.upper) == pytest.approx((-3 - 2 * third, 3 + 2 * third))
    mesh = case.mesh.build()
    assert mesh.topology.index_map(1).size_global == 24
    assert set(mesh.geometry.x[:, 1]) == {-1.0, 1.0}
    run = ddpde.solve(
        case.problem, mesh, times=case.times, options=case.options, folder=tmp_path / "out"
    )
    mean = run.laws[-1].expectation(lambda x: x[:, 0] * x[:, 1])
    assert 0 < mean < 1  # ∫ x dν grows towards the potential's 1
    report.write(tmp_path / "out")
    data["mesh"] |= {"lower": [-3, -1], "upper": [3, 1], "cells": [12, 2]}
    assert "not 1: the problem's coordinates are" in mistakes(write(tmp_path, data))[0]
    assert "the last of them the sign" in mistakes(write(tmp_path, data))[0]


def test_path_that_is_no_file(tmp_path):
    assert "no such file" in mistakes(tmp_path / "nowhere.toml")[0]
    assert "give the case file" in mistakes(tmp_path)[0]
    file = write(tmp_path, VALID)
    assert f"did you mean {file}?" in mistakes(tmp_path)[0]
    assert f"did you mean {file}?" in mistakes(tmp_path / "csae.toml")[0]
    assert "cannot be read" in mistakes(tmp_path / ("x" * 5000))[0]


def test_particles_of_a_problem_without_a_network(tmp_path):
    text = """
title = "circle"
[problem]
name = "kuramoto"
[mesh]
lower = 0.0
upper = 6.283185307179586
cells = 16
[solver]
t_end = 4.0
[particles]
widths = [10]
replicas = 3
step_size = 0.1
"""
    (tmp_path / "case.toml").write_text(text)
    with pytest.raises(ConfigError, match="circles are not available"):
        load(tmp_path / "case.toml")


def test_methods_of_a_problem_with_an_internal_energy(tmp_path):
    text = """
title = "porous medium"
[problem]
name = "porous_medium"
[problem.parameters]
exponent = 3.0
[mesh]
lower = -3.0
upper = 3.0
cells = 16
[solver]
t_end = 1.0
method = "rk5"
"""
    (tmp_path / "case.toml").write_text(text)
    with pytest.raises(ConfigError, match='"rk5" does not fit: the problem has an internal energy'):
        load(tmp_path / "case.toml")
    (tmp_path / "case.toml").write_text(text.replace("rk5", "imex3"))
    assert load(tmp_path / "case.toml").problem.internal is not None
