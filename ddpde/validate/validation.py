"""validate(): solve, train, compare, judge, and leave a folder that a report is made from."""

from __future__ import annotations

import dataclasses
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
from mpi4py import MPI

from ddpde.compare import law_risk, prediction
from ddpde.particles import SGD, Langevin, predict
from ddpde.problem import DataSet, Problem
from ddpde.run import Trajectory
from ddpde.run.trajectory import plain
from ddpde.validate.case import Case, ParticlePlan
from ddpde.validate.comparison import Comparison, compare, marginal_gaps, observed
from ddpde.validate.copies import law_path
from ddpde.validate.experiments import Experiments, run_experiments
from ddpde.validate.kept import fingerprint
from ddpde.validate.solutions import Solutions, solve_case
from ddpde.validate.spread import predicted_fluctuations, spread
from ddpde.validate.verdict import Verdict, judge


def validate(case: Case, folder: str | Path | None = None) -> Verdict:
    """Run the whole validation of a case.

    The PDE uses all MPI ranks, the particles' replicas are spread over them, and rank 0 compares.
    With `folder` everything a report needs is written there: the main run as `solve` writes it,
    `summary.json`, `arrays.npz`, `verdict.json`. All ranks return the same verdict.
    """
    started = time.monotonic()
    comm = MPI.COMM_WORLD
    path = Path(folder) if folder is not None else None
    solutions = solve_case(case, folder=path)
    predicted = predicted_fluctuations(case)
    experiments = comparison = verdict = None
    if case.particles is not None:
        times = comm.bcast(solutions.main.times, root=0)
        path_of_law = law_path(case) if case.particles.copies else None
        experiments = run_experiments(case.problem, case.particles, times, comm, path_of_law)
    if comm.rank == 0:
        if case.particles is not None and experiments is not None:
            comparison = compare(solutions, experiments, case.mesh, case.particles.seed)
            chaos = marginal_gaps(solutions.main.laws[-1], experiments, case.particles)
            comparison = dataclasses.replace(comparison, chaos=chaos)
            if predicted is not None:
                found = spread(case.problem, case.particles, predicted, experiments)
                comparison = dataclasses.replace(comparison, spread=found)
        verdict = judge(case, solutions, comparison)
        if path is not None:
            wall = time.monotonic() - started
            _write(path, case, solutions, experiments, comparison, verdict, wall)
    return comm.bcast(verdict, root=0)


def _write(
    folder: Path,
    case: Case,
    solutions: Solutions,
    experiments: Experiments | None,
    comparison: Comparison | None,
    verdict: Verdict,
    wall: float,
) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    summary: dict[str, Any] = {
        "case": _described(case),
        "command": _command(case),
        "wall": wall,
        "pde": _run(solutions.main),
        "cross_check": _run(solutions.cross) if solutions.cross else None,
        "methods": [
            {
                "label": method.label,
                "tolerance": method.tolerance,
                "differences": solutions.differences(run),
                "risk": run.risk(),
                "steps": len(run.history["t"]) - 1,
                "wall": run.wall,
                "settings": run.settings,
            }
            for method, run in zip(case.methods, solutions.methods, strict=True)
        ],
        "reference": case.reference,
        "errors": solutions.errors,
        "particles": None,
        "comparison": dataclasses.asdict(comparison) if comparison else None,
        "data": None,
        "verdict": verdict.as_dict(),
    }
    arrays: dict[str, np.ndarray] = {}
    if experiments is not None:
        summary["particles"] = {
            "risk": experiments.risk,
            "step_bias": experiments.step_bias,
            "bias_width": experiments.bias_width,
            "wall": experiments.wall,
        }
        arrays["particles"] = experiments.coordinates[-1].astype(np.float32)
        if isinstance(case.problem.data, DataSet):
            summary["data"], grids = _on_data(case, solutions.main, experiments)
            arrays.update(grids)
    (folder / "summary.json").write_text(_json(summary))
    np.savez_compressed(folder / "arrays.npz", **arrays)  # type: ignore[arg-type]
    # last: where there is a verdict, there is everything
    stored = {**verdict.as_dict(), "fingerprint": fingerprint(case)}
    (folder / "verdict.json").write_text(_json(stored))


