"""What a model is for, and what it is not: from what was measured, and from what was not."""

from collections.abc import Iterator

from ganloom.core.words import counted
from ganloom.report.html import table
from ganloom.report.story import Story

__all__ = ["limits"]

SEEN_AT = 32  # pixels at which loomnet-1 sees images
FEW_IMAGES = 1000  # training images; below, D memorises them within a short training (docs/guard.md)


def limits(story: Story) -> Iterator[str]:
    """The section of the page: a table of statements."""
    facts, config = story.facts, story.config
    images = counted(facts.images, "image")
    rows = [
        (
            "made for",
            f"New images like those of {facts.dataset}, at {facts.shape[1]}x{facts.shape[2]} pixels"
            + (f", of a class that is asked for: {', '.join(facts.class_names)}" if config.data.labels else "")
            + ". It has learned nothing else: other subjects, styles and sizes need other training images.",
        ),
        (
            "not made for",
            "Evidence, diagnoses or statistics: nothing in a generated image has existed, and the frequency of what it "
            "shows is not that of the real world.",
        ),
        (
            "training images",
            f"It was trained on {images}. What is rare, wrong or one-sided among them is so here too. "
            + ("So few are easily memorised. " if facts.images < FEW_IMAGES else "")
            + "Their licence, and the consent of people in them, concern what is generated as well.",
        ),
        ("copies", _copies(story)),
        ("variety", _variety(story)),
    ]
    if max(facts.shape[1:]) > SEEN_AT:
        rows.append(
            (
                "detail",
                f"Scores in the features of loomnet-1 see images at {SEEN_AT}x{SEEN_AT} pixels, and say nothing about "
                "finer detail.",
            )
        )
    yield "<h2>Intended use and limits</h2>"
    yield table(rows)


def _copies(story: Story) -> str:
    share = story.measured("memorised")
    if share is None:
        return (
            "Whether it copies training images has not been measured (at least 50 held-out images are needed): "
            f"ganloom evaluate {story.run.path} --metrics memorisation"
        )
    return (
        f"{share.value:.1%} of the generated images are nearer to a training image than 99 % of the held-out images are"
        "; about 1 % is expected. Look at the nearest neighbours above before you publish images."
    )


def _variety(story: Story) -> str:
    found = [score for name in ("recall", "coverage") if (score := story.measured(name)) is not None]
    if any(score.note for score in found):
        return f"{' and '.join(score.metric for score in found)}: {found[0].note}"
    if found:
        numbers = " and ".join(f"{score.metric} {score.value:.2g}" for score in found)
        return f"Not every kind of training image is generated: {numbers} (shares of the real images, 1 at most)."
    latest = {name: story.latest_while_training(name) for name in ("recall", "coverage")}
    if known := [f"{name} {value:.2g}" for name, value in latest.items() if value is not None]:
        return f"During the training, {' and '.join(known)} (shares of the real images, 1 at most)."
    return f"Which kinds of image are missing has not been measured: ganloom evaluate {story.run.path}"
