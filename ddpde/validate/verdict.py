"""The verdict: one check a line, each with its number, its bound and its reason."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from scipy import stats

from ddpde.compare import ChaosGap, extrapolate
from ddpde.run import Trajectory
from ddpde.validate.case import Case
from ddpde.validate.comparison import Comparison, observed
from ddpde.validate.copies import StrongError
from ddpde.validate.solutions import Solutions
from ddpde.validate.spread import Spread


@dataclass(frozen=True)
class Check:
    """passed = (value <= bound); `detail` says in words what was compared."""

    name: str
    value: float
    bound: float
    detail: str

    @property
    def passed(self) -> bool:
        return bool(self.value <= self.bound)  # nan fails


@dataclass(frozen=True)
class Verdict:
    """All checks of a validation."""

    case: str
    checks: tuple[Check, ...]

    @property
    def passed(self) -> bool:
        return all(check.passed for check in self.checks)

    @property
    def reasons(self) -> list[str]:
        """A line a check, failed ones first."""
        ordered = sorted(self.checks, key=lambda check: check.passed)
        return [
            f"{'pass' if c.passed else 'FAIL'}  {c.name}: {c.value:.3g} (bound {c.bound:.3g}) — "
            f"{c.detail}"
            for c in ordered
        ]

    def as_dict(self) -> dict[str, Any]:
        """For verdict.json."""
        checks = [{**asdict(c), "passed": c.passed} for c in self.checks]
        return {"case": self.case, "passed": self.passed, "checks": checks}

    @classmethod
    def from_dict(cls, stored: dict[str, Any]) -> Verdict:
        """What `as_dict` gave."""
        fields = ("name", "value", "bound", "detail")
        return cls(stored["case"], tuple(Check(*(c[f] for f in fields)) for c in stored["checks"]))


def judge(case: Case, solutions: Solutions, comparison: Comparison | None) -> Verdict:
    """Set what was computed against what the case accepts."""
    checks = _invariants(solutions.main)
    if case.reference is not None:
        tolerance = case.acceptance.reference_rtol
        checks += _against_reference(case.reference, solutions.main, "PDE", tolerance)
        if solutions.cross is not None:
            tolerance = case.acceptance.cross_check_rtol
            checks += _against_reference(
                case.reference, solutions.cross, "second method", tolerance
            )
    if solutions.cross is not None:
        checks.append(_methods_agree(case, solutions))
    checks += _other_methods(case, solutions)
    if comparison is not None:
        if case.acceptance.limit == "random":
            checks += _random_limit(case, comparison)
        else:
            checks += against_particles(case, comparison)
        if case.reference is not None and "finite_risk" in case.reference:
            checks.append(_finite_risk(case, case.reference, comparison))
        if comparison.spread is not None:
            checks.append(_fluctuations(case, comparison.spread, comparison))
    return Verdict(case.name, tuple(checks))


def _invariants(run: Trajectory) -> list[Check]:
    history = run.history
    energy = history["free_energy"]
    rise = float(np.max(np.diff(energy), initial=0.0) / max(1.0, np.abs(energy).max()))
    peak = max(law.peak() for law in run.laws)
    drift = float(np.abs(history["mass"] / run.problem.mass - 1).max())
    return [
        *[Check("mass", drift, 1e-10, "largest relative drift")] * run.problem.conserved,
        Check(
            "positivity",
            float(0.0 - history["minimum"].min() / peak),
            1e-14,
            "least density over the largest, negated",
        ),
        *[Check("energy decay", rise, 1e-10, "largest rise of the free energy in a step")]
        * (run.problem.noise is None),
    ]


def _against_reference(
    reference: dict[str, Any], run: Trajectory, who: str, tolerance: float
) -> list[Check]:
    """Largest relative deviation from the table at the times both have."""
    checks = []
    ours = {"risk": observed(run), "mean": run.mean()[:, 0]}
    called = {"risk": _quantity(run), "mean": "mean"}
    for name in ("risk", "mean"):
        if name not in reference:
            continue
        deviations = [
            abs(ours[name][i] / value - 1)
            for t, value in zip(reference["times"], reference[name], strict=True)
            for i in np.flatnonzero(np.isclose(run.times, t, rtol=1e-12, atol=1e-14))
        ]
        worst = max(deviations, default=np.nan)
        times = "time" if len(deviations) == 1 else "times"
        detail = f"relative, at {len(deviations)} {times} of reference.json"
        checks.append(Check(f"{who}: {called[name]} against reference", worst, tolerance, detail))
    return checks


def _finite_risk(case: Case, reference: dict[str, Any], comparison: Comparison) -> Check:
    """Networks of each width against what is known of them exactly."""
    exact = np.array(reference["finite_risk"])
    pairs = [
        (i, j, exact[r, c])
        for r, n in enumerate(reference["widths"])
        for c, t in enumerate(reference["times"])
        for i in np.flatnonzero(comparison.widths == n)
        for j in np.flatnonzero(np.isclose(comparison.times, t, rtol=1e-12, atol=1e-14))
    ]
    freedom = comparison.replicas - 1
    level = case.acceptance.level / max(1, len(pairs))
    wider = stats.t.ppf(1 - level / 2, freedom) / stats.t.ppf(0.975, freedom)
    chance = wider * comparison.gap_half + np.abs(comparison.step_bias)
    worst = max(
        (abs(comparison.finite_risk[i, j] - value) / chance[i, j] for i, j, value in pairs),
        default=np.nan,
    )
    detail = (
        f"{len(pairs)} means over {comparison.replicas} replicas against exact values; in "
        "units of what chance and the step's bias explain"
    )
    return Check(f"{_quantity(case)} at finite N", float(worst), 1.0, detail)


def _fluctuations(case: Case, spread: Spread, comparison: Comparison) -> Check:
    """At the largest width, where the central limit theorem is nearest."""
    count = spread.predicted[-1].size
    misfit = spread.misfit(case.acceptance.level / count)[-1]
    worst = np.unravel_index(np.argmax(misfit), misfit.shape)
    ratio = (spread.measured / spread.predicted)[-1][worst]
    detail = (
        f"N = {comparison.widths[-1]}: variance over replicas against the central limit theorem's; "
        f"worst {ratio:.2f} of it, for the {spread.names[worst[1]]} at "
        f"t = {comparison.times[worst[0]]:g}; in units of what chance explains"
    )
    return Check("fluctuations", float(misfit[worst]), 1.0, detail)


def _random_limit(case: Case, comparison: Comparison) -> list[Check]:
    """Noise that all particles share, named, and a law that is not the PDE's."""
    found, accepted = comparison.common_noise[-1], case.acceptance
    sure = stats.norm.ppf(1 - accepted.level) * found.common_se
    times = f"t = {comparison.times[-1]:g}"
    over = float(comparison.w1[-1, -1] / comparison.floor[-1, -1])
    checks = [
        Check(
            "noise common to all particles",
            float(sure / found.common) if found.common > 0 else np.inf,
            1.0,
            f"{times}: {found}; what chance explains, over the part that does not fall with N",
        ),
        Check(
            "another law than the PDE's",
            accepted.w1_over_floor / over,
            1.0,
            f"{times}, N = {comparison.widths[-1]}: W₁ is {over:.3g} times that of independent "
            "draws; the bound over it",
        ),
    ]
    if case.reference is not None and "common_noise" in case.reference:
        wanted, error = case.reference["common_noise"]
        level = float(np.sqrt(max(found.common, 0.0)))
        chance = np.hypot(error, found.common_se / max(2 * level, 1e-300))
        excess = abs(level - wanted) / (stats.norm.ppf(1 - accepted.level / 2) * chance)
        detail = f"{times}: {level:.3g} against {wanted:g} ± {error:g}; in units of chance"
        checks.append(Check("size of the common noise", float(excess), 1.0, detail))
    return checks


