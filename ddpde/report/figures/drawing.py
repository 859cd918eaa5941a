"""Panels: small matplotlib axes as inline SVG that reads well on a phone and in print.

A panel is drawn at its natural size in CSS pixels and never scaled up, so that font sizes are
what they say. Several panels side by side are arranged by the page, not by matplotlib: on a
phone they stand below each other.
"""

from __future__ import annotations

import html
import io
import itertools
import re
from dataclasses import dataclass, field
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, to_hex
from matplotlib.figure import Figure as Canvas
from matplotlib.ticker import FixedLocator, FuncFormatter, NullFormatter, NullLocator

from ddpde.report.numerals import power, short

INK, MUTED, HAIR = "#1c1c1c", "#5c5c5c", "#d4d4d4"
PDE, SECOND, BARS, BARS_EDGE = "#0b4f8a", "#7a7a7a", "#dfe3e8", "#8d97a3"
_WIDTHS = LinearSegmentedColormap.from_list("widths", ["#c9811b", "#b8432f", "#7b2150", "#2f1147"])
MARKERS = "osD^vPX"

SMALL, LARGE = (312, 236), (400, 286)  # panels three and two in a row

_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "ddpde",
    "font.family": "DejaVu Sans",  # for measuring; the page's own face is narrower
    "font.size": 11,
    "axes.labelsize": 11,
    "axes.titlesize": 11.5,
    "axes.titlelocation": "left",
    "axes.titlepad": 5,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "axes.titlecolor": INK,
    "text.color": INK,
    "axes.linewidth": 0.7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.unicode_minus": True,
    "axes.formatter.use_mathtext": False,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "xtick.labelsize": 10.5,
    "ytick.labelsize": 10.5,
    "xtick.major.width": 0.7,
    "ytick.major.width": 0.7,
    "lines.linewidth": 1.6,
    "lines.markersize": 5.5,
    "hatch.linewidth": 0.7,
    "hatch.color": "#ffffff",
    "path.simplify": True,
    "path.simplify_threshold": 0.2,
}
_serial = itertools.count()


@dataclass(frozen=True)
class Panel:
    """One SVG."""

    svg: str
    width: int


@dataclass(frozen=True)
class Figure:
    """Panels under a heading; `legend` are (swatch, words); `caption` says what one sees."""

    key: str
    title: str
    caption: str
    panels: list[Panel]
    legend: list[tuple[str, str]] = field(default_factory=list)
    columns: int = 3
    film: bool = False  # panels are shown one after the other


class Drawing:
    """One panel in the making: `with drawing(...) as d: d.axes.plot(...)`, then `d.panel(alt)`."""

    def __init__(
        self, size: tuple[int, int], *, left: int = 50, bottom: int = 38, top: int = 24
    ) -> None:
        self.width, self.height = size
        self._margins = (left, bottom, 10, top)
        self._context = matplotlib.rc_context(_STYLE)

    def __enter__(self) -> Drawing:
        self._context.__enter__()
        left, bottom, right, top = self._margins
        w, h = self.width, self.height
        self._canvas = Canvas(figsize=(w / 72, h / 72), dpi=72)
        box = (left / w, bottom / h, 1 - (left + right) / w, 1 - (bottom + top) / h)
        self.axes: Axes = self._canvas.add_axes(box)
        return self

    def __exit__(self, *error: Any) -> None:
        if error[0] is None:
            buffer = io.StringIO()
            self._canvas.savefig(buffer, format="svg", transparent=True, dpi=216)  # of rasters
            self._text = buffer.getvalue()
        self._context.__exit__(*error)

    def panel(self, alt: str) -> Panel:
        """The finished panel; `alt` is read out in its place."""
        return Panel(_inline(self._text, self.width, self.height, alt), self.width)


def _inline(text: str, width: int, height: int, alt: str) -> str:
    """matplotlib's SVG without its document: ids made unique, numbers short, no global style."""
    text = text[text.index("<svg") :]
    text = re.sub(r"<!--.*?-->", "", text, flags=re.S)
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.S)
    text = re.sub(r"<style[^>]*>.*?</style>", "", text, flags=re.S)
    text = re.sub(r"<defs>\s*</defs>", "", text)
    text = re.sub(r" font-family: [^;\"]*;", "", text)
    text = re.sub(r' transform="rotate\(-?0 [^)]*\)"', "", text)

    def rounded(match: re.Match[str]) -> str:
        return re.sub(r"-?\d+\.\d{3,}", lambda m: f"{float(m[0]):.2f}", match[0])

    text = re.sub(r' (?:d|x|y)="[^"]*"', rounded, text)
    used = set(re.findall(r"(?:url\(|href=\")#([^)\"]+)", text))
    prefix = f"p{next(_serial)}-"

    def renamed(match: re.Match[str]) -> str:
        return f' id="{prefix}{match[1]}"' if match[1] in used else ""

    text = re.sub(r' id="([^"]+)"', renamed, text)
    text = re.sub(r"(url\(|href=\")#", rf"\1#{prefix}", text)
    text = re.sub(r">\s+<", "><", text)
    opening = (
        f'<svg xmlns:xlink="http://www.w3.org/1999/xlink" viewBox="0 0 {width} {height}" '
        f'width="{width}" height="{height}" role="img" aria-label="{html.escape(alt)}">'
    )
    return opening + text[text.index(">") + 1 :].strip()


