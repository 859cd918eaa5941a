"""Validation: a case is solved, trained, compared and judged."""

import ddpde.space  # noqa: F401  (MPI before DOLFINx)
from ddpde.validate.case import Acceptance, Case, CrossCheck, ParticlePlan
from ddpde.validate.kept import kept_verdict
from ddpde.validate.validation import validate
from ddpde.validate.verdict import Check, Verdict

__all__ = [
    "Acceptance",
    "Case",
    "Check",
    "CrossCheck",
    "ParticlePlan",
    "Verdict",
    "kept_verdict",
    "validate",
]
