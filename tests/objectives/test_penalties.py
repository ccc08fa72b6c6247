import pytest
import torch
from torch import Tensor, nn

from ganloom import objectives
from ganloom.core.errors import ConfigError
from ganloom.objectives import Judged, penalties
from ganloom.objectives.penalties import r1

SHAPE = (2, 3, 4)


class Linear(nn.Module):
    """D(x) = <w, x>, and its square when asked."""

    def __init__(self, power: int = 1) -> None:
        super().__init__()
        self.power = power
        self.w = nn.Parameter(normal(24, seed=9))

    def forward(self, x: Tensor) -> Tensor:
        return (x.flatten(1) @ self.w) ** self.power


def normal(*shape: int, seed: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def judge(D: nn.Module, images: Tensor) -> Judged:
    images = images.requires_grad_()
    return Judged(images, None, D(images))


def test_r1_of_a_linear_d_is_half_the_square_of_its_weights() -> None:
    D = Linear()
    value = r1(judge(D, normal(5, *SHAPE, seed=1)), judge(D, normal(5, *SHAPE, seed=2)), D)
    torch.testing.assert_close(value, 0.5 * D.w.square().sum().expand(5))
    value.mean().backward()
    torch.testing.assert_close(D.w.grad, D.w.data)


def test_r1_and_its_second_derivative_are_their_closed_forms() -> None:
    D, x = Linear(power=2), normal(5, *SHAPE, seed=1)
    value = r1(judge(D, x), judge(D, normal(5, *SHAPE, seed=2)), D)
    w, flat = D.w.data, x.detach().flatten(1)
    dot = flat @ w  # [N]; D = dot^2, grad_x D = 2 dot w
    torch.testing.assert_close(value, 2 * dot.square() * w.square().sum())
    value.sum().backward()
    expected = 4 * (dot @ flat) * w.square().sum() + 4 * dot.square().sum() * w
    torch.testing.assert_close(D.w.grad, expected)


def test_r1_looks_at_real_images_only() -> None:
    D, real = Linear(power=2), normal(3, *SHAPE, seed=1)
    values = [r1(judge(D, real), judge(D, normal(3, *SHAPE, seed=seed)), D) for seed in (2, 3)]
    assert torch.equal(*values)
    assert not torch.equal(values[0], r1(judge(D, normal(3, *SHAPE, seed=2)), judge(D, real), D))


def test_a_gradient_of_d_without_a_graph_of_its_own_is_noticed() -> None:
    x = normal(2, *SHAPE, seed=1).requires_grad_()
    judged = Judged(x, None, x.flatten(1).sum(1))
    with pytest.raises(AssertionError, match="no graph of its own"):
        r1(judged, judged, nn.Identity())


@pytest.mark.parametrize("name", penalties.__all__)
def test_a_penalty_has_a_value_a_sample_and_a_gradient_for_d(name: str) -> None:
    D = nn.Sequential(nn.Flatten(), nn.Linear(24, 8), nn.Tanh(), nn.Linear(8, 1), nn.Flatten(0)).double()
    value = objectives.penalty(name)(judge(D, normal(6, *SHAPE, seed=1)), judge(D, normal(6, *SHAPE, seed=2)), D)
    assert value.ndim == 1
    assert 1 <= len(value) <= 6
    assert (value >= 0).all()
    value.mean().backward()
    gradients = [parameter.grad for parameter in D[1].parameters()]
    assert all(grad is not None and grad.isfinite().all() and grad.abs().sum() > 0 for grad in gradients)


def test_an_unknown_penalty_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"unknown penalty 'r11'\. Did you mean 'r1'\?"):
        objectives.penalty("r11")
