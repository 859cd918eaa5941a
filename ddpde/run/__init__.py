"""From a problem and a mesh: trajectories, stationary states, fluctuations, error budgets."""

import ddpde.space  # noqa: F401  (MPI before DOLFINx)
from ddpde.run.budget import Budget, error_budget
from ddpde.run.certificate import Certificate, optimality
from ddpde.run.continuation import Branch, Critical, continuation, phase_diagram
from ddpde.run.fluctuations import Fluctuations, fluctuations
from ddpde.run.options import SolverOptions
from ddpde.run.solver import solve
from ddpde.run.stability import Stability, stability
from ddpde.run.stationary import StationaryState, stationary
from ddpde.run.trajectory import Trajectory

__all__ = [
    "Branch",
    "Budget",
    "Certificate",
    "Critical",
    "Fluctuations",
    "SolverOptions",
    "Stability",
    "StationaryState",
    "Trajectory",
    "continuation",
    "error_budget",
    "fluctuations",
    "optimality",
    "phase_diagram",
    "solve",
    "stability",
    "stationary",
]
