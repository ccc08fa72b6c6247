"""Curves as PNG, readable in print and for the colour-blind. The same numbers give the same bytes."""

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ganloom.core.words import printable
from ganloom.report.history import Series

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["Curve", "Panel", "draw"]

# Okabe and Ito 2008, "Color universal design": distinguishable with every kind of colour vision.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
SMOOTHED_FROM = 40  # points; shorter curves are not smoothed
MAX_LABEL = 60  # characters
BEYOND = 1.0  # rare spikes are cut off at this many usual ranges above and below the usual range
STYLE = {
    "font.size": 10,
    "text.parse_math": False,  # a name may hold a $
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e5e5e5",
    "axes.axisbelow": True,
    "legend.frameon": False,
    "axes.formatter.useoffset": False,
    "agg.path.chunksize": 10_000,  # Agg gives up on longer paths
}


@dataclass(frozen=True)
class Curve:
    """A line: the logged values faint, the smoothed ones bold."""

    label: str
    series: Series
    dashed: bool = False


@dataclass(frozen=True)
class Panel:
    """One pair of axes."""

    ylabel: str
    curves: Sequence[Curve]
    limits: tuple[float, float] | None = None
    line: float | None = None  # a horizontal reference line
    best: str | None = None  # mark the best point: "lower" or "higher" is better
    smooth: bool = True


def draw(
    panels: Sequence[Panel],
    epoch: int,  # training images, for the top axis
) -> bytes:
    """A figure as PNG, with three panels per row."""
    import matplotlib.style  # takes a second to import
    from matplotlib.figure import Figure

    across = min(3, len(panels))
    down = math.ceil(len(panels) / across)
    # Independent of the user's matplotlibrc. A Figure made directly needs no display and leaves no global state.
    with matplotlib.style.context(STYLE, after_reset=True):
        figure = Figure(figsize=(9.6, 3.2 * down), dpi=140)
        if across == 1:
            figure.subplots_adjust(left=0.1, right=0.84, bottom=0.16, top=0.83)  # aligns all plots of a page
        else:
            figure.set_layout_engine("constrained")
        for index, panel in enumerate(panels):
            axes = figure.add_subplot(down, across, index + 1)
            _draw_panel(axes, panel)
            axes.set_xlabel("kimg (thousands of training images shown)" if across == 1 else "kimg")
            epochs = (lambda kimg: np.multiply(kimg, 1000 / epoch), lambda epochs: np.multiply(epochs, epoch / 1000))
            axes.secondary_xaxis("top", functions=epochs).set_xlabel("epoch")
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()


def _draw_panel(axes: "Axes", panel: Panel) -> None:
    for colour, curve in zip(COLOURS, panel.curves, strict=False):
        style = "--" if curve.dashed else "-"
        kimg, value = curve.series.nimg / 1000, curve.series.value
        if panel.smooth and len(curve.series) >= SMOOTHED_FROM:
            axes.plot(kimg, value, color=colour, alpha=0.22, linewidth=0.8)
            axes.plot(kimg, smoothed(value), style, color=colour, linewidth=1.8, label=_drawable(curve.label))
        else:
            marker = "o" if len(curve.series) < SMOOTHED_FROM else ""
            axes.plot(
                kimg,
                value,
                style,
                color=colour,
                linewidth=1.6,
                marker=marker,
                markersize=3,
                label=_drawable(curve.label),
            )
        if panel.best and len(curve.series) and np.ptp(value):  # of equal values none is the best
            _mark_best(axes, curve.series, panel.best)
    if panel.line is not None:
        axes.axhline(panel.line, color="#888888", linewidth=1, linestyle=":")
    if panel.limits:
        axes.set_ylim(*panel.limits)
    else:
        _frame(axes, np.concatenate([curve.series.value for curve in panel.curves]))
    axes.set_xlim(left=0)
    axes.yaxis.set_major_formatter("{x:g}")
    axes.set_ylabel(_drawable(panel.ylabel))
    if len(panel.curves) > 1:
        axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))


def _drawable(text: str) -> str:
    """A name in letters that the default font has, of a length that leaves room for the curves."""
    drawn = printable(text.encode("ascii", "replace").decode())
    return drawn if len(drawn) <= MAX_LABEL else f"{drawn[: MAX_LABEL - 3]}..."


def smoothed(value: NDArray[np.float64]) -> NDArray[np.float64]:
    """Moving average [N] with a triangular window of a tenth of the curve, at most 1,000 points, cut at the ends."""
    half = min(max(1, len(value) // 20), 500)
    weights = np.bartlett(2 * half + 3)[1:-1]
    return np.convolve(value, weights, "same") / np.convolve(np.ones_like(value), weights, "same")


def _frame(axes: "Axes", values: NDArray[np.float64]) -> None:
    """Set the limits without rare spikes, which would flatten the rest, and say how many points are left out."""
    low, high = np.percentile(values, [1, 99])
    reach = BEYOND * (high - low)
    bottom, top = max(values.min(), low - reach), min(values.max(), high + reach)
    if not top > bottom:
        return
    margin = 0.05 * (top - bottom)
    axes.set_ylim(bottom - margin, top + margin)
    beyond = int(((values < bottom) | (values > top)).sum())
    if beyond:
        text = f"{beyond} {'point lies' if beyond == 1 else 'points lie'} outside the frame"
        axes.annotate(text, (0.5, 0.98), xycoords="axes fraction", ha="center", va="top", fontsize=8, color="#555555")


def _mark_best(axes: "Axes", series: Series, better: str) -> None:
    index = int(series.value.argmin() if better == "lower" else series.value.argmax())
    place = (series.nimg[index] / 1000, series.value[index])
    axes.plot(*place, marker="*", markersize=13, color=COLOURS[1], markeredgecolor="white", clip_on=False, zorder=5)
    # In the corner that an improving curve leaves free.
    height, align = (0.96, "top") if better == "lower" else (0.04, "bottom")
    text = f"best {place[1]:.4g}\nat {place[0]:,.1f} kimg"
    axes.annotate(text, (0.97, height), xycoords="axes fraction", ha="right", va=align, fontsize=9, color=COLOURS[1])
