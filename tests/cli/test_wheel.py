"""The wheel alone, in an environment and a folder of its own, does what the checkout does."""

import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def run(*command, timeout=120, **options):
    process = subprocess.run(
        [str(c) for c in command],
        timeout=timeout,
        check=False,
        capture_output=True,
        text=True,
        **options,
    )
    assert process.returncode == 0, f"{command}\n{process.stdout}{process.stderr}"
    return process.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Built from a copy, so that the checkout gets no build folder and lends none."""
    source = tmp_path_factory.mktemp("source") / "ddpde"
    source.mkdir()
    for name in ("ddpde", "validation"):
        ignore = shutil.ignore_patterns("__pycache__", "runs")
        shutil.copytree(ROOT / name, source / name, symlinks=True, ignore=ignore)
    for name in ("setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    target = tmp_path_factory.mktemp("wheel")
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check")
    run(*pip, "wheel", ".", "--no-deps", "--no-build-isolation", "-w", target, cwd=source)
    (file,) = target.glob("ddpde-*.whl")
    return file


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """`installed(*arguments, cwd=...)` runs a command of an environment with only the wheel.

    The dependencies are borrowed from the present environment by a .pth file; its own editable
    ddpde is not, because .pth files found through a .pth file are not read.
    """
    home = tmp_path_factory.mktemp("environment")
    run(sys.executable, "-m", "venv", "--without-pip", home)
    packages = Path(
        run(
            home / "bin/python", "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"
        ).strip()
    )
    lenders = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    (packages / "lenders.pth").write_text("\n".join(sorted(lenders)) + "\n")
    # mpi4py looks for the MPI library of a wheel beside the interpreter.
    for library in Path(sys.prefix, "lib").glob("*mpi*"):
        (home / "lib" / library.name).symlink_to(library)
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", home)
    run(*pip, "install", "--no-deps", "--no-index", wheel)

    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}

    def call(command, *arguments, cwd, timeout=120):
        return run(home / "bin" / command, *arguments, cwd=cwd, env=environment, timeout=timeout)

    return call


def test_wheel_is_what_runs(installed, tmp_path):
    where = installed("python", "-c", "import ddpde; print(ddpde.__file__)", cwd=tmp_path)
    assert not Path(where.strip()).is_relative_to(ROOT)


def test_wheel_has_help_and_lists_the_cases(installed, tmp_path):
    assert "validate" in installed("ddpde", "--help", cwd=tmp_path)
    assert "mei2018_isotropic" in installed("ddpde", "list", cwd=tmp_path)


def test_wheel_carries_the_cases(installed, tmp_path):
    installed("ddpde", "init", "case_copy", cwd=tmp_path)
    original = ROOT / "validation" / "mei2018_isotropic"
    copies = {p.name: p.read_bytes() for p in (tmp_path / "case_copy").iterdir() if p.is_file()}
    assert copies["case.toml"] == (original / "case.toml").read_bytes()
    assert copies["reference.json"] == (original / "reference.json").read_bytes()


@pytest.mark.timeout(280)
def test_wheel_runs_a_copied_case(installed, tmp_path):
    installed("ddpde", "init", "case_copy", cwd=tmp_path)
    case = tmp_path / "case_copy" / "case.toml"
    small, changes = re.subn(r"(?m)^times = .*", "times = [0.1]", case.read_text())
    assert changes == 1
    case.write_text(small)
    out = installed("ddpde", "run", "case_copy/case.toml", cwd=tmp_path, timeout=240)
    t, risk = out.splitlines()[2].split()[:2]
    reference = json.loads((case.parent / "reference.json").read_text())
    assert float(t) == reference["times"][1]
    assert float(risk) == pytest.approx(reference["risk"][1], rel=1e-3)
    assert (tmp_path / "runs" / "case_copy" / "laws" / "0001.npz").exists()
