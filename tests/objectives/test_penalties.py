import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ganloom import objectives
from ganloom.core.errors import ConfigError
from ganloom.objectives import Judge, Judged, Penalty, penalties

SHAPE = (2, 3, 4)
SIZE = 24
N, F_, K = 5, 6, 4
GRADIENT_SQUARES = [("r1", 0), ("r2", 1)]  # 0: for real images, 1: for generated ones
UNIT_NORM = ["wgan_gp", "dragan"]


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)  # as the step does; a draw with a gradient norm of nearly 0 would show the 1e-12


class Power(nn.Module):
    """D(x) = <w, x>, or its square: grad_x D = w, or 2 <w, x> w."""

    def __init__(self, power: int = 1) -> None:
        super().__init__()
        self.power = power
        self.w = nn.Parameter(0.3 * normal(SIZE, seed=9))

    def forward(self, x: Tensor) -> Tensor:
        return (x.flatten(1) @ self.w) ** self.power


class FullD(nn.Module):
    """A D with every output that a D can have."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk = nn.Sequential(nn.Flatten(), nn.Linear(SIZE, F_), nn.Tanh())
        self.head, self.classifier = nn.Linear(F_, 1), nn.Linear(F_, K)

    def judge(self, x: Tensor, y: Tensor | None) -> Judged:
        features = self.trunk(x)
        return Judged(x, y, self.head(features).flatten(), features, self.classifier(features))


class Linear(nn.Module):
    """A G with two layers of styles whose images are a matrix times the styles: the matrix is its Jacobian."""

    def __init__(self) -> None:
        super().__init__()
        self.matrix = nn.Parameter(normal(SIZE, 2, 3, seed=3))
        self.register_buffer("path_length", torch.tensor(0.7, dtype=torch.float64))

    def styles(self, z: Tensor, y: Tensor | None) -> Tensor:
        return z[:, None].expand(-1, 2, -1)

    def synthesize(self, w: Tensor) -> Tensor:
        return torch.einsum("sli,nli->ns", self.matrix, w).view(-1, *SHAPE)


def normal(*shape: int, seed: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def images(seed: int, count: int = N) -> Tensor:
    return normal(count, *SHAPE, seed=seed).requires_grad_()


def labels(seed: int, count: int = N) -> Tensor:
    return torch.randint(K, (count,), generator=torch.Generator().manual_seed(seed))


def judge_of(D: nn.Module) -> Judge:
    return lambda x, y: Judged(x, y, D(x))


def d_part(name: str, D: nn.Module, real: Tensor, fake: Tensor) -> Tensor:
    judge, part = judge_of(D), objectives.penalty(name).d
    assert part is not None
    return part(judge(real, None), judge(fake, None), judge)


def value_and_call(name: str, D: nn.Module, real: Judged, fake: Judged) -> tuple[Tensor, Tensor, Tensor | None]:
    """The value of a penalty's part `d`, and the images and labels of its one call of D."""
    calls: list[tuple[Tensor, Tensor | None]] = []

    def judge(x: Tensor, y: Tensor | None) -> Judged:
        calls.append((x, y))
        return Judged(x, y, D(x))

    part = objectives.penalty(name).d
    assert part is not None
    value = part(real, fake, judge)
    ((x, y),) = calls
    return value, x, y


# Penalties on D's gradient by its images: values, and their gradients by D's weights, in closed form.


@pytest.mark.parametrize("name", ["r1", "r2"])
def test_r1_and_r2_of_a_linear_d_are_half_the_squared_norm_of_its_weights(name: str) -> None:
    D = Power()
    value = d_part(name, D, images(1), images(2))
    torch.testing.assert_close(value, 0.5 * D.w.square().sum().expand(N))
    value.mean().backward()
    torch.testing.assert_close(D.w.grad, D.w.data)


@pytest.mark.parametrize(("name", "side"), GRADIENT_SQUARES)
def test_r1_and_r2_and_their_second_derivatives_equal_their_closed_forms(name: str, side: int) -> None:
    D, both = Power(power=2), (images(1), images(2))
    value = d_part(name, D, *both)
    w, flat = D.w.data, both[side].detach().flatten(1)
    dot = flat @ w
    torch.testing.assert_close(value, 2 * dot.square() * w.square().sum())
    value.sum().backward()
    torch.testing.assert_close(D.w.grad, 4 * (dot @ flat) * w.square().sum() + 4 * dot.square().sum() * w)


@pytest.mark.parametrize(("name", "side"), GRADIENT_SQUARES)
def test_r1_uses_real_images_only_and_r2_generated_ones_only(name: str, side: int) -> None:
    D, first, others = Power(power=2), images(1), [images(2), images(3)]
    same = [d_part(name, D, *((first, other) if side == 0 else (other, first))) for other in others]
    different = [d_part(name, D, *((other, first) if side == 0 else (first, other))) for other in others]
    assert torch.equal(*same)
    assert not torch.equal(*different)


