"""Python on several MPI ranks."""

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

_ROOT = Path(__file__).parents[1]
# mpirun of the wheel's MPICH is beside the interpreter, that of conda or the system on PATH
_PLACES = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
_MPIRUN = shutil.which("mpirun", path=_PLACES)
ENVIRONMENT = os.environ | {
    "PYTHONPATH": str(_ROOT),
    "OMP_NUM_THREADS": "1",
    # Open MPI counts cores and minds root; MPICH does not look at these
    "OMPI_ALLOW_RUN_AS_ROOT": "1",
    "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
    "OMPI_MCA_rmaps_base_oversubscribe": "1",
    "PRTE_MCA_rmaps_default_mapping_policy": ":oversubscribe",
}
# More ranks than free cores wait for each other at every sum: minutes, on a busy machine.
LONG = pytest.mark.timeout(900)

needs_mpirun = pytest.mark.skipif(
    _MPIRUN is None, reason="no mpirun beside the interpreter or on PATH"
)


def python(ranks, *arguments, folder=None, limit=270):
    """What Python with these arguments prints, on so many ranks; 0: without mpirun.

    limit: seconds; to be a little shorter than pytest's own, which leaves ranks running.
    """
    launcher = [_MPIRUN, "-n", str(ranks)] if ranks else []
    process = subprocess.Popen(
        [*launcher, sys.executable, *map(str, arguments)],
        cwd=folder,
        env=ENVIRONMENT,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        out, err = process.communicate(timeout=limit)
    except subprocess.TimeoutExpired:
        process.terminate()  # which mpirun passes on to the ranks
        out, err = process.communicate(timeout=20)
        pytest.fail(f"not finished after {limit} s\n{out}{err}")
    assert process.returncode == 0, f"exit code {process.returncode}\n{out}{err}"
    return out


@dataclass(frozen=True)
class Launch:
    """What `rank_programs.py` did on so many ranks, in one process each: a folder of results."""

    ranks: int
    folder: Path
    said: str

    def array(self, name):
        """The result of a function of `rank_programs.py`."""
        return np.load(self.folder / f"{name}.npy")

    def run(self, name):
        """The folder of results of a case."""
        return self.folder / name / "out"


def launched(ranks, folder, cases, programs=()):
    """Cases (their text by name) and functions of `rank_programs.py`, one after another."""
    for name, text in cases.items():
        (folder / name).mkdir()
        (folder / name / "case.toml").write_text(text)
    program = Path(__file__).with_name("rank_programs.py")
    said = python(ranks, program, folder, *cases, *programs, limit=420)
    return Launch(ranks, folder, said)
