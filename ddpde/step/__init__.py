"""Steps in time."""

import ddpde.space  # noqa: F401  (MPI before DOLFINx)
from ddpde.step.method_of_lines import METHODS, Method, MethodOfLines

__all__ = ["METHODS", "Method", "MethodOfLines"]