def _quantity(of: Case | Trajectory) -> str:
    """What is compared: see `observed`."""
    return "risk" if of.problem.unit is not None else "energy"


def _judged(solutions: Solutions) -> str:
    """The name of `Trajectory.energy`."""
    return "risk" if solutions.main.problem.unit is not None else "free energy"


def _methods_agree(case: Case, solutions: Solutions) -> Check:
    assert solutions.cross is not None
    first, second = solutions.main.energy(), solutions.cross.energy()
    gap = float(np.max(np.abs(first - second) / np.abs(second)))
    bound = case.acceptance.reference_rtol
    detail = f"largest relative difference of the {_judged(solutions)}"
    return Check("both PDE methods agree", gap, bound, detail)


def _other_methods(case: Case, solutions: Solutions) -> list[Check]:
    what = _judged(solutions)
    return [
        Check(
            method.label,
            float(np.abs(solutions.differences(run)).max()),
            method.tolerance,
            f"largest difference of its {what} from the main run's, over the largest {what}",
        )
        for method, run in zip(case.methods, solutions.methods, strict=True)
    ]


def against_particles(case: Case, comparison: Comparison) -> list[Check]:
    accepted = case.acceptance
    # one family of tests: output times, with their copies, that of t = 0, marginals: Bonferroni
    beginning = comparison.beginning
    chaos: dict[int, list[ChaosGap]] = {}
    for found in comparison.chaos:
        chaos.setdefault(found.k, []).append(found)
    strong = comparison.strong
    tests = len(comparison.times) * (1 + (strong is not None)) + (beginning is not None)
    level = accepted.level / (tests + len(chaos))
    excess = [
        max(abs(e.limit) - budget, 0.0) / (e.critical(level) * e.limit_se)
        for e, budget in zip(comparison.risk_limit, comparison.deterministic, strict=True)
    ]
    worst = int(np.argmax(excess))
    at = comparison.risk_limit[worst]
    spared, least = "", accepted.w1_tolerance / accepted.w1_over_floor
    if least > 0:
        spared = f", or over {least:g} where those come closer"
    # a law that has condensed into a point leaves its draws no distance at all
    floor = np.maximum(comparison.floor[-1], max(least, 1e-300))
    worst_w1 = float(np.max(comparison.w1[-1] / floor))
    checks = [
        Check(
            f"{_quantity(case)} of particles, N → ∞",
            float(excess[worst]),
            1.0,
            f"worst at t = {comparison.times[worst]:g}: limit of the gap {at.limit:+.2e} "
            f"± {at.critical(level) * at.limit_se:.1e}, error budget "
            f"{comparison.deterministic[worst]:.1e}; in units of what chance explains",
        ),
        Check(
            "bias of the step size",
            float(np.max(comparison.step_bias_ratio)),
            1.0,
            f"largest bias over the Monte Carlo half width at N = {comparison.widths[-1]}",
        ),
        Check(
            "W₁ to the PDE's law",
            worst_w1,
            accepted.w1_over_floor,
            f"N = {comparison.widths[-1]}: mean distance over that of independent draws{spared}",
        ),
    ]
    if beginning is not None:
        checks.append(
            Check(
                "risk gap of independent neurons",
                beginning.excess(level, comparison.deterministic[0] * comparison.widths[-1]),
                1.0,
                f"t = 0: N times the gap {beginning.rate:.4g} ± {beginning.rate_se:.1g}, from "
                f"i = j {beginning.expected:.4g} ± {beginning.expected_se:.1g}; in units of what "
                "chance explains",
            )
        )
    if strong is not None:
        checks.append(_strong(strong, comparison, level))
    return checks + [_marginals(gaps, comparison, level) for gaps in chaos.values()]


