import math

import pytest
import torch

from ganloom.config import sections
from ganloom.core.lengths import Length
from ganloom.training.schedules import BurnIn, Plateau, Schedule, make_schedule

TOTAL = 10_000


def make(**settings: object) -> Schedule:
    optimizer = sections.Optimizer.model_validate({"schedule": settings})
    return make_schedule(optimizer.schedule, images, TOTAL, torch.device("cpu"))


def images(length: Length) -> int:
    return length.images(epoch=1000, step=100)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"name": "constant"}, {0: 1.0, 5000: 1.0, TOTAL: 1.0}),
        ({"name": "linear"}, {0: 1.0, 5000: 0.5, TOTAL: 0.0, 2 * TOTAL: 0.0}),
        ({"name": "linear", "final": 0.2}, {0: 1.0, 5000: 0.6, TOTAL: 0.2}),
        ({"name": "cosine"}, {0: 1.0, 2500: 0.5 + 0.5 * math.sqrt(0.5), 5000: 0.5, TOTAL: 0.0, 2 * TOTAL: 0.0}),
        ({"name": "cosine", "final": 0.25}, {0: 1.0, 5000: 0.625, TOTAL: 0.25}),
        ({"name": "constant", "warmup": "2 kimg"}, {0: 0.0, 500: 0.25, 2000: 1.0, 3000: 1.0}),
        ({"name": "linear", "warmup": "10 steps"}, {500: 0.5 * 0.95, 5000: 0.5}),
    ],
)
def test_the_rate_is_a_function_of_the_image_count(settings: dict[str, object], expected: dict[int, float]) -> None:
    schedule = make(**settings)
    for nimg, rate in expected.items():
        assert schedule.rate(nimg) == pytest.approx(rate, abs=1e-12), nimg


def rates_after(schedule: Schedule, losses: list[float], start: int = 0) -> list[float]:
    """The rate after each interval (here 100 images, one update), one interval per loss."""
    rates = []
    for index, loss in enumerate(losses, start):
        schedule.observe_loss(torch.tensor(loss), 100 * index, 100 * (index + 1))
        rates.append(schedule.rate(100 * (index + 1)))
    return rates


def test_plateau_lowers_the_rate_when_patience_ends() -> None:
    schedule = make(name="plateau", factor=0.5, patience=2, interval="100 images")
    assert rates_after(schedule, [1.0, 0.9, 0.9, 0.9, 0.9]) == [1, 1, 1, 1, 0.5]


def test_plateau_starts_to_wait_again_after_an_improvement() -> None:
    schedule = make(name="plateau", factor=0.1, patience=1, interval="100 images")
    assert rates_after(schedule, [1.0, 1.0, 0.5, 0.5, 0.4, 0.4, 0.4]) == pytest.approx([1, 1, 1, 1, 1, 1, 0.1])


def test_plateau_agrees_with_torch() -> None:
    """torch.optim's ReduceLROnPlateau as the oracle."""
    torch.manual_seed(0)
    losses = (torch.rand(60) * 0.2 + torch.linspace(1, 0.5, 60)).tolist()
    weight = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([weight], lr=1.0)
    oracle = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.5, patience=3, threshold=1e-4)
    expected = []
    for loss in losses:
        oracle.step(loss)
        expected.append(optimizer.param_groups[0]["lr"])
    ours = make(name="plateau", factor=0.5, patience=3, interval="100 images")
    assert rates_after(ours, losses) == expected
    assert expected[-1] < 1


def test_plateau_judges_the_mean_of_an_interval() -> None:
    schedule = make(name="plateau", factor=0.5, patience=0, interval="200 images")
    # Means of two: 1.0, then 1.0 again (its second loss alone would be an improvement).
    assert rates_after(schedule, [0.5, 1.5, 1.6, 0.4]) == [1, 1, 1, 0.5]


def test_plateau_continues_from_its_buffers() -> None:
    losses = [1.0, 1.1, 1.2, 1.0, 1.3, 1.4, 0.9, 1.0]
    whole = make(name="plateau", factor=0.5, patience=1, interval="100 images")
    expected = rates_after(whole, losses)
    first, second = (make(name="plateau", factor=0.5, patience=1, interval="100 images") for _ in range(2))
    assert isinstance(first, Plateau)
    begun = rates_after(first, losses[:3])
    second.load_state_dict(first.state_dict())
    assert begun + rates_after(second, losses[3:], start=3) == expected


def test_plateau_survives_an_interval_of_nan() -> None:
    schedule = make(name="plateau", factor=0.5, patience=1, interval="100 images")
    assert rates_after(schedule, [math.nan, 1.0, 0.9, 0.8, 0.7]) == [1, 1, 1, 1, 1]


def test_a_burn_in_moves_every_setting_to_the_configured_value_along_half_a_cosine() -> None:
    settings = sections.BurnIn(share=0.2, lr=4, beta2=0.9, penalties=10, half_life=0, augment=0.5)
    burn_in = BurnIn(settings, TOTAL)
    for nimg, left in ((0, 1.0), (500, 0.5 + 0.5 * math.sqrt(0.5)), (1000, 0.5), (2000, 0.0), (TOTAL, 0.0)):
        assert burn_in.lr(nimg) == pytest.approx(1 + 3 * left), nimg
        assert burn_in.penalties(nimg) == pytest.approx(1 + 9 * left), nimg
        assert burn_in.half_life(nimg) == pytest.approx(1 - left), nimg
        assert burn_in.augment(nimg) == pytest.approx(1 - 0.5 * left), nimg
        assert burn_in.beta2(0.99, nimg) == pytest.approx(0.99 - 0.09 * left), nimg


def test_without_a_burn_in_every_setting_has_the_configured_value_at_once() -> None:
    for burn_in in (BurnIn(None, TOTAL), BurnIn(sections.BurnIn(), TOTAL)):
        assert (burn_in.lr(0), burn_in.penalties(0), burn_in.half_life(0), burn_in.augment(0)) == (1, 1, 1, 1)
        assert burn_in.beta2(0.99, 0) == 0.99
