"""Version, lint, types, import contract, and the search for an interpreter."""

import ast
import configparser
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FIND_PYTHON = ROOT / "tools" / "find-python"


def run(*command, timeout=120, **options):
    """The finished process, in the repository's root, with its output as text."""
    options = {"cwd": ROOT, "capture_output": True, "text": True} | options
    return subprocess.run([str(c) for c in command], timeout=timeout, check=False, **options)


def assert_passes(process):
    assert process.returncode == 0, f"\n{process.stdout}{process.stderr}"


def test_version_is_the_packages():
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    said = run(sys.executable, "-c", "import ddpde; print(ddpde.__version__)")
    assert said.stdout.strip() == setup["metadata"]["version"]


# What setup.cfg calls otherwise than conda-forge does, and what is imported by another name.
CONDA = {
    "dolfinx-solver-real": "fenics-dolfinx",
    "gmsh": "python-gmsh",
    "matplotlib": "matplotlib-base",
    "playwright": "playwright-python",
    "pot": "pot",
}
IMPORTED = {"sklearn": "scikit-learn", "ot": "pot"}
# In the wheel of dolfinx-solver-real; conda brings basix and ufl with fenics-dolfinx.
IN_THE_WHEEL = {"dolfinx", "basix", "ufl", "petsc4py", "slepc4py"}
WITH_ANOTHER = {"pydantic_core": "pydantic", "markupsafe": "jinja2"}


def declared():
    """The packages that setup.cfg asks for, with their versions; not those of benchmarks."""
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    groups = [setup["options"]["install_requires"]]
    groups += [v for k, v in setup["options.extras_require"].items() if k not in ("all", "bench")]
    lines = [line.split("#")[0].strip() for group in groups for line in group.splitlines()]
    return {line.split()[0].lower(): line.split(maxsplit=1)[1] for line in lines if line}


def conda():
    """The packages of environment.yml with their versions."""
    lines = (ROOT / "environment.yml").read_text().split("dependencies:")[1].splitlines()
    entries = [line.split("#")[0].strip().removeprefix("- ") for line in lines]
    return {e.split()[0]: e.partition(" ")[2] for e in entries if e}


def test_conda_users_get_what_pip_users_get():
    theirs, ours = conda(), declared()
    expected = {CONDA.get(name, name): version for name, version in ours.items()}
    assert expected.pop("fenics-dolfinx") == ">=0.11,<0.12"
    assert theirs.pop("fenics-dolfinx") == "=0.11"
    assert theirs.pop("python") == ">=3.12" and "pip" in theirs
    assert {"petsc4py", "slepc4py"} <= set(theirs)
    rest = {k: v for k, v in theirs.items() if k not in ("pip", "petsc4py", "slepc4py")}
    assert rest == expected


def test_what_is_imported_is_declared_and_in_the_readme():
    trees = [ast.parse(f.read_text()) for f in (ROOT / "ddpde").rglob("*.py")]
    found = set()
    for node in (node for tree in trees for node in ast.walk(tree)):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            found.add(node.module.split(".")[0])
    named = {WITH_ANOTHER.get(name, IMPORTED.get(name, name)) for name in found}
    own = set(sys.stdlib_module_names) | IN_THE_WHEEL | {"ddpde"}
    assert named - own <= set(declared())
    readme = (ROOT / "README.md").read_text().lower()
    missing = [n for n in {*declared(), "petsc4py", "slepc4py"} if f"`{n}`" not in readme]
    assert not missing


def test_lint_style():
    assert_passes(run(sys.executable, "-m", "ruff", "check", "ddpde", "tests"))


def test_lint_types():
    assert_passes(run(sys.executable, "-m", "mypy", "ddpde", timeout=280))


def test_lint_import_contract():
    command = "from importlinter.cli import lint_imports_command as main; main(['--no-cache'])"
    assert_passes(run(sys.executable, "-c", command))


@pytest.fixture
def machine(tmp_path):
    """A machine with the interpreters that a test puts on it, and nothing else."""
    return Machine(tmp_path)


