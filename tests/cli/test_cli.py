"""The commands, as a user types them; in this process unless the process is what is tested."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from typer.testing import CliRunner

import ddpde
from ddpde.cli import app
from ddpde.errors import SolverError

ROOT = Path(__file__).parents[2]
COMMANDS = ("list", "init", "run", "validate", "report", "index")
TINY = """
title = "tiny"
[problem]
name = "erf_teacher"
[mesh]
lower = -2.0
upper = 3.0
cells = 12
[solver]
degree = 2
rtol = 1e-4
times = [0.05, 0.1]
"""


@pytest.fixture
def ddpde_(tmp_path, monkeypatch):
    """`ddpde_("run", "case.toml")` in an empty folder: exit_code, stdout, stderr."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("ddpde.particles.keep_compiled", lambda: None)  # of this process: not kept
    return lambda *arguments: CliRunner().invoke(app, [str(a) for a in arguments])


def start(*arguments, cwd, **options):
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "ddpde", *map(str, arguments)]
    return subprocess.Popen(
        command,
        cwd=cwd,
        env=environment,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        **options,
    )


def test_help_is_quick(tmp_path):
    before = os.times().children_user
    out, _ = start("--help", cwd=tmp_path).communicate(timeout=60)
    assert all(command in out for command in COMMANDS)
    assert os.times().children_user - before < 3  # of the processor, which others may use too


def test_help_imports_nothing_heavy(tmp_path):
    code = (
        "import sys, ddpde.cli\n"
        "heavy = {'dolfinx', 'jax', 'mpi4py', 'scipy', 'matplotlib'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)"
    )
    subprocess.run(
        [sys.executable, "-c", code], check=True, cwd=ROOT, timeout=60, env={**os.environ}
    )


@pytest.mark.parametrize("command", [(), *[(c,) for c in COMMANDS]])
def test_help_has_an_example(ddpde_, command):
    result = ddpde_(*command, "--help")
    assert result.exit_code == 0
    assert re.search(rf"Example:\n +ddpde {' '.join(command)}", result.stdout)


def test_version(ddpde_):
    assert ddpde_("--version").stdout == f"ddpde {ddpde.__version__}\n"


def test_list(ddpde_):
    result = ddpde_("list")
    assert result.exit_code == 0
    for line in (
        "isotropic_gaussians",
        "Classify centred isotropic Gaussians",
        "delta = 0.8",
        'loss = "squared"   (or "logistic")',
        "classes = [3, 8]",
        "mei2018_isotropic",
        "Handwritten digits 3 and 8",
    ):
        assert line in result.stdout


def test_init_copies_a_case(ddpde_, tmp_path):
    result = ddpde_("init", "deep/first")
    assert result.exit_code == 0
    assert "ddpde validate deep/first/case.toml" in result.stdout
    original = ROOT / "validation" / "mei2018_isotropic"
    copies = {f.name: f.read_bytes() for f in (tmp_path / "deep" / "first").iterdir()}
    assert copies == {f.name: f.read_bytes() for f in original.iterdir() if f.is_file()}


def test_init_does_not_overwrite(ddpde_, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "case.toml").write_text("precious")
    result = ddpde_("init", "mine", "--case", "digits_pca")
    assert result.exit_code == 2
    assert result.stderr.startswith("error: mine already has case.toml")
    assert [f.read_text() for f in (tmp_path / "mine").iterdir()] == ["precious"]
    assert ddpde_("init", "mine", "--case", "digits_pca", "--force").exit_code == 0
    assert "digits_pca" in (tmp_path / "mine" / "case.toml").read_text()


def test_init_of_an_unknown_case(ddpde_, tmp_path):
    result = ddpde_("init", "mine", "--case", "mei")
    assert result.exit_code == 2
    assert "one of: " in result.stderr and ", mei2018_isotropic, " in result.stderr
    assert not list(tmp_path.iterdir())


