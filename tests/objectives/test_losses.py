import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from ganloom import objectives
from ganloom.core.errors import ConfigError
from ganloom.objectives import losses

ALL = [pytest.param(name, id=name) for name in losses.__all__]


def logits(count: int, seed: int) -> Tensor:
    return 3 * torch.randn(count, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def cross_entropy(logits: Tensor, target: float) -> Tensor:
    return F.binary_cross_entropy_with_logits(logits, torch.full_like(logits, target), reduction="none")


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.5, 0.9])
def test_bce_is_the_cross_entropy_of_torch_with_real_targets_smoothed(smoothing: float) -> None:
    real, fake = logits(50, 1), logits(50, 2)
    loss = losses.bce(label_smoothing=smoothing)
    torch.testing.assert_close(loss.d(real, fake), cross_entropy(real, 1 - smoothing) + cross_entropy(fake, 0.0))
    torch.testing.assert_close(loss.g(fake), cross_entropy(fake, 1.0))  # G is not smoothed, and does not saturate


def test_bce_is_not_smoothed_unless_asked() -> None:
    real, fake = logits(9, 1), logits(9, 2)
    assert torch.equal(losses.bce().d(real, fake), losses.bce(label_smoothing=0.0).d(real, fake))


def test_hinge_is_its_formula() -> None:
    real, fake = torch.tensor([-2.0, 0.0, 0.5, 1.0, 3.0]), torch.tensor([-3.0, -1.0, -0.5, 0.0, 2.0])
    assert losses.hinge().d(real, fake).tolist() == [3.0, 1.0, 1.0, 1.0, 3.0]
    assert losses.hinge().g(fake).tolist() == [3.0, 1.0, 0.5, 0.0, -2.0]


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("count", [1, 7])
def test_a_loss_has_one_value_a_sample_and_that_of_its_sample_alone(name: str, count: int) -> None:
    loss = objectives.loss(name, {})
    real, fake = logits(count, 1), logits(count, 2)
    assert loss.d(real, fake).shape == loss.g(fake).shape == (count,)
    torch.testing.assert_close(loss.d(real, fake)[-1:], loss.d(real[-1:], fake[-1:]))
    torch.testing.assert_close(loss.g(fake)[-1:], loss.g(fake[-1:]))


@pytest.mark.parametrize("name", ALL)
def test_d_pays_for_being_wrong_and_g_for_being_found_out(name: str) -> None:
    loss, high, low = objectives.loss(name, {}), torch.tensor([3.0]), torch.tensor([-3.0])
    assert loss.d(high, low) < loss.d(low, high)
    assert loss.g(high) < loss.g(low)


@pytest.mark.parametrize("name", ALL)
def test_a_loss_and_its_gradient_are_finite_for_logits_of_any_size(name: str) -> None:
    loss = objectives.loss(name, {})
    real, fake = (torch.tensor([-1e4, -90.0, 90.0, 1e4], requires_grad=True) for _ in range(2))
    total = loss.d(real, fake) + loss.g(fake)
    total.sum().backward()
    assert total.isfinite().all()
    assert real.grad is not None and real.grad.isfinite().all()
    assert fake.grad is not None and fake.grad.isfinite().all()


def test_a_loss_is_found_by_its_name_with_its_options() -> None:
    real, fake = logits(9, 1), logits(9, 2)
    named = objectives.loss("bce", {"label_smoothing": "0.1"})
    assert torch.equal(named.d(real, fake), losses.bce(label_smoothing=0.1).d(real, fake))


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("hinges", {}, r"unknown loss 'hinges'\. Did you mean 'hinge'\?"),
        ("bce", {"smoothing": 0.1}, r"unknown option 'smoothing' of loss 'bce'\. Did you mean 'label_smoothing'\?"),
        ("hinge", {"margin": 2}, r"unknown option 'margin' of loss 'hinge'\. There are none\."),
        ("bce", {"label_smoothing": -0.1}, r"option 'label_smoothing' of loss 'bce': .*got -0\.1"),
        ("bce", {"label_smoothing": 1.0}, r"option 'label_smoothing' of loss 'bce': .*got 1\.0"),
        ("bce", {"label_smoothing": "some"}, r"option 'label_smoothing' of loss 'bce': .*got 'some'"),
    ],
)
def test_an_unknown_loss_or_option_is_refused(name: str, options: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        objectives.loss(name, options)