class Machine:
    def __init__(self, folder: Path):
        self.path = folder / "bin"
        self.pyenv = folder / "pyenv"
        self.path.mkdir()

    def interpreter(self, file: Path, says: str, status: int = 0) -> Path:
        """A stand-in that answers as an interpreter would to the script's question."""
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"#!/bin/sh\necho '{says}'\nexit {status}\n")
        file.chmod(0o755)
        return file

    def find(self, **environment):
        environment = {"PATH": self.path, "HOME": self.path.parent, "PYENV_ROOT": self.pyenv} | (
            environment
        )
        return run(FIND_PYTHON, env={k: str(v) for k, v in environment.items()}, timeout=30)


def test_find_python_accepts_this_interpreter(machine):
    found = machine.find(PYTHON=sys.executable)
    assert (found.returncode, found.stdout.strip()) == (0, sys.executable)


@pytest.mark.parametrize(
    ("says", "status", "message"),
    [
        ("3.11", 0, "is Python 3.11; 3.12 or newer is needed"),
        ("2.7", 1, "is Python 2.7; 3.12 or newer is needed"),
        ("3.12", 1, "cannot make a virtual environment"),
        ("", 127, "does not run"),
    ],
)
def test_find_python_refuses_the_users_choice(machine, says, status, message):
    machine.interpreter(machine.path / "python3.12", "3.12")  # not taken in its place
    chosen = machine.interpreter(machine.path / "mine", says, status)
    found = machine.find(PYTHON=chosen)
    assert found.returncode != 0
    assert found.stdout == ""
    assert f"PYTHON={chosen} " in found.stderr
    assert message in found.stderr


def test_find_python_refuses_a_missing_choice(machine):
    found = machine.find(PYTHON="/nowhere/python")
    assert found.returncode != 0
    assert "does not run" in found.stderr


def test_find_python_takes_the_users_choice_by_name(machine):
    chosen = machine.interpreter(machine.path / "mine", "3.15")
    assert machine.find(PYTHON="mine").stdout.strip() == str(chosen)


def test_find_python_on_path_skips_what_does_not_run(machine):
    machine.interpreter(machine.path / "python3.14", "", status=127)  # an inactive pyenv shim
    machine.interpreter(machine.path / "python3.13", "3.13", status=1)  # without venv
    good = machine.interpreter(machine.path / "python3", "3.12")
    assert machine.find().stdout.strip() == str(good)


@pytest.mark.parametrize("by", ["PYENV_ROOT", "HOME"])
def test_find_python_under_pyenv(machine, by):
    if by == "HOME":
        machine.pyenv = machine.path.parent / ".pyenv"
    machine.interpreter(machine.path / "python3", "3.11")
    for version in ("3.11.7", "3.12.1", "3.13.0"):
        file = machine.pyenv / "versions" / version / "bin" / "python"
        machine.interpreter(file, version.rpartition(".")[0])
    found = machine.find(**({"PYENV_ROOT": ""} if by == "HOME" else {}))
    assert found.stdout.strip() == f"{machine.pyenv}/versions/3.12.1/bin/python"


def test_find_python_says_what_to_install(machine):
    machine.interpreter(machine.path / "python3", "3.11")
    machine.interpreter(machine.path / "python3.12", "", status=127)
    machine.interpreter(machine.pyenv / "versions" / "3.11.7" / "bin" / "python", "3.11")
    found = machine.find()
    assert found.returncode != 0
    assert found.stdout == ""
    assert "conda env create -f environment.yml" in found.stderr
    assert "PYTHON=" in found.stderr


def test_make_passes_the_refusal_on(tmp_path, machine):
    """`make demo` in a checkout without .venv stops at the search, with its message."""
    for name in ("Makefile", "setup.cfg", "pyproject.toml", "tools"):
        (tmp_path / name).symlink_to(ROOT / name)
    chosen = machine.interpreter(tmp_path / "old", "3.11")
    # An outer `make test PYTHON=...` would have its variables win over this one's.
    environment = {k: v for k, v in os.environ.items() if k not in ("MAKEFLAGS", "MFLAGS")}
    process = run("make", "demo", cwd=tmp_path, env=environment | {"PYTHON": str(chosen)})
    assert process.returncode != 0
    assert "3.12 or newer is needed" in process.stderr
    assert not (tmp_path / ".venv").exists()