def colours(count: int) -> list[str]:
    """One colour a width, light to dark: they keep their order in grey print."""
    return [to_hex(_WIDTHS(x)) for x in (np.linspace(0, 1, count) if count > 1 else [0.6])]


def swatch(kind: str, colour: str = INK, *, marker: str = "o", fill: str | None = None) -> str:
    """A legend's sample: line, dash, dots, bar, or marker (with a bar: "errorbar")."""
    fill = colour if fill is None else fill
    stroke = f'stroke="{colour}" stroke-width="2" fill="none"'
    dashes = {"line": "", "dash": 'stroke-dasharray="6 3"', "dots": 'stroke-dasharray="2 3"'}
    if kind in dashes:
        body = f'<path d="M1 7H27" {stroke} {dashes[kind]}/>'
    elif kind == "bar":
        body = f'<rect x="2" y="1.5" width="24" height="11" fill="{fill}" stroke="{colour}"/>'
    else:
        bar = f'<path d="M14 0V14" {stroke}/>' if kind == "errorbar" else ""
        shape = _SHAPES[marker]
        body = f'{bar}<path d="{shape}" fill="{fill}" stroke="{colour}" stroke-width="1.4"/>'
    return f'<svg viewBox="0 0 28 14" width="28" height="14" aria-hidden="true">{body}</svg>'


_SHAPES = {
    "o": "M10 7a4 4 0 1 0 8 0a4 4 0 1 0 -8 0Z",
    "s": "M10.5 3.5h7v7h-7Z",
    "D": "M14 2l5 5l-5 5l-5 -5Z",
    "^": "M14 2.5l4.6 8h-9.2Z",
    "v": "M14 11.5l4.6 -8h-9.2Z",
    "P": "M12.5 2.5h3v3h3v3h-3v3h-3v-3h-3v-3h3Z",
    "X": "M11.5 2.5l2.5 2.5l2.5 -2.5l2 2l-2.5 2.5l2.5 2.5l-2 2l-2.5 -2.5l-2.5 2.5l-2 -2"
    "l2.5 -2.5l-2.5 -2.5Z",
    ".": "M12.2 7a1.8 1.8 0 1 0 3.6 0a1.8 1.8 0 1 0 -3.6 0Z",
}


def chosen(count: int, at_most: int, *, first: int = 0) -> list[int]:
    """At most so many of the indices `first` … count − 1, evenly spread, both ends included."""
    first = min(first, count - 1)
    return sorted({round(float(i)) for i in np.linspace(first, count - 1, at_most)})


def log_ticks(axis, low: float, high: float, at_most: int = 5) -> None:  # type: ignore[no-untyped-def]
    """Labels at powers of ten, or at 1, 2, 5 × them where the range is short."""
    decades = np.arange(np.floor(np.log10(low)), np.ceil(np.log10(high)) + 1)
    inside = [10.0**k for k in decades if low <= 10.0**k * 1.0001 and 10.0**k <= high * 1.0001]
    if len(inside) >= 3:
        ticks = inside[:: -(-len(inside) // at_most)]
        write = lambda v, _: power(round(np.log10(v)))  # noqa: E731
        if low >= 0.01 and high <= 1e4:
            write = lambda v, _: short(v)  # noqa: E731
    else:
        ticks = [m * 10.0**k for k in decades for m in (1, 2, 5) if low <= m * 10.0**k <= high]
        if len(ticks) < 2:
            ticks = list(np.geomspace(low, high, 4)[1:3])
            ticks = [float(f"{t:.2g}") for t in ticks]
        write = lambda v, _: short(float(f"{v:.3g}"))  # noqa: E731
    axis.set_major_locator(FixedLocator(ticks))
    axis.set_major_formatter(FuncFormatter(write))
    axis.set_minor_locator(NullLocator())
    axis.set_minor_formatter(NullFormatter())


def width_ticks(axes: Axes, widths: np.ndarray) -> None:
    """A logarithmic N axis labelled at the widths themselves, as far as they do not collide."""
    axes.set_xscale("log")
    low, high = widths[0] / 1.35, widths[-1] * 1.35
    axes.set_xlim(low, high)
    room = np.log(high / low) / 5.2
    kept: list[int] = []
    for width in widths[::-1]:
        if not kept or np.log(kept[-1] / width) > room:
            kept.append(int(width))
    axes.xaxis.set_major_locator(FixedLocator(kept))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda v, _: short(v)))
    axes.xaxis.set_minor_locator(FixedLocator(list(map(float, widths))))
    axes.xaxis.set_minor_formatter(NullFormatter())


def first_shown(times: np.ndarray) -> float:
    """The least time on the axis: 0, or more where output times crowd near 0 and it is
    logarithmic."""
    if len(times) < 4 or np.median(times) > 0.2 * times[-1]:
        return 0.0
    return 0.6 * float(times[times > 0][0])


def time_axis(axes: Axes, times: np.ndarray) -> float:
    """Linear or logarithmic; returns the least time shown."""
    axes.set_xlabel("time t")
    start, end = first_shown(times), times[-1] if times[-1] > 0 else 1.0
    if start == 0.0:
        axes.set_xlim(-0.02 * end, end * 1.02)
        axes.locator_params(axis="x", nbins=6)
        return 0.0
    axes.set_xscale("log")
    axes.set_xlim(start, end * 1.1)
    log_ticks(axes.xaxis, start, end * 1.1)
    return start
