"""ddpde: the distributional dynamics of wide neural networks, solved and checked.

Everything below is loaded on first use, so that `import ddpde` is quick and `ddpde.particles`
works where DOLFINx is not installed.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ddpde.problem import Problem
    from ddpde.problem import catalogue as problems
    from ddpde.run import SolverOptions, Trajectory, optimality, phase_diagram, solve
    from ddpde.run.budget import error_budget
    from ddpde.run.continuation import continuation
    from ddpde.run.fluctuations import fluctuations
    from ddpde.run.stability import stability
    from ddpde.run.stationary import stationary
    from ddpde.space import (
        BoxRecipe,
        FileRecipe,
        Law,
        annulus,
        ball,
        box,
        disc,
        from_gmsh,
        interval,
        signed,
        sphere,
        torus,
    )

__version__ = "0.1.0"

_HOME = {
    "Problem": "ddpde.problem",
    "problems": "ddpde.problem.catalogue",
    "SolverOptions": "ddpde.run",
    "Trajectory": "ddpde.run",
    "continuation": "ddpde.run",
    "error_budget": "ddpde.run",
    "fluctuations": "ddpde.run",
    "optimality": "ddpde.run",
    "phase_diagram": "ddpde.run",
    "solve": "ddpde.run",
    "stability": "ddpde.run",
    "stationary": "ddpde.run",
    "BoxRecipe": "ddpde.space",
    "FileRecipe": "ddpde.space",
    "Law": "ddpde.space",
    "annulus": "ddpde.space",
    "ball": "ddpde.space",
    "disc": "ddpde.space",
    "signed": "ddpde.space",
    "sphere": "ddpde.space",
    "torus": "ddpde.space",
    "box": "ddpde.space",
    "from_gmsh": "ddpde.space",
    "interval": "ddpde.space",
}

__all__ = [
    "BoxRecipe",
    "FileRecipe",
    "Law",
    "Problem",
    "SolverOptions",
    "Trajectory",
    "annulus",
    "ball",
    "disc",
    "signed",
    "sphere",
    "torus",
    "box",
    "continuation",
    "error_budget",
    "fluctuations",
    "from_gmsh",
    "interval",
    "optimality",
    "phase_diagram",
    "problems",
    "solve",
    "stability",
    "stationary",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'ddpde' has no attribute {name!r}")
    module = import_module(_HOME[name])
    return module if name == "problems" else getattr(module, name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
