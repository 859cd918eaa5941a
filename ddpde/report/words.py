"""Sentences made from the data: what was done, and what came out."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
from scipy import stats

from ddpde.problem import DataSet, GaussianInputs, GaussianLaw, IsotropicGaussians, RidgeUnit
from ddpde.problem.activations import PiecewiseLinear
from ddpde.problem.initial import DensityLaw, Mixture
from ddpde.report.folder import Content
from ddpde.report.numerals import counted, grouped, known, listed, pm, short, sig

SPACES = {
    "eulerian": "discontinuous finite elements on a fixed mesh",
    "lagrangian": "finite elements on a mesh that moves with the flow",
}
# JKO methods that hold the law in a way of their own
LAWS = {
    "jko": "densities at the vertices of a fixed mesh",
    "jko-upwind": "densities at the vertices of a fixed mesh",
    "jko-bdf2": "densities at the vertices of a fixed mesh",
    "jko-dynamic": "densities at the vertices of a fixed mesh",
    "jko-dynamic-bdf2": "densities at the vertices of a fixed mesh",
    "jko-quantile": "quantile functions",
    "jko-quantile-midpoint": "quantile functions",
    "jko-quantile-bdf2": "quantile functions",
    "jko-entropic": "densities at the vertices of a fixed mesh",
}
_SPACES_SHORT = {
    "eulerian": ("discontinuous finite elements", "a fixed mesh"),
    "lagrangian": ("finite elements", "a moving mesh"),
}
_METHODS = {
    "rk3": "explicit Runge–Kutta, Bogacki–Shampine, order 3",
    "rk5": "explicit Runge–Kutta, Dormand–Prince, order 5",
    "rk8": "explicit Runge–Kutta, Verner, order 8",
    "imex3": "additive Runge–Kutta, diffusion implicit, order 3",
    "imex4": "additive Runge–Kutta, diffusion implicit, order 4",
    "jko": "JKO steps in the lagged H⁻¹ metric, order 1",
    "jko-upwind": "JKO steps in the lagged H⁻¹ metric, upwind mobility, order 1",
    "jko-bdf2": "BDF2 of the flow by lagged H⁻¹ steps, order 2",
    "jko-dynamic": "JKO steps by Benamou and Brenier's action, order 1",
    "jko-dynamic-bdf2": "JKO steps by Benamou and Brenier's action, as BDF2, order 2",
    "jko-quantile": "JKO steps, exact in W₂, order 1",
    "jko-quantile-midpoint": "JKO steps, exact in W₂, midpoint rule, order 2",
    "jko-quantile-bdf2": "JKO steps, exact in W₂, from an extrapolated law, order 2",
    "jko-entropic": "JKO steps by debiased Sinkhorn iterations, order 1",
}


def title(content: Content) -> str:
    """The case's own title, or the problem's name."""
    return content.case.get("title") or content.case["problem"].replace("_", " ").capitalize()


def method(name: str) -> str:
    """A time-stepping method in words."""
    return f"{_METHODS[name]} ({name})" if name in _METHODS else name


def changes(settings: dict[str, Any]) -> bool:
    """Whether the mesh follows the law, or its box grows."""
    return bool(settings.get("adapt") or settings.get("grow"))


def space(settings: dict[str, Any]) -> str:
    """A discretisation in words: finite elements of degree 3 on a fixed mesh of 96 intervals."""
    elements, mesh = _SPACES_SHORT.get(settings["space"], ("elements", "a mesh"))
    cells = meshed(settings)
    law = LAWS.get(settings.get("method", ""))
    if law is not None:
        degree = f" of degree {settings['degree']} on" if law == "quantile functions" else " of"
        return f"{law}{degree} {cells}"
    if changes(settings):
        return f"{elements} of degree {settings['degree']} on a mesh that changes, at first {cells}"
    return f"{elements} of degree {settings['degree']} on {mesh} of {cells}"


def meshed(settings: dict[str, Any]) -> str:
    """The cells of a mesh."""
    plural = {"hexahedron": "hexahedra", "tetrahedron": "tetrahedra"}.get(settings["cell"])
    if plural and settings["cells"] > 1:
        return f"{grouped(settings['cells'])} {plural}"
    return counted(settings["cells"], settings["cell"])


def budget(content: Content) -> np.ndarray | None:
    """Sum of the measured errors of the PDE's risk (n_times,); None where nothing was measured."""
    errors = (content.summary or {}).get("errors") or {}
    rows = [[x if known(x) else 0.0 for x in v] for v in errors.values() if any(map(known, v))]
    return np.sum(rows, axis=0) if rows else None


