"""With what a run was made: versions, machine, date."""

from __future__ import annotations

import platform
import time
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import ddpde

_LIBRARIES = (
    "dolfinx-solver-real",
    "fenics-dolfinx",
    "jax",
    "jaxlib",
    "numpy",
    "scipy",
    "scikit-learn",
    "POT",
)


@cache
def libraries() -> dict[str, str]:
    """Versions of the libraries that figures depend on, as far as they are installed."""
    found = {}
    for library in _LIBRARIES:
        try:
            found[library] = version(library)
        except PackageNotFoundError:
            continue
    return found


def environment() -> dict[str, Any]:
    """ddpde, Python, libraries, machine, and the date of this call."""
    return {
        "ddpde": ddpde.__version__,
        "python": platform.python_version(),
        "machine": platform.machine(),
        "libraries": libraries(),
        "date": time.strftime("%Y-%m-%d %H:%M", time.gmtime()) + " UTC",
    }
