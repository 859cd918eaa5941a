"""What a folder holds: read, checked for completeness, and handed on as one object."""

from __future__ import annotations

import hashlib
import inspect
import json
import re
import tomllib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np

from ddpde.errors import DdpdeError
from ddpde.problem import Problem
from ddpde.problem.catalogue import CATALOGUE
from ddpde.space import Law

Summary = dict[str, Any]
USED = "case.used.toml"  # the case file, as it was when the run began
_REMEDY = "give the folder that `ddpde validate` or `ddpde run` wrote"


@dataclass(frozen=True, eq=False)
class Content:
    """`summary` is None for a plain run; `laws` are those of the output times; `history` and
    `outputs` are columns, a number for each step and for each output time.

    `arrays`: "particles" (n_times, replicas, N, k) and, for data sets, samples and decision
    functions; empty where nothing was trained.
    """

    folder: Path
    run: Summary
    history: dict[str, np.ndarray]
    outputs: dict[str, np.ndarray]
    laws: list[Law]
    summary: Summary | None
    arrays: dict[str, np.ndarray]
    hashes: dict[str, str]

    @property
    def case(self) -> Summary:
        """The description of what was solved, the problem's terms in it."""
        if self.summary is not None:
            return self.run["terms"] | self.summary["case"]
        named = {"problem": self.run["problem"], "parameters": self.run["parameters"]}
        return self.run["terms"] | named | self.used

    @cached_property
    def used(self) -> Summary:
        """Title and name that the case file gave, as far as the folder has it."""
        try:
            used = tomllib.loads((self.folder / USED).read_text("utf-8"))
        except (OSError, ValueError):  # of a run that had no file
            return {}
        return {key: used[key] for key in ("title", "name") if isinstance(used.get(key), str)}

    @property
    def comparison(self) -> Summary | None:
        return self.summary["comparison"] if self.summary else None

    @property
    def times(self) -> np.ndarray:
        return np.array([law.time for law in self.laws])

    @property
    def dim(self) -> int:
        """Of the mesh."""
        return self.laws[0].gdim

    @property
    def labels(self) -> list[str]:
        """Names of the mesh coordinates."""
        names = self.run["terms"]["labels"]
        return [re.sub(r"^θ(\d)$", lambda m: "θ" + chr(0x2080 + int(m[1])), n) for n in names]

    @property
    def network(self) -> bool:
        """Whether there is a network, and with it a risk."""
        return self.run["terms"]["network"]

    @property
    def quantity(self) -> str:
        """What particles are compared in: the risk of networks, else the energy without entropy."""
        return "risk" if self.network else "energy"

    @property
    def systems(self) -> str:
        """What the particles are, in the plural."""
        return "networks" if self.network else "particle systems"

    @property
    def periods(self) -> list[float | None]:
        """The length of each mesh coordinate that is a circle."""
        return self.run["terms"]["periods"]

    @property
    def on_surface(self) -> bool:
        """Whether the mesh is a surface or a curve in a space of more dimensions."""
        return self.laws[0].tdim < self.dim

    @property
    def signed(self) -> bool:
        """Whether the mesh is two sheets, for a signed measure."""
        return self.laws[0].signed

    @property
    def closed(self) -> bool:
        """Whether every coordinate is a circle, so that there is no rim."""
        return all(self.periods)

    @property
    def finished(self) -> bool:
        return self.summary["pde"]["finished"] if self.summary else True

    @cached_property
    def problem(self) -> Problem | None:
        """The problem built again from its name; None for a user's own."""
        name, parameters = self.run["problem"], self.run["parameters"]
        build = CATALOGUE.get(name)
        if build is None or set(parameters) != set(inspect.signature(build).parameters):
            return None
        return build(**{k: tuple(v) if isinstance(v, list) else v for k, v in parameters.items()})

    def at_outputs(self, column: str) -> np.ndarray:
        """A column of the scalars at the output times."""
        return self.outputs[column][: len(self.laws)]


def read(folder: Path) -> Content:
    """Everything in a folder; DdpdeError that names what is missing or unreadable."""
    folder = Path(folder)
    if not folder.is_dir():
        raise DdpdeError(f"no folder {folder}", _REMEDY)
    needed = ("run.json", "history.jsonl", "outputs.jsonl", "laws")
    missing = [name for name in needed if not (folder / name).exists()]
    if not missing and not (folder / "laws" / "0000.npz").exists():
        missing = ["laws/0000.npz"]
    if missing:
        raise DdpdeError(f"{folder} holds no run: {', '.join(missing)} missing", _REMEDY)
    history, outputs = (_columns(folder / name) for name in ("history.jsonl", "outputs.jsonl"))
    summary = _parsed(folder / "summary.json") if (folder / "summary.json").exists() else None
    laws = _laws(folder, outputs["t"], summary)
    arrays: dict[str, np.ndarray] = {}
    if summary is not None and (folder / "arrays.npz").exists():
        try:
            with np.load(folder / "arrays.npz", allow_pickle=False) as stored:
                arrays = dict(stored)
        except (OSError, ValueError, BadZipFile) as error:
            raise DdpdeError(f"{folder / 'arrays.npz'} is unreadable: {error}") from error
    files = (
        "run.json",
        "history.jsonl",
        "outputs.jsonl",
        "summary.json",
        "arrays.npz",
        "verdict.json",
    )
    hashes = {
        name: hashlib.sha256((folder / name).read_bytes()).hexdigest()
        for name in files
        if (folder / name).exists()
    }
    run = _parsed(folder / "run.json")
    if not {"terms", "environment"} <= run.keys():
        raise DdpdeError(f"{folder} is of an earlier version of ddpde", "run it again")
    return Content(folder, run, history, outputs, laws, summary, arrays, hashes)


def _columns(path: Path) -> dict[str, np.ndarray]:
    rows = _parsed(path, lines=True)
    return {key: np.array([row[key] for row in rows]) for key in rows[0]}


def _parsed(path: Path, *, lines: bool = False) -> Any:
    try:
        text = path.read_text()
        if not lines:
            return json.loads(text)
        rows = text.splitlines(keepends=True)
        # a run that was killed may leave half a line behind
        complete = rows if rows and rows[-1].endswith("\n") else rows[:-1]
        if not complete:
            raise ValueError("it is empty")
        return [json.loads(row) for row in complete]
    except (OSError, ValueError) as error:
        raise DdpdeError(f"{path} is unreadable: {error}") from error


def _laws(folder: Path, times: np.ndarray, summary: Summary | None) -> list[Law]:
    """The laws of this run: an earlier, longer one may have left more files behind."""
    laws: list[Law] = []
    for path in sorted((folder / "laws").glob("*.npz")):
        try:
            law = Law.load(path)
        except (OSError, ValueError, KeyError, BadZipFile) as error:
            raise DdpdeError(f"{path} is unreadable: {error}") from error
        stale = laws and law.time <= laws[-1].time
        if stale or np.abs(times - law.time).min() > 1e-9 * max(1.0, law.time):
            break
        laws.append(law)
    if summary is not None:
        wanted = np.array(summary["pde"]["times"])
        found = np.array([law.time for law in laws])[: len(wanted)]
        if found.shape != wanted.shape or not np.allclose(found, wanted):
            raise DdpdeError(
                f"{folder} mixes two runs: laws at t = {found.tolist()}, "
                f"summary.json for t = {wanted.tolist()}",
                "validate again",
            )
        laws = laws[: len(wanted)]
    return laws