def _strong(found: StrongError, comparison: Comparison, level: float) -> Check:
    """E |X − X̄|² is O(1/N) but for what the step adds; zero at t = 0."""
    later = range(int(comparison.times[0] == 0), len(comparison.times))
    chance = {i: found.limit[i].critical(level) * found.limit[i].limit_se for i in later}
    excess = {i: max(abs(found.limit[i].limit) - found.step[i], 0.0) / chance[i] for i in later}
    worst = max(later, key=lambda i: excess[i])
    return Check(
        "strong error, N → ∞",
        float(excess[worst]),
        1.0,
        f"worst at t = {comparison.times[worst]:g}: limit of E|X − X̄|² to mean-field copies "
        f"{found.limit[worst].limit:+.2e} ± {chance[worst]:.1e}, from the step "
        f"{found.step[worst]:.1e}; in units of what chance explains",
    )


def _marginals(gaps: list[ChaosGap], comparison: Comparison, level: float) -> Check:
    """W₂² of k particles is O(k²/N²): what is left of it as N → ∞."""
    widths = np.array([gap.width for gap in gaps])
    fit = extrapolate(widths**2, np.stack([gap.squares for gap in gaps]))
    chance = fit.critical(level) * fit.limit_se
    return Check(
        f"law of {gaps[0].k} particles, N → ∞" if gaps[0].k > 1 else "law of a particle, N → ∞",
        float(abs(fit.limit) / chance),
        1.0,
        f"t = {comparison.times[-1]:g}: limit of W₂² to independent draws {fit.limit:+.2e} "
        f"± {chance:.1e}; in units of what chance explains",
    )
