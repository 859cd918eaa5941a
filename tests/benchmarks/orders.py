"""Orders of convergence in space for every cell: writes docs/orders.md from what it measures.

`python tests/benchmarks/orders.py`; the fast ones are also tests, in tests/order/test_space.py.
"""

import sys
from pathlib import Path

from mpi4py import MPI  # noqa: F401  (before DOLFINx)

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tests"))

from rings import l1_errors, slopes  # noqa: E402

NEAR = 0.1  # the last two slopes are to lie as near as this to degree + 1

# cell: (time, rtol, {degree: divisions of each side})
STUDIES = {
    "interval": (
        1.0,
        1e-12,
        {
            1: (16, 32, 64, 128),
            2: (16, 32, 64, 128),
            3: (8, 16, 32, 64),
            4: (8, 16, 24, 32),
            5: (8, 16, 24, 32),
            6: (8, 12, 16, 20),
        },
    ),
    "quadrilateral": (
        0.5,
        1e-9,
        {1: (8, 16, 32), 2: (8, 16, 32), 3: (8, 16, 24, 32), 4: (8, 12, 16, 20)},
    ),
    "triangle": (
        0.5,
        1e-9,
        {1: (8, 16, 32), 2: (8, 16, 32), 3: (8, 16, 24), 4: (8, 12, 16)},
    ),
    "hexahedron": (0.3, 1e-7, {1: (4, 8, 12, 16), 2: (4, 8, 12, 16)}),
    "tetrahedron": (0.3, 1e-7, {1: (4, 8, 12), 2: (4, 6, 8)}),
}

HEAD = """# Orders of convergence

L1 errors of the density and the slopes between successive meshes, for noisy Kuramoto oscillators on
the circle in each coordinate (W = −Σ cos(θ_i − θ'_i), T = 0.5, from Π (1 + 0.4 cos(θ_i − 1))/2π),
whose solution is smooth, positive and known by its Fourier modes. Cells: divisions of each side of
[0, 2π)^d. A degree passes where the last two slopes lie within 0.1 of degree + 1.

Written by `python tests/benchmarks/orders.py`. Degree 6 on intervals (errors of 1e-11) and
tetrahedra (at most 12 divisions) do not pass on these meshes.

Orders in time: every method with fixed steps reaches the order that it declares, within 0.1
(`tests/order/test_time.py`). Where diffusion is stiff, the fourth-order IMEX method shows less: 3.8
with 12 cells of degree 3 at T = 0.3 and steps from 1/16 to 1/128.
"""


def main() -> None:
    parts = [HEAD]
    for cell, (t, rtol, degrees) in STUDIES.items():
        dim = {"interval": 1, "triangle": 2, "quadrilateral": 2}.get(cell, 3)
        lines = [
            f"\n## {cell.capitalize()}, {dim}D (t = {t}, rtol = {rtol:g})\n",
            "| degree | cells | L1 errors | slopes | within 0.1 |",
            "| --- | --- | --- | --- | --- |",
        ]
        for degree, counts in degrees.items():
            errors = l1_errors(cell, degree, counts, t, rtol)
            found = slopes(errors, counts)
            passed = bool((abs(found[-2:] - degree - 1) <= NEAR).all())
            lines.append(
                f"| {degree} | {', '.join(map(str, counts))} "
                f"| {', '.join(f'{e:.2e}' for e in errors)} "
                f"| {', '.join(f'{s:.2f}' for s in found)} | {'yes' if passed else '**no**'} |"
            )
            print(cell, lines[-1], flush=True)
        parts.append("\n".join(lines) + "\n")
    (ROOT / "docs" / "orders.md").write_text("".join(parts))


if __name__ == "__main__":
    main()
