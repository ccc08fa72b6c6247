"""A verdict in one line: only where the numbers are clear, and never for the wrong reason."""

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from ganloom.data.packed import PackedDataset
from ganloom.metrics import ms_ssim, prdc, vendi
from ganloom.metrics.contract import Images, ImageSet, Inputs
from ganloom.metrics.extraction import Extraction
from ganloom.metrics.extractors import loomnet
from ganloom.metrics.noise import reaction_to_noise
from ganloom.metrics.scores import Score
from ganloom.metrics.verdict import expected_coverage, verdict

N = 300


def score(metric: str, value: float, low: float | None = None, high: float | None = None, **changes: object) -> Score:
    given = {
        "metric": metric, "label": f"{metric}[loomnet-1]@{N}", "value": value, "low": low, "high": high,
        "class_name": None, "extractor": "loomnet-1", "weights": "a" * 64, "resize": "x", "shape": "8x8 grey",
        "n_real": N, "n_generated": N, "split": "train", "held_out": None, "seed": 0, "model": "b" * 64, "nimg": 1,
        "generated": "run", "dataset": "cells", "content_hash": "c" * 64, "ganloom": "0", "torch": "2", "device": "cpu",
        "created": "2026-01-01T00:00:00+00:00",
    }  # fmt: skip
    return Score.model_validate(given | changes)


def name_of(scores: Sequence[Score]) -> str | None:
    found = verdict(scores)
    return found and found.name


NEAR = [score("precision", 0.85, 0.8, 0.9), score("coverage", 0.96, 0.93, 0.98)]
FEW = [score("vendi", 1.6, 1.5, 1.7), score("vendi_real", 82.6), score("recall", 0, 0, 0.01)]


def test_few_kinds_that_are_alike_are_a_collapse() -> None:
    """Its line has the numbers behind it."""
    alike = [*FEW, score("ms_ssim", 0.9), score("ms_ssim_real", 0.2)]
    assert name_of(alike) == "collapsed"
    assert "Vendi 1.6 of 82.6" in str(verdict(alike)) and "recall 0" in str(verdict(alike))
    assert name_of([*FEW, score("precision", 1, 0.98, 1), score("coverage", 0.02, 0.01, 0.03)]) == "collapsed"


def test_a_low_vendi_score_of_different_images_far_from_the_real_ones_is_no_collapse() -> None:
    far = [*FEW, score("ms_ssim", 0.21), score("ms_ssim_real", 0.2), score("precision", 0, 0, 0.01)]
    assert name_of([*far, score("coverage", 0, 0, 0.01)]) == "unlike the real images"


def test_another_tone_is_named_before_the_images_are_called_close() -> None:
    pale = [*NEAR, score("brightness", 0.01), score("contrast", 0.6), score("saturation", 0.5)]
    assert name_of(NEAR) == "close to the real images"
    assert name_of(pale) == "washed out and too grey" and "contrast 0.6" in str(verdict(pale))
    assert name_of([*NEAR, score("brightness", -0.2), score("contrast", 1.0)]) == "too dark"  # grey images


def test_numbers_that_are_no_guide_give_no_verdict() -> None:
    blind = {"note": "no guide here"}
    numbers = [score("precision", 0, 0, 0.01, **blind), score("coverage", 0, 0, 0.01, **blind)]
    assert verdict([*FEW, score("ms_ssim", 0.21), score("ms_ssim_real", 0.2), *numbers]) is None


@pytest.mark.parametrize(
    ("scores", "expected"),
    [
        (NEAR, "close to the real images"),
        ([score("precision", 0.9, 0.85, 0.95), score("coverage", 0.3, 0.25, 0.35)], "too little variety"),
        ([score("precision", 0.5, 0.45, 0.55), score("coverage", 0.6, 0.55, 0.65)], None),
        ([score("precision", 1, 0.99, 1), score("coverage", 1, 0.995, 1)], "copies?"),
        ([*NEAR, score("memorised", 0.5, 0.4, 0.6), score("memorisation_z", -20)], "copies"),
        ([*NEAR, score("memorised", 0.02, 0, 0.3), score("memorisation_z", -4)], "close to the real images"),
        ([score("fd", 12.0, 11, 13)], None),
        ([], None),
    ],
)
def test_clear_numbers_have_a_verdict_and_others_none(scores: list[Score], expected: str | None) -> None:
    assert name_of(scores) == expected


def test_scores_of_an_earlier_model_or_of_single_classes_do_not_count() -> None:
    earlier = [each.model_copy(update={"model": "d" * 64}) for each in NEAR]
    later = {"created": "2026-02-01T00:00:00+00:00"}
    assert verdict([*earlier, score("fd", 9.0, **later)]) is None
    assert name_of([*NEAR, score("fd", 9.0, **later)]) == "close to the real images"
    assert verdict([each.model_copy(update={"class_name": "cat"}) for each in NEAR]) is None


def test_other_real_images_have_the_expected_coverage() -> None:
    rng = np.random.default_rng(0)
    for n, m in ((1000, 1000), (1000, 200)):
        real, fake = rng.normal(size=(n, 3)), rng.normal(size=(m, 3))
        assert prdc.neighbourhoods(real, fake).covered.mean() == pytest.approx(expected_coverage(n, m), abs=0.03)


# With real images

EXTRACTION = Extraction(loomnet.load(), torch.device("cpu"))


def images_of(pixels: NDArray[np.uint8]) -> ImageSet:
    return ImageSet(Images.generated(pixels), EXTRACTION.features)


def drawn(count: int, seed: int) -> NDArray[np.uint8]:
    """Coarse random textures: a little noise changes nothing about them."""
    coarse = np.random.default_rng(seed).integers(0, 256, (count, 8, 8, 3))
    return coarse.repeat(4, 1).repeat(4, 2).astype(np.uint8)


def measured(real: NDArray[np.uint8], fake: NDArray[np.uint8]) -> list[Score]:
    sets = images_of(real), images_of(fake)
    inputs = Inputs(
        real=sets[0], fake=sets[1], training=sets[0], held_out=None, generator=None, extract=None, class_names=[],
        seed=0,
    )  # type: ignore[arg-type]  # fmt: skip
    found = [each for metric in (prdc, vendi, ms_ssim) for each in metric.measure(inputs).items()]
    return [score(name, *estimate, n_real=len(real), n_generated=len(fake)) for name, estimate in found]


def test_three_images_repeated_are_collapsed_and_other_ones_are_not() -> None:
    real = drawn(N, 0)
    noise = np.random.default_rng(2).normal(0, 3, real.shape)
    three = np.clip(drawn(3, 1)[np.arange(N) % 3] + noise, 0, 255).astype(np.uint8)
    assert name_of(measured(real, three)) == "collapsed"
    assert name_of(measured(real, drawn(N, 3))) in (None, "close to the real images")


def test_images_in_which_invisible_noise_matters_are_recognised(digits: PackedDataset) -> None:
    """The built-in digits are enlarged pictures of 8x8 pixels: noise of two levels moves them all."""
    smooth = digits.images(np.arange(N))
    reaction = reaction_to_noise(images_of(smooth), lambda images: EXTRACTION.features(images).pooled)
    assert reaction is not None and reaction.is_blinded and reaction.noisy < reaction.clean
    assert f"{reaction.noisy:.2g} instead of {reaction.clean:.2g}" in reaction.text
    rough = reaction_to_noise(images_of(drawn(N, 0)), lambda images: EXTRACTION.features(images).pooled)
    assert rough is not None and not rough.is_blinded
    assert reaction_to_noise(images_of(smooth[:60]), lambda images: EXTRACTION.features(images).pooled) is None
