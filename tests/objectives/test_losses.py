from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from ganloom import objectives
from ganloom.core.errors import ConfigError
from ganloom.objectives import Loss, RelativisticLoss, losses

ALL = losses.__all__
RELATIVE = [name for name in ALL if isinstance(objectives.loss(name, {}), RelativisticLoss)]
PER_SAMPLE = [name for name in ALL if name != "relativistic_average"]  # its means are over the micro-batch


def logits(count: int, seed: int) -> Tensor:
    return 3 * torch.randn(count, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def g_of(loss: Loss | RelativisticLoss, real: Tensor, fake: Tensor) -> Tensor:
    return loss.g(real, fake) if isinstance(loss, RelativisticLoss) else loss.g(fake)


def cross_entropy(logits: Tensor, target: float) -> Tensor:
    return F.binary_cross_entropy_with_logits(logits, torch.full_like(logits, target), reduction="none")


def assert_same(ours: Callable[..., Tensor], formula: Callable[..., Tensor], count: int) -> None:
    """The values are equal, and so are the gradients with respect to all logits."""
    given = [logits(50, seed).requires_grad_() for seed in range(1, count + 1)]
    torch.testing.assert_close(ours(*given), formula(*given))
    weights = logits(50, 9)  # so that errors in the gradient do not cancel out
    gradients = [torch.autograd.grad((weights * f(*given)).sum(), given) for f in (ours, formula)]
    torch.testing.assert_close(*gradients)


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.5, 0.9])
def test_bce_is_torchs_cross_entropy_with_smoothed_real_targets(smoothing: float) -> None:
    loss = losses.bce(label_smoothing=smoothing)
    assert_same(loss.d, lambda real, fake: cross_entropy(real, 1 - smoothing) + cross_entropy(fake, 0.0), 2)
    assert_same(loss.g, lambda fake: cross_entropy(fake, 1.0), 1)  # G is neither smoothed nor saturating


def test_bce_is_not_smoothed_unless_asked() -> None:
    real, fake = logits(9, 1), logits(9, 2)
    assert torch.equal(losses.bce().d(real, fake), losses.bce(label_smoothing=0.0).d(real, fake))


def test_minimax_is_one_value_that_d_maximises_and_g_minimises() -> None:
    loss = losses.minimax()
    assert_same(loss.d, lambda real, fake: -(real.sigmoid().log() + (1 - fake.sigmoid()).log()), 2)
    assert_same(loss.g, lambda fake: (1 - fake.sigmoid()).log(), 1)


def test_minimax_saturates_for_g_where_bce_does_not() -> None:
    slopes = {}
    for name in ("minimax", "bce"):
        sure = torch.tensor([-20.0], requires_grad=True)  # D is sure that it is generated
        objectives.loss(name, {}).g(sure).sum().backward()
        slopes[name] = sure.grad.item()
    assert -1e-8 < slopes["minimax"] < 0
    assert slopes["bce"] == pytest.approx(-1)


def test_lsgan_is_the_squared_distance_to_one_for_real_and_to_zero_for_generated_images() -> None:
    def distance(logits: Tensor, target: float) -> Tensor:
        return F.mse_loss(logits, torch.full_like(logits, target), reduction="none")

    loss = losses.lsgan()
    assert_same(loss.d, lambda real, fake: distance(real, 1.0) + distance(fake, 0.0), 2)
    assert_same(loss.g, lambda fake: distance(fake, 1.0), 1)


def test_hinge_equals_its_formula() -> None:
    real, fake = torch.tensor([-2.0, 0.0, 0.5, 1.0, 3.0]), torch.tensor([-3.0, -1.0, -0.5, 0.0, 2.0])
    assert losses.hinge().d(real, fake).tolist() == [3.0, 1.0, 1.0, 1.0, 3.0]
    assert losses.hinge().g(fake).tolist() == [3.0, 1.0, 0.5, 0.0, -2.0]


