"""What a solve leaves behind."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ddpde.comm import rank
from ddpde.errors import DdpdeError
from ddpde.problem import Problem
from ddpde.run.environment import environment
from ddpde.run.picture import picture
from ddpde.space import Law


@dataclass(eq=False, repr=False)
class Trajectory:
    """Laws at the output times and scalars at every accepted step.

    `history` maps t, dt (the step in s = ∫ ξ dt), risk, free_energy, mass, minimum and
    boundary_mass to arrays (n_steps,), the initial state first; in the method of lines also
    corrected, how much the law was changed after the step lest the free energy rise, relative to
    the peak. `outputs` maps the same names to arrays (n_times,) at the output times, which need
    not end a step. `laws` is filled on rank 0 only.
    `finished` is False where the run was interrupted: everything up to then is here. `steady_at`:
    the time at which the law was found to be steady, if that was asked for; the output times after
    it have the law of then.
    """

    problem: Problem
    settings: dict[str, Any]
    times: np.ndarray
    laws: list[Law]
    history: dict[str, np.ndarray]
    truncated_mass: float
    wall: float
    finished: bool = True
    steady_at: float | None = None
    outputs: dict[str, np.ndarray] = field(default_factory=dict)

    def __repr__(self) -> str:
        name, what = (
            ("risk", self.risk()) if self.problem.unit else ("free energy", self.free_energy())
        )
        where = f"{self.settings['cells']} cells ({self.settings['cell']})"
        return (
            f"Trajectory({self.problem.name}: t = {self.times[0]:g} to {self.times[-1]:g} in "
            f"{len(self.history['t']) - 1} steps of {self.settings['method']} on {where}, "
            f"{name} {what[0]:.6g} to {what[-1]:.6g}, {len(self.laws)} laws)"
        )

    def risk(self) -> np.ndarray:
        """Risk E ℓ(f_ρ, y) (n_times,) at the output times."""
        return self.outputs["risk"]

    def free_energy(self) -> np.ndarray:
        """F + T ∫ ρ log ρ (n_times,) at the output times."""
        return self.outputs["free_energy"]

    def energy(self) -> np.ndarray:
        """What judges the flow (n_times,): the risk of a network, else the free energy."""
        return self.risk() if self.problem.unit is not None else self.free_energy()

    def mean(self) -> np.ndarray:
        """Mean of each mesh coordinate (n_times, k) at the output times; rank 0 only."""
        points = [law.points() for law in self.laws]
        return np.array([masses @ x / masses.sum() for x, masses in points])

    def plot(self, path: str | Path | None = None) -> Any:
        """Risk (without a network: free energy) over time and the laws, in one to three dimensions.

        A matplotlib figure; saved if `path` is given. Laws are on rank 0, which alone saves.
        """
        figure = picture(self)
        if path is not None and rank() == 0:
            figure.savefig(path, dpi=150)
        return figure


class Recorder:
    """Collects a trajectory step by step, and writes it to a folder as it grows (rank 0)."""

    def __init__(self, folder: Path | None, settings: dict[str, Any]) -> None:
        self._folder = folder
        self._rows: list[dict[str, float]] = []
        self.laws: list[Law] = []
        self.outputs: list[dict[str, float]] = []
        self._scalars = self._at_outputs = None
        if folder is not None:
            try:
                (folder / "laws").mkdir(parents=True, exist_ok=True)
                text = json.dumps(
                    settings | {"environment": environment()}, indent=2, default=plain
                )
                (folder / "run.json").write_text(text + "\n")
                self._scalars = (folder / "history.jsonl").open("w")
                self._at_outputs = (folder / "outputs.jsonl").open("w")
            except OSError as error:
                raise DdpdeError(f"cannot write to {folder}: {error}") from error

    def step(self, row: dict[str, float]) -> None:
        """One accepted step."""
        self._rows.append(row)
        if self._scalars is not None:
            self._scalars.write(json.dumps(row) + "\n")

    def repeat(self, t: float) -> None:
        """The last row once more, at a later time."""
        self.step(self._rows[-1] | {"t": t, "dt": 0.0})

    def latest(self, name: str) -> float:
        """The last recorded value of a scalar."""
        return self._rows[-1][name]

    def output(self, t: float, law: Law | None, row: dict[str, float] | None = None) -> None:
        """The state at an output time; its scalars are those of the last step if not given."""
        row = (row or self._rows[-1]) | {"t": t}
        self.outputs.append(row)
        if law is not None:
            self.laws.append(law)
            if self._folder is not None:
                law.save(self._folder / "laws" / f"{len(self.laws) - 1:04d}.npz")
        if self._at_outputs is not None:
            assert self._scalars is not None
            self._at_outputs.write(json.dumps(row) + "\n")
            self._at_outputs.flush()
            self._scalars.flush()

    def rescue(self, law: Law | None) -> str:
        """Keep the last good state of a failed run; says where."""
        if law is None or self._folder is None:
            return ""
        path = self._folder / "laws" / "last.npz"
        law.save(path)
        return f"; the law at t = {law.time:.6g} is in {path}"

    def history(self) -> dict[str, np.ndarray]:
        """The steps' scalars as columns."""
        return _columns(self._rows)

    def at_outputs(self) -> dict[str, np.ndarray]:
        """The scalars at the output times as columns."""
        return _columns(self.outputs)

    def close(self) -> None:
        """Flush and close the scalar files."""
        for file in (self._scalars, self._at_outputs):
            if file is not None:
                file.close()


def plain(item: object) -> object:
    """What JSON has no word for (an array among a problem's parameters), for `json.dumps`."""
    if isinstance(item, np.ndarray):
        return item.tolist()
    return item.item() if isinstance(item, np.generic) else str(item)


def _columns(rows: list[dict[str, float]]) -> dict[str, np.ndarray]:
    return {key: np.array([row[key] for row in rows]) for key in rows[0]} if rows else {}
