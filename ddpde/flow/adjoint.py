"""The adjoint of the linearised flow: how the future sees a change of the law.

With a law u(s) on its way, a small change ω of it follows

    ∂_s ω = ∇·(ω ∇F'[u]) + ∇·(u ∇∫ K ω) + T Δω ,    K = Σ_m S_m ⊗ ∂²G_m S_m ,

(Rotskoff & Vanden-Eijnden 2018, section 3), and ∫ g dω is kept in time where g follows the adjoint
equation backwards,

    −∂_s g = −∇F'·∇g − Σ_m S_m ∂²G_m ∫ ∇g·∇S_m du + T Δg .

g lives in the density's space, and its equation is the exact transpose of the discrete transport,
directions of flow held; diffusion is its own.
"""

from __future__ import annotations

import numpy as np

from ddpde.flow.eulerian import EulerianFlow


class Adjoint:
    """The adjoint's right-hand side around one state of a flow; `at` chooses the state.

    Functions g are arrays (n_cells, nd) of coefficients on the owned cells.
    """

    def __init__(self, flow: EulerianFlow) -> None:
        self._flow = flow
        self._rule = flow.space.quadrature(3 * flow.space.degree + 1)
        self._basis = self._rule.basis(flow.space.degree)
        self._slopes = flow.space.reference_slopes(self._rule)
        self._metric = self._rule.metric() / self._rule.weights[:, :1, None, None]
