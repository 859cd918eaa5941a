"""[particles]: from keys to a ParticlePlan."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from importlib.util import find_spec

import numpy as np

from ddpde.config.keys import ParticlesSection, Table
from ddpde.config.reader import Reader
from ddpde.errors import ProblemError
from ddpde.particles import SGD, Diffusion, GradientFlow, Langevin, Regime, System
from ddpde.problem import Problem
from ddpde.run import SolverOptions
from ddpde.validate.case import ParticlePlan

_MOST_STEPS = 2**32  # as the particles have it

_SYSTEMS: dict[str, type[System]] = {
    "sgd": SGD,
    "langevin": Langevin,
    "diffusion": Diffusion,
    "gradient_flow": GradientFlow,
}
_OF_SYSTEMS = ("sampling", "noise", "scale", "bandwidth")
_OF_REGIMES = ("gamma", "alpha", "beta")


def read_particles(
    reader: Reader,
    table: Table | None,
    times: Sequence[float],
    listed: bool,
    problem: Problem | None,
    options: SolverOptions,
    fixed: bool,
) -> ParticlePlan | None:
    """[particles]; `listed` says whether the output times come from solver.times, `fixed` whether
    some solution of the PDE, the main one with `options`, is on a mesh that does not move."""
    if table is None:
        return None
    section = reader.read(ParticlesSection, table, "particles")
    reader.need(table, "particles", "widths", "replicas")
    reader.increasing(section.widths, "particles.widths")
    step = _step(reader, section, table)
    system = _system(reader, section, problem, step)
    if reader.problems or step is None:
        return None
    others = {"system", "step_size", *_OF_SYSTEMS, *_OF_REGIMES}
    rest = section.model_dump(exclude_unset=True, exclude=others)
    plan = ParticlePlan(step_size=step, system=system, **rest)
    if plan.marginals:
        _has_marginals(reader, plan, plan.marginals)
    if plan.copies and problem is not None:
        _can_be_copied(reader, plan, problem, options)
    if plan.fluctuations and problem is not None:
        _predictable(reader, plan, problem, fixed)
    _reach_times(reader, plan, times, "solver.times" if listed else "solver.t_end")
    return None if reader.problems else plan


def _step(reader: Reader, section: ParticlesSection, table: Table) -> float | Regime | None:
    """step_size, or the regime that gamma, alpha and beta make."""
    given = [name for name in _OF_REGIMES if name in table]
    if given and "step_size" in table:
        reader.say(f"particles.{given[0]}", "particles.step_size is given too: keep one of them")
    elif given and "gamma" not in table:
        reader.say("particles.gamma", f"missing; {', '.join(given)} belong to it")
    elif not given and "step_size" not in table:
        reader.say("particles.step_size", "missing")
    elif section.gamma is not None:
        return Regime(
            section.gamma, section.alpha or 0.0, 1.0 if section.beta is None else section.beta
        )
    return section.step_size


def _system(
    reader: Reader,
    section: ParticlesSection,
    problem: Problem | None,
    step: float | Regime | None,
) -> System | None:
    """The named system, or the problem's default, with what it was given."""
    if problem is None:
        return None
    if any(problem.periods):
        reader.say("particles", "distances on circles are not available; leave the section out")
    given = {k: getattr(section, k) for k in _OF_SYSTEMS if getattr(section, k) is not None}
    name = section.system or ("sgd" if problem.unit is not None else "langevin")
    kind = _SYSTEMS[name]
    known = {f.name for f in fields(kind)}
    for key in given:
        if key not in known:
            homes = [k for k, s in _SYSTEMS.items() if key in {f.name for f in fields(s)}]
            reader.say(f"particles.{key}", f'not of system "{name}", but of {", ".join(homes)}')
    if name == "diffusion" and "scale" not in given and problem.noise is None:
        reader.say("particles.scale", 'missing; system "diffusion" needs it')
    if reader.problems or step is None:
        return None
    try:
        system = kind(**given).resolved(problem)
        for width in section.widths:
            size = step.step_size(width) if isinstance(step, Regime) else step
            system.check(problem, section.batch or 1, size)
    except ProblemError as error:
        reader.say("particles.system", " -> ".join(filter(None, [error.what, error.remedy])))
        return None
    return system


