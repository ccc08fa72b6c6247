"""The story of a run as one HTML file for a colleague: pictures, progress, curves, scores, cost."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ganloom.config import Config
from ganloom.core.errors import DataError, ModelError, StorageError
from ganloom.core.files import storage_errors, write_atomically
from ganloom.metrics.scores import Score, metric_of, read_scores
from ganloom.models import modelfile
from ganloom.report.history import History, evenly, read_history
from ganloom.report.html import escape, png_url, table, write_page
from ganloom.report.pictures import columns, first_pictures, open_picture, shown, squarish
from ganloom.report.plots import Curve, Panel, draw
from ganloom.report.scores import in_words, main_score, meaning, score_tables
from ganloom.runs import Facts, RunFolder, open_folder

__all__ = ["write_report"]

POINTS = 8  # rows of the table of progress
GRID = 1000  # pixels that a grid is wide at most
STRIP = 640
MOST_SCORES = 2  # columns of scores beside the pictures
MOST_PANELS = 12
MISSING = "–"


@dataclass(frozen=True)
class Story:
    """All that a run folder holds, as far as it can be read."""

    run: RunFolder
    config: Config
    facts: Facts
    history: History
    saved_seconds: float | None  # of training, when the newest checkpoint was made
    grids: dict[int, Path]  # by images
    scores: Sequence[Score]
    best: modelfile.Header | None  # of the model with the best score
    troubles: Sequence[str]  # what could not be read

    @property
    def nimg(self) -> int:
        """How far the training came, in images."""
        return max([self.history.nimg, *self.grids])

    @property
    def seconds(self) -> float | None:
        """Of training, by the log and the newest checkpoint: the last step of so many minutes may have no row."""
        logged = self.history["seconds"].latest(self.nimg)
        known = [each for each in (logged, self.saved_seconds) if each is not None]
        return max(known, default=None)

    def epochs(self, nimg: float) -> float:
        return nimg / max(1, self.facts.images)


def write_report(run: Path, out: Path) -> Path:
    """Write the page to `out`, and each of its plots beside it as a PNG. Parts that a run lacks are said to be missing.

    Raises `RunError` if `run` is no run folder, `StorageError` if `out` cannot be written.
    """
    if not out.name:
        raise StorageError(f"{out} is a folder: name a file with --out, such as report.html.")
    story = read(open_folder(run))
    plots = dict(draw_plots(story))
    with storage_errors(out):
        out.parent.mkdir(parents=True, exist_ok=True)
    for name, png in plots.items():
        write_atomically(out.with_name(f"{out.stem}-{name}.png"), png)
    parts = [*summary(story), *pictures(story), *progress(story), *curves(story, plots), *quality(story, plots)]
    parts += [*neighbours(story), *provenance(story)]
    return write_page(
        out, f"{story.facts.dataset}: {kimg(story.nimg)}", parts, "Make it writable, or choose another --out."
    )


def read(run: RunFolder) -> Story:
    history, troubles = read_history(run.log), []
    if history.unread:
        lines = "its last line" if history.unread == 1 else f"its last {history.unread:,} lines"
        troubles.append(f"log.jsonl cannot be read to its end: {lines} left out.")
    found: list[Score] = []
    try:
        found = read_scores(run.scores)
    except DataError as error:
        troubles.append(str(error))
    best = None
    try:
        best = modelfile.read_header(run.best) if run.best.exists() else None
    except ModelError as error:
        troubles.append(str(error))
    return Story(run, run.config, run.facts, history, run.saved_seconds(), run.grids(), found, best, troubles)


# The sections, in the order of the page. Each yields HTML.


def summary(story: Story) -> Iterator[str]:
    """What was trained, on what, how long, how good and by which number."""
    config, facts = story.config, story.facts
    channels, height, width = facts.shape
    colour = {1: "grey", 3: "colour", 4: "colour with transparency"}.get(channels, f"{channels} channels")
    size = f"{height}x{width} pixels" + (" (height x width)" if height != width else "")
    classes = f", {len(facts.class_names)} classes" if facts.class_names else ""
    labels = "with class labels" if config.data.labels else "without class labels"
    took = f" in {duration(story.seconds)}" if story.seconds is not None else ""
    best = main_score(story.scores, facts.content_hash, story.nimg)
    net, loss = Path(config.net.name).name, Path(config.loss.name).name  # of the user's own not where they lie
    yield f"<h1>{escape(facts.dataset)}: pictures made by {escape(net)}</h1>"
    yield (
        "<p>"
        + escape(
            f"A generative adversarial network learned to make pictures like those of {facts.dataset} "
            f"({facts.images:,} training images{classes}, {colour}, {size}). "
            f"The network is {net}, its loss {loss}, its recipe {facts.recipe}; "
            f"it was trained {labels} and saw {story.nimg:,} images ({story.epochs(story.nimg):.1f} epochs){took} "
            f"on {facts.device}. {_state(story)} "
            + (
                f"How good it is{_of_what(story, best)}: {in_words(best)}. "
                "Compare it only with numbers of the same name on the same images."
                if best
                else "How good it is has not been measured."
            )
        )
        + "</p>"
    )
    speed = f"{story.nimg / story.seconds:,.0f}" if story.seconds else MISSING
    keys = [
        (kimg(story.nimg), "training images shown"),
        (duration(story.seconds) if story.seconds is not None else MISSING, "of training"),
        (speed, "images a second"),
        (f"{best.value:.4g}" if best else MISSING, best.label if best else "no score yet"),
    ]
    cards = "".join(f"<div><b>{escape(value)}</b>{escape(name)}</div>" for value, name in keys)
    yield f'<div class="key">{cards}</div>'
    yield from (f'<p class="warning">{escape(text)}</p>' for text in [*_alarms(story), *story.troubles])


def pictures(story: Story) -> Iterator[str]:
    """Real and generated, side by side."""
    yield "<h2>Real and generated</h2>"
    shape, newest = story.facts.shape, max(story.grids, default=None)
    made = open_picture(story.grids[newest]) if newest is not None else None
    real = open_picture(story.run.samples / "reals.png")
    said = "Real: the first training images."
    left = (
        figure(shown(squarish(real, shape), GRID), said) if real else missing("There is no picture of the real images.")
    )
    if made is None or newest is None:
        right = missing("There are no generated pictures yet: they come with sample.every and at the end of the run.")
    else:
        names = story.facts.class_names
        by_class = story.config.data.labels and 1 < len(names) == columns(made, shape)
        order = f" Each column is of one class, in turn: {', '.join(names)}." if by_class else ""
        right = figure(
            shown(squarish(made, shape), GRID),
            f"Generated after {kimg(newest)}, taken as they came, none chosen.{order}",
        )
    yield f'<div class="pair">{left}{right}</div>'


def progress(story: Story) -> Iterator[str]:
    """The table of progress by epoch."""
    yield "<h2>Progress by epoch</h2>"
    logged = [int(nimg) for nimg in story.history["loss_d"].nimg]
    points = evenly(sorted(story.grids) or logged, POINTS)
    if not points:
        yield missing("Nothing has been logged yet.")
        return
    columns_of = {"Loss_D": "loss_d", "Loss_G": "loss_g", "D(x)": "d_real", "D(G(z))": "d_fake_before"}
    means = {name: story.history[column] for name, column in columns_of.items()}
    # the score that says what is best comes first, then those in the order of the log
    found = sorted(story.history.scores, key=lambda name: metric_of(name) != story.config.evaluate.best)
    marks = {name: story.history[name] for name in found[:MOST_SCORES]}
    rows = []
    for before, nimg in zip([-1, *points], points, strict=False):
        row = [f"{story.epochs(nimg):.1f}", f"{nimg / 1000:,.1f}", *([_strip(story, nimg)] if story.grids else [])]
        row += [number(series.mean(before, nimg), ".3f") for series in means.values()]
        rows.append([*row, *(number(series.latest(nimg), ".4g") for series in marks.values())])
    head = ["epoch", "kimg", *(["the same latents as training goes on"] if story.grids else []), *means, *marks]
    yield f'<div class="wide">{table(rows, head, escaped=True)}</div>'
    yield note(
        "An epoch is every training image once, a kimg a thousand training images. Losses, D(x) and D(G(z)) are means "
        "since the row above" + ("; scores are the newest at that time." if marks else ".")
    )


def curves(story: Story, plots: dict[str, bytes]) -> Iterator[str]:
    """Losses, what D says, learning rates."""
    said = {
        "losses": "Loss_D is that of the discriminator D, which tells real images from generated ones; Loss_G that of "
        "the generator G, which tries to mislead it. Each pulls against the other, so neither should go to 0, and "
        "neither says how good the pictures are. Faint as logged, bold smoothed.",
        "judgement": "D(x): how real D takes the real images to be; D(G(z)): the generated ones, before and after G's "
        "update. Near 1 and 0, D wins; all near 0.5, D can no longer tell them apart.",
        "rates": "Learning rates of both networks' optimizers.",
        "penalties": "Penalties of either network as logged, before their weight.",
    }
    yield "<h2>Losses, judgement, learning rates</h2>"
    present = [name for name in said if name in plots]
    if not present:
        yield missing("Nothing has been logged yet, so there is nothing to plot.")
    for name in present:
        yield figure(png_url(plots[name]), said[name])


def quality(story: Story, plots: dict[str, bytes]) -> Iterator[str]:
    """Scores with their provenance, and how they came on during training."""
    yield "<h2>Scores</h2>"
    if story.scores:
        yield from (f'<p class="warning">{escape(text)}</p>' for text in _stale(story))
        yield from score_tables(story.scores)
    else:
        yield missing(f"Nothing has been measured yet. To do so: ganloom evaluate {story.run.path}")
    if "scores" in plots:
        yield "<h3>During training</h3>"
        kept = story.best.training.get("nimg") if story.best else None
        model = (
            f" The model after {kimg(kept)} is kept as {story.run.best.relative_to(story.run.path).as_posix()}."
            if kept
            else ""
        )
        yield figure(png_url(plots["scores"]), f"As measured on the way; a star marks the best.{model}")


def neighbours(story: Story) -> Iterator[str]:
    """Generated images beside the training images that they are most like."""
    yield "<h2>Nearest neighbours: has it learned by heart?</h2>"
    image = open_picture(story.run.picture("memorisation"))
    if image is not None:
        yield figure(
            shown(image, GRID),
            "Pairs of a generated image and, at its right, the training image nearest to it: the nearest pairs of all. "
            "Alike is well; alike to the last detail would be a copy.",
        )
    else:
        command = f"ganloom evaluate {story.run.path} --metrics memorisation"
        yield missing(f"There is no picture of nearest neighbours. To make it: {command}")
    found = [score for score in story.scores if score.metric.startswith("memoris") and score.class_name is None]
    if found:
        yield note("Scores: " + "; ".join(f"{score.label} {score.text}" for score in found) + ".")


def provenance(story: Story) -> Iterator[str]:
    """Cost, machine, configuration: what is needed to repeat the run."""
    facts, seconds = story.facts, story.seconds
    cost = [("images", f"{story.nimg:,} ({story.epochs(story.nimg):.2f} epochs of {facts.images:,})")]
    if seconds:
        cost += [
            ("time", f"{duration(seconds)} ({seconds:,.1f} seconds), pictures and checkpoints included"),
            (
                "speed",
                f"{story.nimg / seconds:,.1f} images/s, {1000 * seconds / max(1, story.nimg):,.2f} seconds a kimg",
            ),
        ]
    else:
        cost.append(("time", "not logged"))
    yield "<h2>Cost</h2>"
    yield table(cost)
    yield "<h2>Machine and versions</h2>"
    yield table(
        [
            ("device", facts.device),
            ("CPU threads", str(facts.threads)),
            ("PyTorch", facts.torch),
            ("ganloom", facts.ganloom),
            ("run", f"{facts.id}, begun {facts.created}"),
            ("images", f"{facts.dataset}, content hash {facts.content_hash}"),
            *(("own code", f"{path}, sha256 {digest}") for path, digest in facts.code.items()),
        ]
    )
    yield note("As they were when the run began.")
    yield "<h2>Configuration</h2>"
    yield note("Saved as config.yaml, this and the same images repeat the run: ganloom train --recipe config.yaml")
    yield f"<pre>{escape(story.config.yaml())}</pre>"


# Plots.


def draw_plots(story: Story) -> Iterator[tuple[str, bytes]]:
    """Name and PNG of every plot that there is something for."""
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
            yield name, draw(full[:MOST_PANELS], max(1, story.facts.images))


# Words and small pieces.


def _state(story: Story) -> str:
    """Whether the run has come to its end."""
    length = story.config.train.length
    if length.is_time:
        done, whole = (story.seconds or 0.0), length.minutes * 60
    else:
        done, whole = story.nimg, length.images(epoch=story.facts.images, step=story.config.images_per_step)
    if done >= whole:
        return "The run is complete."
    return f"The run is not complete: this is {done / whole:.0%} of its {length}."


def _alarms(story: Story) -> Iterator[str]:
    """Numbers that were none, and what the guard has said."""
    for name, words in {
        "loss_d": "Loss_D",
        "loss_g": "Loss_G",
        **{name: name for name in story.history.scores},
    }.items():
        if bad := story.history.not_finite(name):
            times = "once" if len(bad) == 1 else f"{len(bad):,} times"
            yield f"{words} was not a finite number (NaN or infinite) {times}, first after {kimg(bad[0])}."
    for row in story.history.rows:
        if "event" in row:
            yield f"After {kimg(row['nimg'])}: {row.get('text', row['event'])}"


def _of_what(story: Story, score: Score) -> str:
    """Words for a score that is not of this model, or not against these images."""
    against = "" if score.content_hash == story.facts.content_hash else ", against other images"
    return against or ("" if score.nimg == story.nimg else f", after {kimg(score.nimg or 0)}")


def _stale(story: Story) -> Iterator[str]:
    """Scores of another model, or against other images, than this page shows."""
    earlier = sorted({score.nimg for score in story.scores if score.nimg and score.nimg != story.nimg})
    if earlier:
        yield f"Some were measured on the model after {', '.join(map(kimg, earlier))}: see below which."
    if any(score.content_hash != story.facts.content_hash for score in story.scores):
        yield "Some scores compare with other images than this run was trained on: see below which."


def _strip(story: Story, nimg: int) -> str:
    image = open_picture(story.grids[nimg])
    if image is None:
        return "cannot be read"
    return f'<img alt="generated after {kimg(nimg)}" src="{shown(first_pictures(image, story.facts.shape), STRIP)}">'


def figure(source: str, caption: str) -> str:
    return f'<figure><img alt="{escape(caption)}" src="{source}"><figcaption>{escape(caption)}</figcaption></figure>'


def missing(text: str) -> str:
    return f'<p class="missing">{escape(text)}</p>'


def note(text: str) -> str:
    return f'<p class="small">{escape(text)}</p>'


def number(value: float | None, form: str) -> str:
    return MISSING if value is None else format(value, form)


def kimg(nimg: float) -> str:
    return f"{nimg / 1000:,.1f} kimg"


def duration(seconds: float) -> str:
    """`8 s`, `12 min 5 s`, `3 h 20 min`."""
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 1:
        return f"{rest} s"
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60:,} h {minutes % 60} min"