@pytest.mark.parametrize("name", UNIT_NORM)
def test_wgan_gp_and_dragan_of_a_linear_d_are_the_squared_distance_of_its_gradient_norm_to_one(name: str) -> None:
    D = Power()
    value = d_part(name, D, images(1), images(2))
    slope = D.w.data.square().sum().sqrt()
    torch.testing.assert_close(value, (slope - 1).square().expand(N))
    value.mean().backward()
    torch.testing.assert_close(D.w.grad, 2 * (slope - 1) * D.w.data / slope)


@pytest.mark.parametrize("name", UNIT_NORM)
def test_wgan_gp_and_dragan_and_their_second_derivatives_equal_their_closed_forms(name: str) -> None:
    D, judge = Power(power=2), judge_of(Power(power=2))
    value, x, _ = value_and_call(name, D, judge(images(1), None), judge(images(2), None))
    w, flat = D.w.data, x.detach().flatten(1)
    dot, norm = flat @ w, D.w.data.square().sum().sqrt()
    slope = 2 * dot.abs() * norm  # [N]
    torch.testing.assert_close(value, (slope - 1).square())
    value.sum().backward()
    norm_by_w = 2 * norm * dot.sign()[:, None] * flat + 2 * dot.abs()[:, None] * w / norm  # [N, SIZE]
    torch.testing.assert_close(D.w.grad, (2 * (slope - 1)) @ norm_by_w)


def test_wgan_gp_calls_d_at_one_point_between_each_pair_with_the_real_label() -> None:
    D, y = Power(), labels(1)
    real, fake = (judge_of(D)(images(seed), labels(seed)) for seed in (1, 2))
    _, x, asked = value_and_call("wgan_gp", D, real, fake)
    assert torch.equal(asked, y)
    shares = ((x - fake.images) / (real.images - fake.images)).detach().flatten(1)  # [N, SIZE]
    torch.testing.assert_close(shares, shares[:, :1].expand_as(shares))
    assert ((shares >= 0) & (shares <= 1)).all()
    assert len(shares[:, 0].unique()) == N


def test_the_points_of_wgan_gp_are_spread_evenly_from_generated_to_real() -> None:
    D, judge = Power(), judge_of(Power())
    real = judge(torch.ones(4000, *SHAPE, dtype=torch.float64), None)
    fake = judge(torch.zeros(4000, *SHAPE, dtype=torch.float64), None)
    torch.manual_seed(3)
    share = value_and_call("wgan_gp", D, real, fake)[1][:, 0, 0, 0].detach().sort().values
    assert (share - torch.linspace(0, 1, 4000, dtype=torch.float64)).abs().max() < 0.03  # Kolmogorov-Smirnov at 0.1 %


def test_dragan_calls_d_at_real_images_plus_half_their_deviation_times_uniform_noise_with_their_labels() -> None:
    D, y = Power(), labels(1, 200)
    real, fake = (judge_of(D)(10 + 3 * images(seed, 200), labels(seed, 200)) for seed in (1, 2))
    torch.manual_seed(3)
    _, x, asked = value_and_call("dragan", D, real, fake)
    assert torch.equal(asked, y)
    flat = real.images.detach().flatten()
    spread = (flat - flat.mean()).square().mean().sqrt()
    noise = ((x - real.images) / (0.5 * spread)).detach().flatten().sort().values  # one for each value
    assert (noise - torch.linspace(0, 1, noise.numel(), dtype=torch.float64)).abs().max() < 0.03


def test_dragan_does_not_use_generated_images() -> None:
    D, real, values = Power(power=2), images(1), []
    for seed in (2, 3):
        torch.manual_seed(0)
        values.append(d_part("dragan", D, real, images(seed)))
    assert torch.equal(*values)


@pytest.mark.parametrize("name", UNIT_NORM)
def test_the_points_of_wgan_gp_and_dragan_depend_on_the_seed_alone_and_are_leaves(name: str) -> None:
    D, judge = Power(), judge_of(Power())
    points = []
    for seed in (5, 5, 6):
        torch.manual_seed(seed)
        points.append(value_and_call(name, D, judge(images(1), None), judge(images(2), None))[1])
    assert torch.equal(points[0], points[1])
    assert not torch.equal(points[0], points[2])
    assert all(point.is_leaf and point.requires_grad for point in points)


@pytest.mark.parametrize("name", UNIT_NORM)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_points_of_wgan_gp_and_dragan_have_the_dtype_of_the_images(name: str, dtype: torch.dtype) -> None:
    D = Power().to(dtype)
    real, fake = (judge_of(D)(images(seed).to(dtype), None) for seed in (1, 2))
    value, x, _ = value_and_call(name, D, real, fake)
    assert value.dtype == x.dtype == dtype