def _on_data(
    case: Case, run: Trajectory, experiments: Experiments
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Train and test risk of the mean-field limit, and decision functions where x is planar."""
    problem, law = case.problem, run.laws[-1]
    data = problem.data
    assert isinstance(data, DataSet)
    out: dict[str, Any] = {
        "train_risk": law_risk(problem, law, data.x, data.y),
        "networks_train": experiments.risk[:, -1],
        "train_error": _error(prediction(problem, law, data.x), data.y),
        "networks_train_error": _network_errors(problem, experiments, data),
    }
    grids: dict[str, np.ndarray] = {"train_x": data.x, "train_y": data.y}
    test = problem.test_data
    if isinstance(test, DataSet) and experiments.test_risk is not None:
        out["test_risk"] = law_risk(problem, law, test.x, test.y)
        out["test_error"] = _error(prediction(problem, law, test.x), test.y)
        out["networks_test"] = experiments.test_risk[:, -1]
        out["networks_test_error"] = _network_errors(problem, experiments, test)
        grids |= {"test_x": test.x, "test_y": test.y}
    if data.x.shape[1] == 2:
        reach = 1.1 * np.abs(data.x).max()
        axis = np.linspace(-reach, reach, 121)
        grid = np.stack(np.meshgrid(axis, axis, indexing="xy"), axis=-1).reshape(-1, 2)
        network = experiments.network.astype(np.float64)
        grids |= {
            "axis": axis,
            "decision": prediction(problem, law, grid).reshape(121, 121),
            "network_decision": predict(problem, network, grid).reshape(121, 121),
        }
    return out, grids


def _network_errors(problem: Problem, experiments: Experiments, data: DataSet) -> np.ndarray:
    """Error (n_widths, replicas) of the networks at the last time; problems without reduction."""
    return np.array(
        [
            [_error(f, data.y) for f in predict(problem, c[-1], data.x)]
            for c in experiments.coordinates
        ]
    )


def _error(f: np.ndarray, y: np.ndarray) -> float:
    """Share of samples on the wrong side, for labels ±1."""
    return float(np.mean(np.sign(f) != np.sign(y)))


def _run(run: Trajectory) -> dict[str, Any]:
    return {
        "times": run.times,
        "risk": observed(run),
        "free_energy": run.free_energy(),
        "mean": run.mean(),
        "boundary_mass": run.history["boundary_mass"].max(),
        "truncated_mass": run.truncated_mass,
        "mass_drift": np.abs(run.history["mass"] / run.problem.mass - 1).max(),
        "minimum": run.history["minimum"].min(),
        "steps": len(run.history["t"]) - 1,
        "settings": run.settings,
        "wall": run.wall,
        "finished": run.finished,
    }


def _described(case: Case) -> dict[str, Any]:
    problem = case.problem
    return {
        "name": case.name,
        "title": case.title,
        "problem": problem.name,
        "parameters": problem.parameters,
        "dimension": problem.initial.dim,
        "labels": problem.labels,
        "temperature": problem.temperature,
        "ridge": problem.ridge,
        "loss": type(problem.loss).__name__,
        "network": problem.unit is not None,
        "reduction": type(problem.reduction).__name__ if problem.reduction else None,
        "mesh": dataclasses.asdict(case.mesh),
        "options": dataclasses.asdict(case.options),
        "times": case.times,
        "particles": _plan(case.particles, problem) if case.particles else None,
        "acceptance": dataclasses.asdict(case.acceptance),
        "source": str(case.source.name) if case.source else None,
    }


def _plan(plan: ParticlePlan, problem: Problem) -> dict[str, Any]:
    """With the step sizes that occur, and the system by its name."""
    system = plan.system or (SGD() if problem.unit is not None else Langevin())
    steps = sorted({plan.step(n) for n in plan.widths}, reverse=True)
    return {**dataclasses.asdict(plan), "system": str(system), "step_sizes": steps}


def _command(case: Case) -> str:
    """That repeats this case alone, whatever was validated with it."""
    if case.source is None:
        return "ddpde.validate.validate(case, folder)"
    return f"ddpde validate {case.source}"


def _json(value: object) -> str:
    text = json.dumps(value, default=plain, indent=1, ensure_ascii=False)
    # JSON knows no NaN: what was not measured is null
    return text.replace(": NaN", ": null").replace(" NaN", " null") + "\n"
