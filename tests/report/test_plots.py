"""Curves: smoothed without a shift, framed without hiding that points are left out, the best point marked."""

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ganloom.report import plots
from ganloom.report.history import Series, evenly
from ganloom.report.plots import Curve, Panel, draw


def series(*values: float) -> Series:
    return Series(np.arange(1, len(values) + 1) * 1000.0, np.array(values))


def drawn(panel: Panel) -> Axes:
    axes = Figure().add_subplot()
    plots._draw_panel(axes, panel)
    return axes


def test_smoothing_keeps_a_constant_and_does_not_shift_a_line() -> None:
    np.testing.assert_allclose(plots.smoothed(np.full(100, 3.0)), 3.0)
    line = np.arange(100.0)
    np.testing.assert_allclose(plots.smoothed(line)[10:-10], line[10:-10])


def test_a_spike_is_left_out_of_the_frame_and_counted() -> None:
    values = [*np.sin(np.arange(300.0)), 1e6]
    axes = drawn(Panel("loss", [Curve("Loss_D", series(*values))]))
    assert axes.get_ylim()[1] < 10
    assert [text.get_text() for text in axes.texts] == ["1 point lies outside the frame"]


def test_usual_values_are_all_in_the_frame() -> None:
    values = np.random.default_rng(0).normal(size=300)
    axes = drawn(Panel("loss", [Curve("Loss_D", series(*values))]))
    low, high = axes.get_ylim()
    assert low < values.min() and values.max() < high and not axes.texts


@pytest.mark.parametrize(("better", "text"), [("lower", "best 2\nat 3.0 kimg"), ("higher", "best 9\nat 1.0 kimg")])
def test_the_best_point_is_marked(better: str, text: str) -> None:
    axes = drawn(Panel("fd", [Curve("fd", series(9, 4, 2, 5))], best=better))
    assert [found.get_text() for found in axes.texts] == [text]


def test_a_name_of_any_letters_is_drawn() -> None:
    for name in ("$x_1$ [漢字]", "_hidden"):
        assert draw([Panel(name, [Curve(name, series(1, 2))])], 100).startswith(b"\x89PNG")


def test_a_single_point_and_a_constant_can_be_drawn() -> None:
    for values in ([1.0], [2.0] * 50, [1e300] * 3):
        assert draw([Panel("loss", [Curve("D", series(*values)), Curve("G", series())])], 100).startswith(b"\x89PNG")


def test_evenly_keeps_both_ends() -> None:
    assert evenly([1, 2, 3], 8) == [1, 2, 3]
    taken = evenly(list(range(0, 1001, 7)), 8)
    assert len(taken) == 8 and taken[0] == 0 and taken[-1] == 994
