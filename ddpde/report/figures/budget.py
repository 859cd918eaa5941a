"""The error budget of the risk: stacked over time, and each part on a logarithmic axis."""

from __future__ import annotations

import numpy as np
from matplotlib.ticker import FixedLocator, FuncFormatter

from ddpde.report.figures.drawing import INK, LARGE, Drawing, Figure, Panel, log_ticks, swatch
from ddpde.report.folder import Content
from ddpde.report.numerals import known, listed, short, sig

# colour, hatch, marker: told apart in grey print as well
PARTS = {
    "mesh": ("#0b4f8a", "", "o"),
    "time": ("#7fb0d8", "", "s"),
    "data": ("#a8a8d8", "...", "P"),
    "truncation": ("#2a7d5f", "///", "D"),
    "SGD step": ("#7b2150", "\\\\\\", "^"),
    "Monte Carlo": ("#e0b060", "", "v"),
}
NAMES = {"time": "time step", "data": "data quadrature"}
_ROUNDING = 1e-14


def parts(content: Content) -> dict[str, list[float | None]]:
    """Measured parts of the budget (n_times,), in the order of the legend; none without a risk."""
    summary = content.summary or {} if content.network else {}
    errors = (summary.get("comparison") or {}).get("errors") or summary.get("errors") or {}
    ordered = sorted(errors, key=lambda k: list(PARTS).index(k) if k in PARTS else len(PARTS))
    return {name: errors[name] for name in ordered}


def figure(content: Content) -> Figure | None:
    """None where no part was measured."""
    budget = {k: v for k, v in parts(content).items() if any(map(known, v))}
    if not budget:
        return None
    values = {k: np.array([x if known(x) else 0.0 for x in v]) for k, v in budget.items()}
    gap = None
    if content.comparison is not None:
        gap = np.abs(np.array(content.comparison["gap"], dtype=float)[-1])
    panels = [_stacked(content, values, gap), _spread(content, values, gap)]
    legend = []
    for name in values:
        colour, _, marker = PARTS.get(name, ("#777777", "", "P"))
        label = NAMES.get(name, name)
        legend.append((swatch("bar", colour) + swatch("marker", colour, marker=marker), label))
    missing = [NAMES.get(k, k) for k in parts(content) if k not in budget]
    caption = "(a) The parts of the error of the risk at each output time, stacked"
    if gap is not None and content.comparison is not None:
        width = content.comparison["widths"][-1]
        legend.append((swatch("marker", INK, marker="D", fill="#ffffff"), f"|gap| at N = {width}"))
        caption += f", and the gap at N = {width} (diamonds): below the bar it is not resolved"
    caption += (
        ". (b) Each part by itself on a logarithmic axis; a part without a marker is zero to "
        "rounding. Mesh, time step, data quadrature and truncation are differences to a better "
        "computation"
    )
    caption += f". Not measured: {listed(missing)}." if missing else "."
    return Figure("budget", "Error budget of the risk", caption, panels, legend, columns=2)


def _ticks(d: Drawing, times: np.ndarray) -> np.ndarray:
    position = np.arange(len(times))
    step = -(-len(times) // 9)
    d.axes.xaxis.set_major_locator(FixedLocator(list(position[::step])))
    d.axes.xaxis.set_major_formatter(FuncFormatter(lambda v, _: short(times[round(v)])))
    d.axes.set(xlim=(-0.6, len(times) - 0.4), xlabel="time t (output times)")
    return position


def _stacked(content: Content, values: dict[str, np.ndarray], gap: np.ndarray | None) -> Panel:
    with Drawing(LARGE, left=62) as d:
        position = _ticks(d, content.times)
        base = np.zeros(len(position))
        for name, value in values.items():
            colour, hatch, _ = PARTS.get(name, ("#777777", "", "P"))
            d.axes.bar(position, value, 0.62, base, color=colour, hatch=hatch)
            base = base + value
        if gap is not None:
            d.axes.plot(position, gap, "D", mfc="white", mec=INK, ms=6.5)
        d.axes.set_title("(a) error of the risk, stacked")
        d.axes.locator_params(axis="y", nbins=6)
        highest = max(base.max(), 0.0 if gap is None else gap.max())
        d.axes.set_ylim(0, 1.08 * highest if highest > 0 else 1.0)
    worst = int(np.argmax(base))
    return d.panel(
        f"Error budget of the risk as stacked bars over {len(position)} times; the largest, "
        f"{sig(base[worst], 2)}, at t = {short(content.times[worst])}."
    )


def _spread(content: Content, values: dict[str, np.ndarray], gap: np.ndarray | None) -> Panel:
    rows = dict(values)
    shown = [*rows.values(), *([] if gap is None else [gap])]
    positive = np.concatenate([v[v > _ROUNDING] for v in shown])
    low, high = (positive.min(), positive.max()) if positive.size else (1e-12, 1.0)
    low, high = low / 2, high * 2
    with Drawing(LARGE, left=50) as d:
        d.axes.set_yscale("log")
        d.axes.set_ylim(low, high)
        log_ticks(d.axes.yaxis, low, high, at_most=7)
        position = _ticks(d, content.times)
        for name, value in rows.items():
            colour, _, marker = PARTS.get(name, ("#777777", "", "P"))
            seen = np.where(value > _ROUNDING, value, np.nan)
            d.axes.plot(position, seen, color=colour, marker=marker, linewidth=0.9, ms=5)
        if gap is not None:
            seen = np.where(gap > _ROUNDING, gap, np.nan)
            d.axes.plot(position, seen, "D", mfc="white", mec=INK, ms=6.5)
        d.axes.set_title("(b) each part, logarithmic")
    largest = listed([f"{NAMES.get(k, k)} {sig(v.max(), 2)}" for k, v in rows.items()])
    return d.panel(f"Each part of the error budget over time; largest values: {largest}.")