def test_run(ddpde_, tmp_path):
    (tmp_path / "tiny.toml").write_text(TINY)
    result = ddpde_("run", "tiny.toml")
    assert result.exit_code == 0, result.output
    header, *rows, last = result.stdout.splitlines()
    assert header.split() == ["t", "risk", "free", "energy", "mass", "minimum"]
    assert last == "written to runs/tiny"
    table = np.array([row.split() for row in rows], dtype=float)
    np.testing.assert_allclose(table[:, 0], [0, 0.05, 0.1])
    assert (np.diff(table[:, 1]) < 0).all()
    np.testing.assert_allclose(table[:, 3], 1, atol=1e-9)
    folder = tmp_path / "runs" / "tiny"
    assert (folder / "case.used.toml").read_text() == TINY
    assert json.loads((folder / "run.json").read_text())["problem"] == "erf_teacher"
    history = [json.loads(line) for line in (folder / "history.jsonl").read_text().splitlines()]
    assert history[-1]["risk"] == pytest.approx(table[-1, 1], rel=1e-8)
    assert len(list((folder / "laws").iterdir())) == 3


def test_run_replaces_an_earlier_one(ddpde_, tmp_path):
    (tmp_path / "tiny.toml").write_text(TINY)
    assert ddpde_("run", "tiny.toml", "--out", "here").exit_code == 0
    (tmp_path / "here" / "verdict.json").write_text("{}")
    (tmp_path / "here" / "notes.md").write_text("keep me")
    (tmp_path / "tiny.toml").write_text(TINY.replace("[0.05, 0.1]", "[0.05]"))
    assert ddpde_("run", "tiny.toml", "--out", "here").exit_code == 0
    assert len(list((tmp_path / "here" / "laws").iterdir())) == 2
    assert not (tmp_path / "here" / "verdict.json").exists()
    assert (tmp_path / "here" / "notes.md").exists()


def test_run_touches_no_foreign_file(ddpde_, tmp_path):
    (tmp_path / "case.toml").write_text(TINY)
    (tmp_path / "report.html").write_text("not of ddpde")
    assert ddpde_("run", "case.toml", "--out", ".").exit_code == 0
    assert (tmp_path / "case.toml").read_text() == TINY
    assert (tmp_path / "report.html").exists()


def test_run_on_a_mesh_file(ddpde_, tmp_path):
    case = TINY.replace("erf_teacher", "digits_pca").replace("[0.05, 0.1]", "[0.02]")
    box = "lower = -2.0\nupper = 3.0\ncells = 12\n"
    assert box in case
    case = case.replace(box, f'file = "{ROOT / "meshes" / "l_shape.msh"}"\n')
    (tmp_path / "l.toml").write_text(case)
    result = ddpde_("run", "l.toml")
    assert result.exit_code == 0, result.output
    assert json.loads((tmp_path / "runs/l/run.json").read_text())["cell"] == "triangle"


def test_run_into_a_file(ddpde_, tmp_path):
    (tmp_path / "tiny.toml").write_text(TINY)
    result = ddpde_("run", "tiny.toml", "--out", "tiny.toml")
    assert result.exit_code == 2
    assert result.stderr.startswith("error: cannot write tiny.toml: File exists\n  -> ")


@pytest.mark.parametrize(("passed", "code"), [(True, 0), (False, 1)])
def test_validate_says_the_verdict(ddpde_, tmp_path, monkeypatch, passed, code):
    import ddpde.report
    import ddpde.validate

    def judged(case, folder):
        assert case.title == "tiny"
        return SimpleNamespace(passed=passed, reasons=["pass  mass", "pass  positivity"])

    monkeypatch.setattr(ddpde.validate, "validate", judged)
    monkeypatch.setattr(ddpde.report, "write", lambda folder: folder / "report.html")
    (tmp_path / "tiny.toml").write_text(TINY)
    result = ddpde_("validate", "tiny.toml")
    assert result.exit_code == code
    assert result.stdout.splitlines() == [
        "pass  mass",
        "pass  positivity",
        f"tiny: {'PASSED' if passed else 'NOT PASSED'}",
        "report: runs/tiny/report.html",
    ]


