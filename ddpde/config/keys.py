"""The keys of a case file, table by table.

A key left out takes the default of the object it ends in (SolverOptions, ParticlePlan,
Acceptance): here a field is None where its key is absent or could not be read.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from ddpde.run.options import LEAST_ADAPT, MOST_INNER_STEPS, SPACES
from ddpde.step import JKO_METHODS, METHODS

CELLS = {2: ("quadrilateral", "triangle"), 3: ("hexahedron", "tetrahedron")}

Table = dict[str, Any]
Count = Annotated[int, Field(ge=1, lt=2**32)]
Positive = Annotated[float, Field(gt=0)]
Part = Annotated[float, Field(gt=0, lt=1)]  # a relative error of 1 allows anything
Times = tuple[Annotated[float, Field(ge=0)], ...]
# in one dimension 3 may stand for [3]
Scalar = BeforeValidator(lambda v: tuple(v) if isinstance(v, list) else (v,))


def optional(**limits: Any) -> Any:
    """A key that may be absent."""
    return Field(default=None, **limits)


class Section(BaseModel):
    """A table of the file."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False, frozen=True)


class CaseSection(Section):
    title: str = optional(min_length=1)
    name: str = optional(pattern=r"^\w[\w.-]*$")
    problem: Table = optional()
    mesh: Table = optional()
    solver: Table = optional()
    cross_check: Table = optional()
    methods: list[Table] = optional(min_length=1)
    particles: Table = optional()
    acceptance: Table = optional()


class ProblemSection(Section):
    name: str = optional()
    parameters: Table = optional()


class MeshSection(Section):
    lower: Annotated[tuple[float, ...], Scalar] = optional()
    upper: Annotated[tuple[float, ...], Scalar] = optional()
    cells: Annotated[tuple[Count, ...], Scalar] = optional()
    cell: Literal[CELLS[2] + CELLS[3]] = optional()  # type: ignore[valid-type]
    file: str = optional()
    signed: bool = optional()


class OptionsSection(Section):
    space: Literal[tuple(SPACES)] = optional()  # type: ignore[valid-type]
    degree: int = optional(ge=1, le=12)
    method: Literal[("auto", *METHODS, *JKO_METHODS)] = optional()  # type: ignore[valid-type]
    rtol: float = optional(ge=1e-14, lt=1)  # rounding is 1e-16
    dt: Positive = optional()
    inner_steps: int = optional(ge=1, le=MOST_INNER_STEPS)
    adapt: float = optional(ge=LEAST_ADAPT, lt=1)
    adapt_depth: int = optional(ge=1, le=12)
    grow: Part = optional()
    steady: Part = optional()


class SolverSection(OptionsSection):
    times: Times = optional(min_length=1)
    t_end: Positive = optional()


class CrossCheckSection(OptionsSection, MeshSection):
    pass


class MethodsSection(CrossCheckSection):
    """An entry of [[methods]]."""

    label: str = optional(min_length=1)
    tolerance: Part = optional()


class ParticlesSection(Section):
    widths: tuple[Count, ...] = optional(min_length=1)
    replicas: int = optional(ge=2, lt=2**32)
    step_size: Positive = optional()
    gamma: Positive = optional()
    alpha: float = optional(ge=0, lt=1)
    beta: float = optional(ge=0, le=1)
    system: Literal["sgd", "langevin", "diffusion", "gradient_flow"] = optional()
    sampling: Literal["fresh", "reshuffled", "full"] = optional()
    noise: Literal["common", "independent"] = optional()
    scale: float = optional(ge=0)
    bandwidth: float = optional(gt=0)
    seed: int = optional(ge=0, lt=2**32)
    batch: Count = optional()
    dtype: Literal["float32", "float64"] = optional()
    bias_factor: int = optional(ge=2)
    risk_samples: int = optional(ge=2, lt=2**32)
    fluctuations: bool = optional()
    marginals: tuple[Count, ...] = optional(min_length=1)
    copies: bool = optional()


class AcceptanceSection(Section):
    reference: str = optional()
    reference_rtol: Part = optional()
    cross_check_rtol: Part = optional()
    level: float = optional(ge=1e-9, lt=1)
    w1_over_floor: Positive = optional()
    w1_tolerance: float = optional(ge=0)
    limit: Literal["law", "random"] = optional()


class ReferenceFile(Section):
    """reference.json: risk, and mean of the first coordinate, at some times; where it is from.

    finite_risk: a row for each of `widths`, the expected risk of networks of that width.
    common_noise: at the last time, the part of the standard deviation over replicas of the mean of
    the first coordinate that no width removes, and its own error.
    """

    source: str = optional()
    times: Times = optional(min_length=1)
    risk: tuple[float, ...] = optional()
    mean: tuple[float, ...] = optional()
    widths: tuple[Count, ...] = optional(min_length=1)
    finite_risk: tuple[tuple[float, ...], ...] = optional(min_length=1)
    common_noise: tuple[float, float] = optional()


SECTIONS: dict[str, type[Section]] = {
    "problem": ProblemSection,
    "mesh": MeshSection,
    "solver": SolverSection,
    "cross_check": CrossCheckSection,
    "methods": MethodsSection,
    "particles": ParticlesSection,
    "acceptance": AcceptanceSection,
}