@pytest.mark.parametrize("name", UNIT_NORM)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_wgan_gp_and_dragan_of_a_constant_d_and_their_derivatives_are_finite(name: str, dtype: torch.dtype) -> None:
    D = Power(power=2).to(dtype)
    nn.init.zeros_(D.w)  # D and its gradient are 0 everywhere
    value = d_part(name, D, images(1).to(dtype), images(2).to(dtype))
    torch.testing.assert_close(value, torch.ones_like(value), atol=1e-5, rtol=0)
    (first,) = torch.autograd.grad(value.sum(), D.w, create_graph=True)
    (second,) = torch.autograd.grad(first.sum(), D.w)
    assert first.isfinite().all()
    assert second.isfinite().all()


@pytest.mark.parametrize("name", ["r1", "r2", *UNIT_NORM])
def test_a_gradient_of_d_that_is_not_differentiable_is_an_error(name: str) -> None:
    with pytest.raises(AssertionError, match="not differentiable"):
        d_part(name, nn.Sequential(nn.Flatten(), Sum()), images(1), images(2))


class Sum(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.sum(1)  # its gradient is 1, whatever x and the weights are


# Penalties on the outputs of D.


def test_drift_is_the_square_of_the_logits_of_real_images() -> None:
    D, real = Power(), images(1)
    value = d_part("drift", D, real, images(2))
    flat = real.detach().flatten(1)
    torch.testing.assert_close(value, (flat @ D.w.data) ** 2)
    value.sum().backward()
    torch.testing.assert_close(D.w.grad, 2 * (flat @ D.w.data) @ flat)


def test_feature_matching_is_the_squared_distance_of_mean_features_without_gradients_through_real_ones() -> None:
    W = normal(SIZE, F_, seed=3).requires_grad_()
    real, fake = images(1, 7), images(2)  # the numbers need not be equal

    def judge(x: Tensor) -> Judged:
        return Judged(x, None, x.flatten(1).sum(1), x.flatten(1) @ W)

    value = objectives.penalty("feature_matching").g(judge(fake), lambda: judge(real))
    mean_real, mean_fake = (x.detach().flatten(1).sum(0) / len(x) for x in (real, fake))
    distance = (mean_fake - mean_real) @ W.data  # [F]
    torch.testing.assert_close(value, distance.square().sum()[None])
    value.sum().backward()
    torch.testing.assert_close(fake.grad.flatten(1), (2 / N * W.data @ distance).expand(N, SIZE))
    assert real.grad is None
    torch.testing.assert_close(W.grad, 2 * torch.outer(mean_fake, distance))


def judged(class_logits: Tensor | None, y: Tensor | None) -> Judged:
    return Judged(torch.zeros(N, *SHAPE), y, torch.zeros(N), class_logits=class_logits)


def no_reals() -> Judged:
    raise AssertionError("fetched real images without need")


def no_judge(x: Tensor, y: Tensor | None) -> Judged:
    raise AssertionError("called D without need")


def classifiers() -> tuple[Tensor, Tensor]:
    return tuple(normal(N, K, seed=seed).requires_grad_() for seed in (1, 2))


def test_auxiliary_classifier_trains_d_on_real_images_only() -> None:
    of_real, of_fake = classifiers()
    y_real, y_fake = labels(1), labels(2)
    assert not torch.equal(y_real, y_fake)
    value = penalties.auxiliary_classifier().d(judged(of_real, y_real), judged(of_fake, y_fake), no_judge)
    torch.testing.assert_close(value, F.cross_entropy(of_real, y_real, reduction="none"))
    value.sum().backward()
    torch.testing.assert_close(of_real.grad, (of_real.softmax(1) - torch.eye(K, dtype=torch.float64)[y_real]).detach())
    assert of_fake.grad is None


def test_auxiliary_classifier_trains_g_on_the_cross_entropy_of_generated_images() -> None:
    logits, y = classifiers()[1], labels(2)
    value = penalties.auxiliary_classifier().g(judged(logits, y), no_reals)
    torch.testing.assert_close(value, -logits.softmax(1)[torch.arange(N), y].log())
    value.sum().backward()
    torch.testing.assert_close(logits.grad, (logits.softmax(1) - torch.eye(K, dtype=torch.float64)[y]).detach())


def test_auxiliary_classifier_of_overlapping_classes_is_the_sum_of_binary_cross_entropies() -> None:
    penalty, (logits, others) = penalties.auxiliary_classifier(), classifiers()
    y = (normal(N, K, seed=3) > 0).float()
    chance = torch.where(y == 1, logits.sigmoid(), 1 - logits.sigmoid())  # of the actual value of each class
    expected = -chance.prod(1).log()
    value = penalty.d(judged(logits, y), judged(others, y), no_judge)
    torch.testing.assert_close(value, expected)
    torch.testing.assert_close(penalty.g(judged(logits, y), no_reals), expected)
    value.sum().backward()
    torch.testing.assert_close(logits.grad, (logits.sigmoid() - y).detach())


@pytest.mark.parametrize("classifies", [True, False])
def test_auxiliary_classifier_without_labels_says_how_to_get_them(classifies: bool) -> None:
    penalty, unlabelled = penalties.auxiliary_classifier(), judged(classifiers()[0] if classifies else None, None)
    with pytest.raises(ConfigError, match=r"needs labels: train with data\.labels=true"):
        penalty.d(unlabelled, unlabelled, no_judge)
    with pytest.raises(ConfigError, match=r"needs labels: train with data\.labels=true"):
        penalty.g(unlabelled, no_reals)


def test_auxiliary_classifier_without_a_classifier_says_how_to_get_one() -> None:
    penalty, silent = penalties.auxiliary_classifier(), judged(None, labels(1))
    with pytest.raises(ConfigError, match=r"D has no classifier: set net\.d\.labels=classifier"):
        penalty.d(silent, silent, no_judge)
    with pytest.raises(ConfigError, match=r"D has no classifier: set net\.d\.labels=classifier"):
        penalty.g(silent, no_reals)


def test_feature_matching_without_features_says_so_before_real_images_are_fetched() -> None:
    with pytest.raises(ConfigError, match=r"this D returns no features.*Leave the penalty out, or choose a network"):
        penalties.feature_matching().g(judged(None, None), no_reals)


# Path length.


def test_path_length_of_a_linear_g_matches_its_matrix() -> None:
    """||M' n|| with n / sqrt(pixels), as the root mean square over the layers, minus the running mean."""
    G, part = Linear(), penalties.path_length().path
    assert part is not None
    torch.manual_seed(4)
    found = part(G, normal(N, 3, seed=5).requires_grad_(), None)
    torch.manual_seed(4)
    noise = torch.randn(N, *SHAPE, dtype=torch.float64).flatten(1) / SHAPE[1] ** 0.5 / SHAPE[2] ** 0.5
    slopes = torch.einsum("ns,sli->nli", noise, G.matrix)
    lengths = slopes.square().sum(2).mean(1).sqrt()
    torch.testing.assert_close(found.length, lengths)
    torch.testing.assert_close(found.penalty, (lengths - 0.7).square())
    torch.testing.assert_close(
        torch.autograd.grad(found.penalty.sum(), G.matrix, retain_graph=True),
        torch.autograd.grad((lengths - 0.7).square().sum(), G.matrix),
    )


# Every penalty.


def parts(penalty: Penalty, D: FullD) -> list[tuple[Tensor, Tensor]]:
    """Each part's values, and a tensor that must get a gradient: D's first weights, or G's images."""
    real, fake = (D.judge(images(seed), labels(seed)) for seed in (1, 2))
    found = []
    if penalty.d is not None:
        found.append((penalty.d(real, fake, D.judge), D.trunk[1].weight))
    if penalty.g is not None:
        found.append((penalty.g(fake, lambda: real), fake.images))
    if penalty.path is not None:
        found.append((penalty.path(G := Linear(), normal(N, 3, seed=5).requires_grad_(), None).penalty, G.matrix))
    return found


@pytest.mark.parametrize("name", penalties.__all__)
def test_a_penalty_has_at_most_one_value_per_sample_and_a_gradient_for_what_it_trains(name: str) -> None:
    found = parts(objectives.penalty(name), FullD().double())
    assert found
    for value, trained in found:
        assert value.ndim == 1
        assert 1 <= len(value) <= N
        assert (value >= 0).all()
        (gradient,) = torch.autograd.grad(value.mean(), trained, retain_graph=True)
        assert gradient.isfinite().all()
        assert gradient.abs().sum() > 0


@pytest.mark.parametrize("name", penalties.__all__)
def test_a_penalty_declares_whether_it_differentiates_d_by_its_images(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls, grad = [], torch.autograd.grad

    def counted(*arguments: object, **options: object) -> tuple[Tensor, ...]:
        calls.append(1)
        return grad(*arguments, **options)

    monkeypatch.setattr(torch.autograd, "grad", counted)
    penalty = objectives.penalty(name)
    parts(penalty, FullD().double())
    assert (penalty.differentiates or penalty.path is not None) == bool(calls)


def test_an_unknown_penalty_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"unknown penalty 'r11'\. Did you mean 'r1'\?"):
        objectives.penalty("r11")