def test_validate_and_report(ddpde_, tmp_path):
    particles = "[particles]\nwidths = [8, 16]\nreplicas = 3\nstep_size = 1e-3\n"
    (tmp_path / "tiny.toml").write_text(TINY.replace("0.05, 0.1", "0.04, 0.08") + particles)
    result = ddpde_("validate", "tiny.toml")
    assert result.exit_code in (0, 1), result.output
    folder = tmp_path / "runs" / "tiny"
    passed = json.loads((folder / "verdict.json").read_text())["passed"]
    assert result.exit_code == (0 if passed else 1)
    (folder / "report.html").unlink()
    assert ddpde_("report", "runs/tiny").stdout == "report: runs/tiny/report.html\n"
    assert "</html>" in (folder / "report.html").read_text()


def test_several_cases_resumed_with_an_index(ddpde_, tmp_path, monkeypatch):
    """One in error does not stop the others; what has a verdict is not computed again."""
    import ddpde.validate

    particles = "[particles]\nwidths = [8, 16]\nreplicas = 3\nstep_size = 1e-3\n"
    case = TINY.replace("0.05, 0.1", "0.02, 0.04") + particles
    for name, text in {"one": case, "wrong": case + "more = 1\n", "two": case}.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "case.toml").write_text(text)
    cases = [f"{name}/case.toml" for name in ("one", "wrong", "two")]
    judged, really = [], ddpde.validate.validate

    def counted(case, folder):
        judged.append(case.name)
        return really(case, folder)

    monkeypatch.setattr(ddpde.validate, "validate", counted)
    result = ddpde_("validate", "one/case.toml")
    passed = int(result.exit_code == 0)
    result = ddpde_("validate", *cases, "--resume", "--index", "all.html")
    assert result.exit_code == 1
    assert judged == ["one", "two"]
    assert "error: wrong/case.toml:\n  - particles.more" in result.stderr
    assert f"{2 * passed} of 3 cases passed\nindex: all.html\n" in result.stdout
    page = (tmp_path / "all.html").read_text()
    assert 'href="runs/one/report.html"' in page
    assert "particles.more: unknown key" in page
    (tmp_path / "two" / "case.toml").write_text(case.replace("cells = 12", "cells = 13"))
    ddpde_("validate", *cases, "--resume")
    assert judged == ["one", "two", "two"]
    assert ddpde_("index", "runs/one", "runs/two", "--out", "some.html").exit_code == 0
    assert "2 failed" in (tmp_path / "some.html").read_text() or passed


def test_two_cases_do_not_share_a_folder(ddpde_, tmp_path):
    for place in ("a", "b"):
        (tmp_path / place).mkdir()
        (tmp_path / place / "same.toml").write_text(TINY)
    result = ddpde_("validate", "a/same.toml", "b/same.toml")
    assert result.exit_code == 1
    assert "error: b/same.toml: runs/same holds the results of an earlier case" in result.stderr
    assert "1 of 2 cases passed" in result.stdout


def test_out_is_for_one_case(ddpde_):
    result = ddpde_("validate", "a.toml", "b.toml", "--out", "x")
    assert result.exit_code == 2
    assert result.stderr.startswith("error: --out x for 2 cases")


def test_report_of_no_run(ddpde_, tmp_path):
    result = ddpde_("report", "nowhere")
    assert result.exit_code in (1, 2)
    assert result.stderr.startswith("error: ")
    assert "Traceback" not in result.output


def test_error_of_the_computation(ddpde_, tmp_path, monkeypatch):
    """What and remedy, once, with the error's exit code."""
    import ddpde.run

    def diverges(*arguments, **keywords):
        raise SolverError("it diverged", "loosen rtol") from ValueError("inner")

    monkeypatch.setattr(ddpde.run, "solve", diverges)
    (tmp_path / "tiny.toml").write_text(TINY)
    result = ddpde_("run", "tiny.toml")
    assert result.exit_code == 1
    assert result.stderr == "error: it diverged\n  -> loosen rtol\n"