def test_wasserstein_is_the_difference_of_the_logits() -> None:
    real, fake = torch.tensor([-2.0, 0.5, 3.0]), torch.tensor([-3.0, 0.0, 7.0])
    assert losses.wasserstein().d(real, fake).tolist() == [-1.0, -0.5, 4.0]
    assert losses.wasserstein().g(fake).tolist() == [3.0, 0.0, -7.0]


def test_relativistic_is_the_cross_entropy_of_the_difference_of_a_pair() -> None:
    loss = losses.relativistic()
    assert_same(loss.d, lambda real, fake: cross_entropy(real - fake, 1.0), 2)
    assert_same(loss.g, lambda real, fake: cross_entropy(fake - real, 1.0), 2)


def test_relativistic_average_is_the_cross_entropy_of_the_difference_to_the_mean_of_the_others() -> None:
    def formula(higher: Tensor, lower: Tensor) -> Tensor:
        count = len(higher)
        return cross_entropy(higher - lower.sum() / count, 1.0) + cross_entropy(lower - higher.sum() / count, 0.0)

    loss = losses.relativistic_average()
    assert_same(loss.d, formula, 2)
    assert_same(loss.g, lambda real, fake: formula(fake, real), 2)


@pytest.mark.parametrize("name", RELATIVE)
def test_a_relativistic_loss_depends_on_differences_only(name: str) -> None:
    loss, real, fake = objectives.loss(name, {}), logits(9, 1), logits(9, 2)
    for function in (loss.d, loss.g):
        torch.testing.assert_close(function(real + 5, fake + 5), function(real, fake))
        assert not torch.allclose(function(real + 5, fake), function(real, fake))


def test_only_the_two_relativistic_losses_need_real_images_for_g() -> None:
    assert sorted(RELATIVE) == ["relativistic", "relativistic_average"]


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("count", [1, 7])
def test_a_loss_has_one_value_per_sample(name: str, count: int) -> None:
    loss, real, fake = objectives.loss(name, {}), logits(count, 1), logits(count, 2)
    assert loss.d(real, fake).shape == g_of(loss, real, fake).shape == (count,)


@pytest.mark.parametrize("name", PER_SAMPLE)
def test_the_value_of_a_sample_does_not_depend_on_other_samples(name: str) -> None:
    loss, real, fake = objectives.loss(name, {}), logits(7, 1), logits(7, 2)
    torch.testing.assert_close(loss.d(real, fake)[-1:], loss.d(real[-1:], fake[-1:]))
    torch.testing.assert_close(g_of(loss, real, fake)[-1:], g_of(loss, real[-1:], fake[-1:]))


@pytest.mark.parametrize("name", ALL)
def test_d_is_penalised_for_being_wrong_and_g_for_being_detected(name: str) -> None:
    loss, high, low = objectives.loss(name, {}), torch.tensor([3.0]), torch.tensor([-3.0])
    assert loss.d(high, low) < loss.d(low, high)
    assert g_of(loss, low, high) < g_of(loss, high, low)


@pytest.mark.parametrize("name", ALL)
def test_a_loss_and_its_gradient_are_finite_for_logits_of_any_size(name: str) -> None:
    loss = objectives.loss(name, {})
    sizes = torch.tensor([-1e4, -90.0, 0.0, 90.0, 1e4])
    pairs = torch.cartesian_prod(sizes, sizes)  # a relativistic loss depends on their differences only
    real, fake = (side.clone().requires_grad_() for side in pairs.unbind(1))
    total = loss.d(real, fake) + g_of(loss, real, fake)
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
        ("bce", {"label_smoothing": -0.1}, r"option 'label_smoothing' of loss 'bce': must be at least 0, not -0\.1"),
        ("bce", {"label_smoothing": 1.0}, r"option 'label_smoothing' of loss 'bce': must be below 1, not 1\.0"),
        ("bce", {"label_smoothing": "some"}, r"option 'label_smoothing' of loss 'bce': must be a number"),
    ],
)
def test_an_unknown_loss_or_option_is_refused(name: str, options: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        objectives.loss(name, options)
