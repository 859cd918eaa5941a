"""Orders of convergence in space for every cell: writes docs/orders.md from what it measures.

`python tests/benchmarks/orders.py`; the fast ones are also tests, in tests/order/test_space.py.
"""

import sys
from pathlib import Path

import numpy as np
from mpi4py import MPI  # noqa: F401  (before DOLFINx)

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tests"))

import warped  # noqa: E402
from rings import l1_errors, slopes  # noqa: E402

NEAR = 0.1  # the last two slopes are to lie as near as this to degree + 1

# cell: {degree: divisions of each side}; time and rtol by cell; degree 6 on lines and squares has a
# law with more waves, as on these meshes one wave's error is that of rounding
STUDIES = {
    "interval": {
        1: (16, 32, 64, 128),
        2: (16, 32, 64, 128),
        3: (8, 16, 32, 64),
        4: (8, 16, 24, 32),
        5: (8, 16, 24, 32),
        6: (8, 12, 16, 24, 32),
    },
    "quadrilateral": {
        1: (8, 16, 32, 64),
        2: (8, 16, 32, 64),
        3: (8, 16, 24, 32),
        4: (8, 12, 16, 20),
        5: (8, 16, 24, 32),
        6: (8, 12, 16, 20, 24),
    },
    "triangle": {
        1: (8, 16, 32, 64),
        2: (8, 16, 32, 64),
        3: (8, 12, 16, 24),
        4: (8, 10, 12, 16),
        5: (6, 8, 10, 12),
        6: (6, 8, 10, 12),
    },
    "hexahedron": {
        1: (4, 8, 12, 16),
        2: (4, 8, 12, 16),
        3: (8, 10, 12, 16),
        4: (4, 6, 8, 10),
        5: (8, 10, 12, 16),
        6: (6, 8, 10, 12),
    },
    "tetrahedron": {
        1: (6, 8, 12, 16),
        2: (6, 8, 10, 12),
        3: (4, 6, 8, 10),
        4: (6, 8, 9, 10),
        5: (5, 6, 7, 8),
        6: (3, 4, 5, 6, 7, 8),
    },
}
# time, rtol, divisions
ITO = {
    ("interval", 1): (0.5, 1e-9, (8, 16, 32)),
    ("interval", 2): (0.5, 1e-9, (8, 16, 32)),
    ("interval", 3): (0.5, 1e-11, (12, 16, 24, 32, 48)),
    ("interval", 4): (0.5, 1e-11, (12, 16, 24, 32, 48)),
    ("interval", 5): (0.5, 1e-12, (16, 24, 32, 48)),
    ("interval", 6): (0.5, 1e-11, (8, 12, 16, 24)),
    ("quadrilateral", 1): (0.3, 1e-8, (8, 12, 16, 24)),
    ("quadrilateral", 2): (0.3, 1e-8, (8, 12, 16, 24)),
    ("quadrilateral", 3): (0.3, 1e-8, (8, 12, 16, 24)),
    ("quadrilateral", 4): (0.3, 1e-8, (8, 12, 16)),
    ("triangle", 1): (0.3, 1e-8, (8, 12, 16, 24)),
    ("triangle", 2): (0.3, 1e-8, (8, 12, 16, 24)),
    ("triangle", 3): (0.3, 1e-8, (8, 12, 16, 24)),
    ("triangle", 4): (0.3, 1e-8, (8, 12, 16, 24)),
    ("hexahedron", 1): (0.1, 1e-6, (8, 12, 16, 20)),
}
SHARP = {("interval", 6): 0.8, ("quadrilateral", 6): 0.8}


def setting(cell: str, degree: int) -> tuple[float, float, float]:
    """Time, rtol, and how sharp the law is at first."""
    sharpness = SHARP.get((cell, degree), 0.0)
    if cell in ("hexahedron", "tetrahedron"):
        rtol = {1: 1e-7, 2: 1e-7, 3: 1e-8, 4: 1e-8}.get(degree, 1e-10)
        return 0.3 if degree < 4 else 0.1, rtol, sharpness
    rtol = 1e-12 if cell == "interval" else 1e-11 if degree > 4 else 1e-9
    return 0.25 if sharpness else 1.0 if cell == "interval" else 0.5, rtol, sharpness