def test_error_inside_a_petsc_callback(ddpde_, tmp_path):
    """PETSc wraps it; the user sees what it was."""
    (tmp_path / "late.py").write_text(
        "from dataclasses import replace\nimport ddpde\nfrom ddpde.errors import ProblemError\n"
        "def schedule(t):\n    if t > 0.04:\n        raise ProblemError('late', 'be early')\n"
        "    return 1.0\n"
        "def build():\n    return replace(ddpde.problems.erf_teacher(), schedule=schedule)\n"
    )
    (tmp_path / "late.toml").write_text(TINY.replace("erf_teacher", "late:build"))
    result = ddpde_("run", "late.toml")
    assert result.exit_code == 2
    assert result.stderr == "error: late\n  -> be early\n"


@pytest.mark.parametrize("arguments", [("foo",), ("run",), ("run", "a", "b"), ("init", "--x")])
def test_wrong_usage(ddpde_, arguments):
    result = ddpde_(*arguments)
    assert result.exit_code == 2
    assert "Usage: " in result.stderr


@pytest.mark.parametrize(
    "command",
    [
        "run",
        "validate",
    ],
)
def test_ctrl_c_keeps_what_was_computed(tmp_path, command):
    """Sent once the first law is written; the run would take minutes."""
    case = TINY.replace("[0.05, 0.1]", "[0.01, 1e7]").replace("1e-4", "1e-9")
    (tmp_path / "long.toml").write_text(case)
    process = start(command, "long.toml", cwd=tmp_path)
    laws = tmp_path / "runs" / "long" / "laws"
    while len(list(laws.glob("*.npz"))) < 2 and process.poll() is None:
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    try:
        out, err = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130, out + err
    assert "interrupted: what was computed is in runs/long" in err
    assert "Traceback" not in out + err
    assert len(list(laws.glob("*.npz"))) >= 2


def test_ctrl_c_before_anything(tmp_path):
    (tmp_path / "slow.py").write_text(
        "import time\ndef build():\n    print('here', flush=True)\n    time.sleep(600)\n"
    )
    (tmp_path / "slow.toml").write_text(TINY.replace("erf_teacher", "slow:build"))
    process = start("run", "slow.toml", cwd=tmp_path)
    assert process.stdout.readline() == "here\n"
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert err == "interrupted: nothing had been computed\n"


def test_compiled_steps_are_kept(tmp_path):
    """By commands and by scripts; said where something was compiled, and only there."""
    particles = "[particles]\nwidths = [4]\nreplicas = 2\nstep_size = 0.0125\n"
    (tmp_path / "tiny.toml").write_text(TINY + particles)
    cache = tmp_path / "cache"
    environment = os.environ | {"PYTHONPATH": str(ROOT), "XDG_CACHE_HOME": str(cache)}
    environment.pop("JAX_COMPILATION_CACHE_DIR", None)
    validated = ["-m", "ddpde", "validate", "tiny.toml"]
    script = """
import jax.numpy, logging, ddpde
jax.numpy.arange(3).sum()  # JAX has compiled before
from ddpde.particles import keep_compiled, train
logging.basicConfig(level="INFO")
print(keep_compiled())
train(ddpde.problems.erf_teacher(), 5, replicas=1, step_size=0.1, times=[1], seed=0)
"""
    for line in (validated, ["-c", script]):
        sizes = []
        for first in (True, False):
            done = subprocess.run(
                [sys.executable, *line],
                cwd=tmp_path,
                env=environment,
                capture_output=True,
                text=True,
                timeout=250,
            )
            assert done.returncode in (0, 1), done.stderr
            assert done.stderr.count(f"compiled, and are kept in {cache / 'ddpde'}") == first
            sizes.append({f.name for f in (cache / "ddpde").iterdir() if f.name.endswith("-cache")})
        assert sizes[0] == sizes[1] and any("jit_" in name for name in sizes[0])
    assert done.stdout == f"{cache / 'ddpde'}\n"
