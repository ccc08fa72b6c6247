"""The plots of a run: which curves there are, and how they are drawn."""

from collections.abc import Iterator
from pathlib import Path

from ganloom.report.plots import Curve, Panel, draw
from ganloom.report.scores import meaning
from ganloom.report.story import Story

__all__ = ["draw_plots"]

MAX_PANELS = 12  # of a figure


def draw_plots(story: Story) -> Iterator[tuple[str, bytes]]:
    """Name and PNG of every plot that has data."""
    history, loss = story.history, Path(story.config.loss.name).name

    def curve(label: str, name: str, *, dashed: bool = False) -> Curve:
        return Curve(label, history[name], dashed)

    judged = [curve("D(x)", "d_real"), curve("D(G(z)) before", "d_fake_before")]
    judged.append(curve("D(G(z)) after", "d_fake_after", dashed=True))
    penalties = [name for row in history.rows for name in row if name.startswith("penalty_")]
    named = [curve(name.removeprefix("penalty_"), name) for name in dict.fromkeys(penalties)]
    penalty = ", ".join(curve.label for curve in named)
    rates = [curve("G", "lr_g"), curve("D", "lr_d", dashed=True)]
    highest = max([0.0, *(float(rate.series.value.max()) for rate in rates if len(rate.series))])
    plots = {
        "losses": [Panel(f"loss ({loss})", [curve("Loss_D", "loss_d"), curve("Loss_G", "loss_g")])],
        "judgement": [Panel("probability of real", judged, limits=(0, 1), line=0.5)],
        "rates": [Panel("learning rate", rates, limits=(0, 1.1 * highest or 1), smooth=False)],
        "penalties": [Panel(f"penalty ({penalty})", named)],
        "scores": [
            Panel(name, [curve(name, name)], best=known.better if (known := meaning(name)) else None, smooth=False)
            for name in history.scores
        ],
    }
    for name, panels in plots.items():
        if full := [panel for panel in panels if any(len(curve.series) for curve in panel.curves)]:
            yield name, draw(full[:MAX_PANELS], max(1, story.facts.images))
