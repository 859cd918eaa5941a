"""The PDE in space: what a time integrator needs of a problem on a mesh."""

import ddpde.space  # noqa: F401  (MPI before DOLFINx)
from ddpde.flow.adjoint import Adjoint
from ddpde.flow.eulerian import EulerianFlow
from ddpde.flow.lagrangian import LagrangianFlow
from ddpde.flow.semidiscrete import SemiDiscrete

__all__ = ["Adjoint", "EulerianFlow", "LagrangianFlow", "SemiDiscrete"]
