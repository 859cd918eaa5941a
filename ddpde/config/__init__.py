"""Case files: strict TOML in, a `Case` out, or every mistake at once.

`keys.py` says which keys there are and what each may be, `docs/cases.md` explains them. Checks
that concern several keys work on whatever could be read, so one mistake does not hide another.
"""

import ddpde.space  # noqa: F401  (MPI before DOLFINx)
from ddpde.config.load import load

__all__ = ["load"]