def limit(comparison: dict[str, Any], i: int, level: float = 0.05) -> tuple[float, float]:
    """Gap extrapolated to infinite width at time index i, and half width of its interval."""
    fit = comparison["risk_limit"][i]
    return fit["limit"], float(stats.t.ppf(1 - level / 2, fit["dof"]) * fit["limit_se"])


def abstract(content: Content) -> str:
    """One sentence: what was solved, against what, and what came out."""
    summary = content.summary
    settings = summary["pde"]["settings"] if summary else content.run
    end = f"t = {short(content.times[-1])}"
    flow = "distributional dynamics" if content.network else "gradient flow"
    start = f"The {flow} {_unknown(content)} is solved up to {end}"
    if not content.finished:
        start += ", where it was interrupted,"
    start += f" by {space(settings)}"
    quantity = "risk" if content.network else "free energy"
    risk = content.at_outputs(quantity.replace(" ", "_"))
    if summary is None:
        steps = counted(len(content.history["t"]) - 1, "step")
        ends = f"from {sig(risk[0], 4)} to {sig(risk[-1], 4)}"
        return f"{start}; the {quantity} goes {ends} in {steps}."
    errors = budget(content) if content.network else None
    value = pm(float(risk[-1]), None if errors is None else float(errors[-1]))
    if content.comparison is None:
        others = ["reference values"] * bool(summary.get("reference"))
        others += ["a second, independent discretisation"] * bool(summary.get("cross_check"))
        against = f", and set against {listed(others)}" if others else ""
        return f"{start}{against}; at {end} its {quantity} is {value}."
    comparison = content.comparison
    widths = [grouped(w) for w in comparison["widths"]]
    replicas = counted(len(summary["particles"]["risk"][0][0]), "replica")
    if len(widths) > 1:
        span, what = f"{widths[0]} to {widths[-1]}", "extrapolated to infinite width"
    else:
        span, what = widths[0], f"of {widths[0]} units"
    gap, half = limit(comparison, -1)
    resolved = abs(gap) > half + comparison["deterministic"][-1]
    outcome = "is" if resolved else "is not resolved:"
    return (
        f"{start}, and set against {replicas} of {_simulated(content, span)}; at {end} the "
        f"{quantity} of the PDE is {value}, and the gap of the {content.quantity} to the "
        f"{content.systems}, {what}, {outcome} {pm(gap, half, signed=True)}."
    )


def _simulated(content: Content, span: str) -> str:
    system = content.case["particles"].get("system") or "SGD"
    what = f"networks of {span} units" if content.network else f"systems of {span} particles"
    if str(system).startswith("Langevin") and not content.case["temperature"]:
        return f"{what} {_SYSTEMS['GradientFlow']}"
    for name, how in _SYSTEMS.items():
        if str(system).startswith(name):
            return f"{what} {how}"
    return what


_SYSTEMS = {
    "SGD": "trained by stochastic gradient descent",
    "Langevin": "that follow Langevin dynamics",
    "Diffusion": "that follow the diffusion with SGD’s noise",
    "GradientFlow": "that follow the gradient flow",
}


def _unknown(content: Content) -> str:
    """Of what the law is sought."""
    names, dim = content.labels, content.case["dimension"]
    if not content.network:
        given = names[0] if len(names) == 1 else f"θ = ({', '.join(names)})"
        where = " on two sheets, for a signed measure" if content.signed else " on a surface"
        return f"of a law of {given}" + where * content.on_surface
    if len(names) > 1:
        return f"of θ = ({', '.join(names)})" if names[0] == "θ₁" else f"of ({', '.join(names)})"
    if dim != content.dim:
        return f"of the law of {names[0]}, for units of {dim} parameters,"
    return f"of the law of {names[0]}"


