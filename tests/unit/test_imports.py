"""What must import where DOLFINx is missing, and what it says then."""

import subprocess
import sys

SCRIPT = """
import sys

class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("dolfinx", "petsc4py", "mpi4py"):
            raise ImportError(name)

sys.meta_path.insert(0, Missing())
import ddpde
from ddpde.errors import MissingDependencyError
from ddpde.particles import train

problem = ddpde.problems.isotropic_gaussians()
run = train(problem, 20, replicas=2, step_size=1e-3, times=[0.0, 0.01], seed=0)
assert run.theta.shape == (2, 2, 20, 40)
try:
    ddpde.solve
except MissingDependencyError as error:
    assert "pip install dolfinx-solver-real" in str(error)
else:
    raise AssertionError("no error")
"""


def test_particles_without_dolfinx():
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr


def test_import_is_light():
    """Nothing heavy before it is used."""
    heavy = {"jax", "dolfinx", "gmsh", "matplotlib", "scipy"}
    code = f"import sys, ddpde; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "[]", done.stdout + done.stderr
