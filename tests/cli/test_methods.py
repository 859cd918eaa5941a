"""[[methods]]: other ways to solve a case's PDE, checked and shown beside the main run."""

import json

import pytest

from ddpde import report
from ddpde.config import load
from ddpde.errors import ConfigError
from ddpde.validate import validate

CASE = """
title = "JKO beside the method of lines"
[problem]
name = "erf_teacher"
parameters.temperature = 0.1
parameters.ridge = 0.1
[mesh]
lower = -3.0
upper = 4.0
cells = 16
[solver]
degree = 4
times = [0.5, 1.0]
"""
EXACT = """
[[methods]]
label = "exact"
method = "jko-quantile"
degree = 4
dt = 0.25
tolerance = 0.0225
"""
ENTROPIC = """
[[methods]]
label = "entropic"
method = "jko-entropic"
lower = -3.0
upper = 4.0
cells = 100
dt = 0.25
tolerance = 1e-4
"""


def case(tmp_path, text):
    file = tmp_path / "case.toml"
    file.write_text(text)
    return load(file)


def test_a_check_and_a_row_each(tmp_path):
    verdict = validate(case(tmp_path, CASE + EXACT + ENTROPIC), tmp_path / "out")
    checks = {check.name: check for check in verdict.checks}
    assert checks["exact"].passed
    assert 0.005 < checks["exact"].value < 0.0225
    assert not checks["entropic"].passed  # its tolerance is for a smaller step
    assert not verdict.passed
    stored = json.loads((tmp_path / "out/summary.json").read_text())["methods"]
    assert [entry["label"] for entry in stored] == ["exact", "entropic"]
    assert [entry["steps"] for entry in stored] == [4, 4]
    page = report.write(tmp_path / "out").read_text()
    assert "Other methods" in page and "exact" in page


@pytest.mark.parametrize(
    "extra, line",
    [
        (EXACT.replace('label = "exact"', ""), "methods[0].label: missing"),
        (EXACT.replace("dt = 0.25", ""), 'methods[0].dt: missing: the step of "jko-quantile"'),
        (EXACT + EXACT, 'methods: the label "exact" is given more than once'),
        (EXACT.replace("dt", "dtt"), 'methods[0].dtt: unknown key; did you mean "dt"?'),
        (EXACT + 'space = "lagrangian"', "methods[0].space"),
        (EXACT.replace("jko-quantile", "rk5"), 'methods[0].method: "rk5" does not fit'),
    ],
)
def test_mistakes_are_named(extra, line, tmp_path):
    with pytest.raises(ConfigError) as caught:
        case(tmp_path, CASE + extra)
    assert any(problem.startswith(line) for problem in caught.value.problems), caught.value


def test_the_report_says_how_the_law_is_held(tmp_path):
    text = CASE.replace("degree = 4", 'degree = 4\nmethod = "jko-quantile"\ndt = 0.1')
    validate(case(tmp_path, text), tmp_path / "out")
    page = report.write(tmp_path / "out").read_text()
    assert "quantile functions of degree 4" in page
    assert "fixed mesh" not in page