def described(content: Content) -> list[tuple[str, str]]:
    """The problem as (name, words), as far as it is known."""
    case, problem = content.case, content.problem
    rows = [("Problem", case["problem"])]
    if problem is not None:
        if problem.unit is not None:
            rows += [("Unit", _unit(problem.unit)), ("Data", _data(problem.data))]
        if problem.potential is not None:
            rows.append(("Potential V", _function(problem.potential)))
        if problem.interaction is not None:
            rows.append(("Interaction W", _function(problem.interaction)))
        if problem.internal is not None:
            rows.append(("Internal energy ∫ h(ρ)", _function(problem.internal)))
        rows.append(("Initial law", _initial(problem.initial)))
    name = "Parameters of a unit" if content.network else "Dimension"
    rows.append((name, str(case["dimension"])))
    rows.append(("Mesh coordinates", ", ".join(content.labels)))
    circles = [
        f"{n}, of length {_turns(p)}"
        for n, p in zip(content.labels, content.periods, strict=True)
        if p
    ]
    if circles:
        rows.append(("Periodic", "; ".join(circles)))
    if content.network:
        rows.append(("Loss", case["loss"].lower()))
    rows.append(("Temperature T", short(case["temperature"])))
    if content.network or case["ridge"]:
        rows.append(("Ridge λ", short(case["ridge"])))
    if case["birth_death"]:
        rows.append(("Birth and death α", short(case["birth_death"])))
    rows += [(_spaced(k), value(v)) for k, v in case["parameters"].items() if k not in _SHOWN]
    return rows


_SHOWN = {"temperature", "ridge", "loss", "birth_death"}


def _spaced(name: str) -> str:
    return name.replace("_", " ")


def value(item: Any) -> str:
    """A parameter of any plain type."""
    if isinstance(item, bool):
        return "yes" if item else "no"
    if isinstance(item, int):
        return grouped(item)
    if isinstance(item, float):
        return short(item)
    if isinstance(item, list | tuple):
        return ", ".join(map(value, item))
    return "not given" if item is None else str(item)


def _unit(unit: Any) -> str:
    if not isinstance(unit, RidgeUnit):
        return type(unit).__name__
    inner = "⟨w, x⟩ + b" if unit.bias else "⟨w, x⟩"
    front = "a · " if unit.output_weight else ""
    activation = unit.activation
    if isinstance(activation, PiecewiseLinear):
        knots = ", ".join(
            f"({short(k)}, {short(v)})"
            for k, v in zip(activation.knots, activation.values, strict=True)
        )
        return f"{front}s({inner}), s piecewise linear through {knots}, constant outside"
    return f"{front}{getattr(activation, '__name__', 's')}({inner})"


def _function(function: Any) -> str:
    """A potential or an interaction by the first line of its own description."""
    lines = (function.__doc__ or "").strip().splitlines()
    text = re.sub(r"^[VW] = | \(n(,|, m)?\).*", "", lines[0]).rstrip(".") if lines else ""
    return text.replace("'", "′") if 0 < len(text) < 80 else "given by a function"


def _turns(length: float) -> str:
    """2π rather than its digits."""
    turns = length / np.pi
    if abs(turns - round(turns)) < 1e-12 and round(turns) > 0:
        return f"{round(turns) if round(turns) > 1 else ''}π"
    return short(length)


def _data(data: Any) -> str:
    if isinstance(data, DataSet):
        return f"{counted(len(data.y), 'training sample')} in {data.input_dim} dimensions"
    if isinstance(data, IsotropicGaussians):
        d = short(data.delta)
        return f"y = ±1, x given y normal N(0, (1 + {d} y)² I) in {data.dim} dimensions"
    if isinstance(data, GaussianInputs):
        return f"x standard normal in {counted(data.dim, 'dimension')}, y from a teacher"
    return type(data).__name__


def _initial(law: Any) -> str:
    if isinstance(law, Mixture):
        parts = zip(law.weights, law.components, strict=True)
        return "mixture: " + "; ".join(f"{short(w)} of {_initial(part)}" for w, part in parts)
    if isinstance(law, DensityLaw):
        return "given by its density"
    if not isinstance(law, GaussianLaw):
        return type(law).__name__
    if law.dim == 1:
        return f"normal, mean {short(law.mean[0])}, deviation {short(law.std[0])}"
    if len(set(law.mean)) == len(set(law.std)) == 1:
        return f"normal, mean {short(law.mean[0])}, deviation {short(law.std[0])} in each direction"
    return f"normal, mean ({value(law.mean)}), deviations ({value(law.std)})"
