"""In the features of the encoder that ships, each measure sees the fault it is for, and is quiet without one."""

from functools import cache

import numpy as np
import pytest
import torch
from comparing import comparison, digits, shifted
from torch import Tensor

from ganloom import metrics
from ganloom.metrics.extractors import loomnet

pytestmark = pytest.mark.slow

TRAINING, HELD_OUT = 1200, 300


def fakes() -> dict[str, np.ndarray]:
    images, labels = digits()
    others = images[TRAINING + HELD_OUT :]
    mixed = others.copy()
    mixed[:30] = images[:30]
    return {
        "none": others,
        "constant": np.repeat(others[:1], 300, axis=0),
        "one of ten": images[labels == 3],
        "copies": images[:300],
        "shifted copies": shifted(images[:300]),
        "a tenth copies": mixed,
    }


@cache
def measured(fault: str) -> dict[str, float]:
    images, _ = digits()
    encoder = loomnet.load()

    @torch.inference_mode()
    def extract(batch: Tensor) -> Tensor:
        return encoder(batch).features

    held_out = images[TRAINING : TRAINING + HELD_OUT]
    whole = comparison(images[:TRAINING], fakes()[fault], held_out=held_out, extract=extract)
    names = ("fd", "prdc", "vendi", "ndb", "memorisation")
    return {key: estimate.value for name in names for key, estimate in metrics.find(name).measure(whole).items()}


def test_real_images_are_quiet() -> None:
    found = measured("none")
    assert found["recall"] > 0.8 and found["coverage"] > 0.6 and found["ndb"] < 0.15
    assert found["vendi"] > 0.85 * found["vendi_real"]
    assert abs(found["memorisation_z"]) < 3 and found["memorised"] < 0.05


@pytest.mark.parametrize("fault", ["constant", "one of ten"])
def test_lost_variety_is_seen(fault: str) -> None:
    found, quiet = measured(fault), measured("none")
    assert found["fd"] > 5 * quiet["fd"]
    assert found["coverage"] < 0.5 * quiet["coverage"] and found["recall"] < 0.5 * quiet["recall"]
    assert found["ndb"] > 5 * quiet["ndb"] and found["vendi"] < 0.75 * quiet["vendi"]


@pytest.mark.parametrize("fault", ["copies", "shifted copies"])
def test_copies_are_seen_even_when_moved_by_a_pixel(fault: str) -> None:
    found = measured(fault)
    assert found["memorisation_z"] < -3 and found["memorised"] > 0.5 and found["memorisation_ratio"] < 0.8


def test_a_few_copies_among_good_images_are_seen() -> None:
    assert measured("a tenth copies")["memorised"] > 0.08