def _has_marginals(reader: Reader, plan: ParticlePlan, sizes: Sequence[int]) -> None:
    """Whether the laws of k particles can be compared."""
    path = "particles.marginals"
    reader.increasing(sizes, path)
    if max(sizes) > min(plan.widths):
        reader.say(path, f"{max(sizes)} of {min(plan.widths)} particles")
    if plan.replicas < 4:
        reader.say("particles.replicas", f"{plan.replicas}; particles.marginals needs at least 4")
    if find_spec("ot") is None:
        reader.say(path, "needs POT: pip install POT")


def _can_be_copied(
    reader: Reader, plan: ParticlePlan, problem: Problem, options: SolverOptions
) -> None:
    """Whether mean-field copies can move in the law of the PDE."""
    path = "particles.copies"
    if problem.reduction is not None:
        reader.say(path, "the law of a reduced problem is not that of all parameters")
    if options.adapt or options.grow:
        reader.say(path, "needs a law on one mesh: leave adapt and grow out of [solver]")
    system = plan.system or (SGD() if problem.unit is not None else Langevin())
    if not system.follows_law:
        reader.say(path, "an adaptive step cannot follow a given law: leave rtol out")
    if problem.birth_death:
        reader.say(path, "births and deaths are not those of the particles")


def _predictable(reader: Reader, plan: ParticlePlan, problem: Problem, fixed: bool) -> None:
    """Whether the central limit theorem of `ddpde.fluctuations` is about this system."""
    path = "particles.fluctuations"
    if not fixed:
        reader.say(path, 'needs space = "eulerian" in [solver] or [cross_check]')
    if problem.internal is not None:
        reader.say(path, "not known with an internal energy")
    if isinstance(plan.system, Diffusion) or getattr(plan.system, "noise", "common") != "common":
        reader.say(path, "not known for independent gradient noise")
    if problem.reduction is not None:
        reader.say(path, "SGD's own noise is not known for a reduced problem")


def _reach_times(reader: Reader, plan: ParticlePlan, times: Sequence[float], path: str) -> None:
    """Whether whole numbers of steps lead to the output times, at every width."""
    if not times:
        return
    name = "particles.gamma" if isinstance(plan.step_size, Regime) else "particles.step_size"
    factor = plan.bias_factor
    for width in plan.widths:
        step = plan.step(width)
        at = f" at N = {width}" if name == "particles.gamma" else ""
        # the bias of the step is measured with longer steps to the same times
        for length, what in [
            (step, name + at),
            (step * factor, f"{name}{at} x bias_factor = {factor} x"),
        ]:
            if not _reaches(reader, times, length, path, what):
                return


def _reaches(reader: Reader, times: Sequence[float], step: float, path: str, what: str) -> bool:
    """Whether whole numbers of steps lead to all the times; reports those they do not."""
    t = np.asarray(times)
    with np.errstate(over="ignore"):
        ratio = t / step
    if not ratio[-1] < _MOST_STEPS:
        reader.say("particles.step_size", f"{step:g} needs more than 2**32 steps to t = {t[-1]:g}")
        return False
    steps = np.rint(ratio)
    off = np.abs(ratio - steps) > 1e-6 + 1e-12 * steps
    off[1:] |= np.diff(steps) < 1
    if not off.any():
        return True
    values = ", ".join(f"{x:g}" for x in t[off][:5]) + (", ..." if off.sum() > 5 else "")
    first = t[off][0]
    near = max(1.0, np.rint(first / step)) * step
    reader.say(
        path,
        f"{values}: not whole numbers of steps of {step:g} ({what}); nearest to the first: "
        f"{near:.12g}",
    )
    return False