HEAD = """# Orders of convergence

L1 errors of the density and the slopes between successive meshes, for noisy Kuramoto oscillators on
the circle in each coordinate (W = −Σ cos(θ_i − θ'_i), T = 0.5, from Π (1 + 0.4 cos(θ_i − 1))/2π),
whose solution is smooth, positive and known by its Fourier modes. Cells: divisions of each side of
[0, 2π)^d. A degree passes where the last two slopes lie within 0.1 of degree + 1. Degree 6 on
intervals and quadrilaterals is measured on a law with more waves, at first Π (1 + 0.4 Σ 0.8^(k²−1)
cos k(θ_i − 1))/2π, lest rounding decide the error. There slopes between meshes of like size scatter
with how the cells lie under the waves (16, 20, 24 intervals: 6.96, 7.15), so sizes differ more.

Written by `python tests/benchmarks/orders.py`.

Orders in time: every method with fixed steps reaches the order that it declares, within 0.1
(`tests/order/test_time.py`). Where diffusion is stiff, the fourth-order IMEX method shows less: 3.8
with 12 cells of degree 3 at T = 0.3 and steps from 1/16 to 1/128.
"""

ITO_HEAD = """
## Diffusion that depends on the place, in Itô form

½ ∂_i∂_j(Σ_ij ρ) with a full matrix Σ(θ), on the flat torus in each dimension (`tests/warped.py`):
the phases z_i = ⟨k_i, θ⟩ along orthogonal, oblique waves k_i are independent and z_i + 0.3 sin z_i
is Brownian. By `warped.l1_errors(cell, degree, cells, t, rtol)`.

| cell | degree | t | rtol | cells | L1 errors | slopes | within 0.1 |
| --- | --- | --- | --- | --- | --- | --- | --- |
"""
ITO_FOOT = """
In 3D higher degrees take meshes of minutes and were not measured to a slope, nor were tetrahedra.

Where Σ depends on the law (a linear network under SGD noise of γ = 0.3, whose mean and covariance
are known), degree 3 gives the covariance at t = 0.5 to 1.7e-8 with 24 intervals at rtol 1e-9, and
to 8.3e-8 with 16² quadrilaterals on [−3, 3]² at rtol 1e-7.
"""


def row(
    lead: str, degree: int, t: float, rtol: float, counts: tuple[int, ...], errors: np.ndarray
) -> str:
    found = slopes(errors, counts)
    passed = bool((abs(found[-2:] - degree - 1) <= NEAR).all())
    line = (
        f"| {lead}{degree} | {t} | {rtol:.0e} | {', '.join(map(str, counts))} "
        f"| {', '.join(f'{e:.2e}' for e in errors)} "
        f"| {', '.join(f'{s:.2f}' for s in found)} | {'yes' if passed else '**no**'} |"
    )
    print(line, flush=True)
    return line


def main() -> None:
    parts = [HEAD]
    for cell, degrees in STUDIES.items():
        dim = {"interval": 1, "triangle": 2, "quadrilateral": 2}.get(cell, 3)
        print(cell)
        lines = [
            f"\n## {cell.capitalize()}, {dim}D\n",
            "| degree | t | rtol | cells | L1 errors | slopes | within 0.1 |",
            "| --- | --- | --- | --- | --- | --- | --- |",
        ]
        for degree, counts in degrees.items():
            t, rtol, sharpness = setting(cell, degree)
            errors = l1_errors(cell, degree, counts, t, rtol, sharpness)
            lines.append(row("", degree, t, rtol, counts, errors))
        parts.append("\n".join(lines) + "\n")
    parts.append(ITO_HEAD)
    for (cell, degree), (t, rtol, counts) in ITO.items():
        errors = warped.l1_errors(cell, degree, counts, t, rtol)
        parts.append(row(f"{cell} | ", degree, t, rtol, counts, errors) + "\n")
    parts.append(ITO_FOOT)
    (ROOT / "docs" / "orders.md").write_text("".join(parts))


if __name__ == "__main__":
    main()
