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
GRADIENT_SQUARES = [("r1", 0), ("r2", 1)]  # 0: of real, 1: of generated images
SLOPES_TO_ONE = ["wgan_gp", "dragan"]


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)  # as the step does; a test that happens to draw a slope of nearly 0 would see the 1e-12


class Power(nn.Module):
    """D(x) = <w, x>, or its square: grad_x D = w, or 2 <w, x> w."""

    def __init__(self, power: int = 1) -> None:
        super().__init__()
        self.power = power
        self.w = nn.Parameter(0.3 * normal(SIZE, seed=9))

    def forward(self, x: Tensor) -> Tensor:
        return (x.flatten(1) @ self.w) ** self.power


class Whole(nn.Module):
    """A D that says all that a D can say."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk = nn.Sequential(nn.Flatten(), nn.Linear(SIZE, F_), nn.Tanh())
        self.head, self.classifier = nn.Linear(F_, 1), nn.Linear(F_, K)

    def judge(self, x: Tensor, y: Tensor | None) -> Judged:
        features = self.trunk(x)
        return Judged(x, y, self.head(features).flatten(), features, self.classifier(features))


class Linear(nn.Module):
    """A G with two layers of styles, whose images are a matrix times the styles: its slope is the matrix."""

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


def watched(name: str, D: nn.Module, real: Judged, fake: Judged) -> tuple[Tensor, Tensor, Tensor | None]:
    """The value of a penalty's part `d`, and the one question that it asked D."""
    questions: list[tuple[Tensor, Tensor | None]] = []

    def judge(x: Tensor, y: Tensor | None) -> Judged:
        questions.append((x, y))
        return Judged(x, y, D(x))

    part = objectives.penalty(name).d
    assert part is not None
    value = part(real, fake, judge)
    ((x, y),) = questions
    return value, x, y


# Of D's gradient at its images: value and the gradient of that for D's weights, in closed form.


@pytest.mark.parametrize("name", ["r1", "r2"])
def test_r1_and_r2_of_a_linear_d_are_half_the_square_of_its_weights(name: str) -> None:
    D = Power()
    value = d_part(name, D, images(1), images(2))
    torch.testing.assert_close(value, 0.5 * D.w.square().sum().expand(N))
    value.mean().backward()
    torch.testing.assert_close(D.w.grad, D.w.data)


@pytest.mark.parametrize(("name", "side"), GRADIENT_SQUARES)
def test_r1_of_reals_and_r2_of_fakes_and_their_second_derivatives_are_their_closed_forms(name: str, side: int) -> None:
    D, both = Power(power=2), (images(1), images(2))
    value = d_part(name, D, *both)
    w, flat = D.w.data, both[side].detach().flatten(1)
    dot = flat @ w
    torch.testing.assert_close(value, 2 * dot.square() * w.square().sum())
    value.sum().backward()
    torch.testing.assert_close(D.w.grad, 4 * (dot @ flat) * w.square().sum() + 4 * dot.square().sum() * w)


@pytest.mark.parametrize(("name", "side"), GRADIENT_SQUARES)
def test_r1_looks_at_real_images_only_and_r2_at_generated_ones(name: str, side: int) -> None:
    D, first, others = Power(power=2), images(1), [images(2), images(3)]
    same = [d_part(name, D, *((first, other) if side == 0 else (other, first))) for other in others]
    different = [d_part(name, D, *((other, first) if side == 0 else (first, other))) for other in others]
    assert torch.equal(*same)
    assert not torch.equal(*different)


@pytest.mark.parametrize("name", SLOPES_TO_ONE)
def test_wgan_gp_and_dragan_of_a_linear_d_are_the_squared_distance_of_its_slope_to_one(name: str) -> None:
    D = Power()
    value = d_part(name, D, images(1), images(2))
    slope = D.w.data.square().sum().sqrt()
    torch.testing.assert_close(value, (slope - 1).square().expand(N))
    value.mean().backward()
    torch.testing.assert_close(D.w.grad, 2 * (slope - 1) * D.w.data / slope)


@pytest.mark.parametrize("name", SLOPES_TO_ONE)
def test_wgan_gp_and_dragan_are_of_the_slope_where_they_asked_d_and_so_is_their_second_derivative(name: str) -> None:
    D, judge = Power(power=2), judge_of(Power(power=2))
    value, x, _ = watched(name, D, judge(images(1), None), judge(images(2), None))
    w, flat = D.w.data, x.detach().flatten(1)
    dot, norm = flat @ w, D.w.data.square().sum().sqrt()
    slope = 2 * dot.abs() * norm  # [N]
    torch.testing.assert_close(value, (slope - 1).square())
    value.sum().backward()
    slope_by_w = 2 * norm * dot.sign()[:, None] * flat + 2 * dot.abs()[:, None] * w / norm  # [N, SIZE]
    torch.testing.assert_close(D.w.grad, (2 * (slope - 1)) @ slope_by_w)


def test_wgan_gp_asks_d_of_one_point_between_each_pair_with_the_real_label() -> None:
    D, y = Power(), labels(1)
    real, fake = (judge_of(D)(images(seed), labels(seed)) for seed in (1, 2))
    _, x, asked = watched("wgan_gp", D, real, fake)
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
    share = watched("wgan_gp", D, real, fake)[1][:, 0, 0, 0].detach().sort().values
    assert (share - torch.linspace(0, 1, 4000, dtype=torch.float64)).abs().max() < 0.03  # Kolmogorov-Smirnov at 0.1 %


def test_dragan_asks_d_of_real_images_plus_half_their_spread_times_uniform_noise_with_their_labels() -> None:
    D, y = Power(), labels(1, 200)
    real, fake = (judge_of(D)(10 + 3 * images(seed, 200), labels(seed, 200)) for seed in (1, 2))
    torch.manual_seed(3)
    _, x, asked = watched("dragan", D, real, fake)
    assert torch.equal(asked, y)
    flat = real.images.detach().flatten()
    spread = (flat - flat.mean()).square().mean().sqrt()
    noise = ((x - real.images) / (0.5 * spread)).detach().flatten().sort().values  # one for each value
    assert (noise - torch.linspace(0, 1, noise.numel(), dtype=torch.float64)).abs().max() < 0.03


def test_dragan_does_not_look_at_generated_images() -> None:
    D, real, values = Power(power=2), images(1), []
    for seed in (2, 3):
        torch.manual_seed(0)
        values.append(d_part("dragan", D, real, images(seed)))
    assert torch.equal(*values)


@pytest.mark.parametrize("name", SLOPES_TO_ONE)
def test_what_wgan_gp_and_dragan_draw_depends_on_the_seed_alone_and_is_no_part_of_a_graph(name: str) -> None:
    D, judge = Power(), judge_of(Power())
    points = []
    for seed in (5, 5, 6):
        torch.manual_seed(seed)
        points.append(watched(name, D, judge(images(1), None), judge(images(2), None))[1])
    assert torch.equal(points[0], points[1])
    assert not torch.equal(points[0], points[2])
    assert all(point.is_leaf and point.requires_grad for point in points)


@pytest.mark.parametrize("name", SLOPES_TO_ONE)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_what_wgan_gp_and_dragan_ask_of_has_the_dtype_of_the_images(name: str, dtype: torch.dtype) -> None:
    D = Power().to(dtype)
    real, fake = (judge_of(D)(images(seed).to(dtype), None) for seed in (1, 2))
    value, x, _ = watched(name, D, real, fake)
    assert value.dtype == x.dtype == dtype


@pytest.mark.parametrize("name", SLOPES_TO_ONE)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_wgan_gp_and_dragan_of_a_flat_d_and_their_derivatives_are_finite(name: str, dtype: torch.dtype) -> None:
    D = Power(power=2).to(dtype)
    nn.init.zeros_(D.w)  # D and its slope are 0 everywhere
    value = d_part(name, D, images(1).to(dtype), images(2).to(dtype))
    torch.testing.assert_close(value, torch.ones_like(value), atol=1e-5, rtol=0)
    (first,) = torch.autograd.grad(value.sum(), D.w, create_graph=True)
    (second,) = torch.autograd.grad(first.sum(), D.w)
    assert first.isfinite().all()
    assert second.isfinite().all()


@pytest.mark.parametrize("name", ["r1", "r2", *SLOPES_TO_ONE])
def test_a_gradient_of_d_without_a_graph_of_its_own_is_noticed(name: str) -> None:
    with pytest.raises(AssertionError, match="no graph of its own"):
        d_part(name, nn.Sequential(nn.Flatten(), Sum()), images(1), images(2))


class Sum(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.sum(1)  # its slope is 1 whatever x and whatever the weights: it has none


# Of what D says.


def test_drift_is_the_square_of_the_logits_of_real_images() -> None:
    D, real = Power(), images(1)
    value = d_part("drift", D, real, images(2))
    flat = real.detach().flatten(1)
    torch.testing.assert_close(value, (flat @ D.w.data) ** 2)
    value.sum().backward()
    torch.testing.assert_close(D.w.grad, 2 * (flat @ D.w.data) @ flat)


def test_feature_matching_is_the_squared_distance_of_mean_features_and_teaches_nothing_through_real_ones() -> None:
    W = normal(SIZE, F_, seed=3).requires_grad_()
    real, fake = images(1, 7), images(2)  # as many of each is no condition

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


def said(class_logits: Tensor | None, y: Tensor | None) -> Judged:
    return Judged(torch.zeros(N, *SHAPE), y, torch.zeros(N), class_logits=class_logits)


def no_reals() -> Judged:
    raise AssertionError("asked for real images without need")


def unasked(x: Tensor, y: Tensor | None) -> Judged:
    raise AssertionError("asked D without need")


def classifiers() -> tuple[Tensor, Tensor]:
    return tuple(normal(N, K, seed=seed).requires_grad_() for seed in (1, 2))


def test_auxiliary_classifier_teaches_d_the_labels_of_real_images_and_of_no_others() -> None:
    of_real, of_fake = classifiers()
    y_real, y_fake = labels(1), labels(2)
    assert not torch.equal(y_real, y_fake)
    value = penalties.auxiliary_classifier().d(said(of_real, y_real), said(of_fake, y_fake), unasked)
    torch.testing.assert_close(value, F.cross_entropy(of_real, y_real, reduction="none"))
    value.sum().backward()
    torch.testing.assert_close(of_real.grad, (of_real.softmax(1) - torch.eye(K, dtype=torch.float64)[y_real]).detach())
    assert of_fake.grad is None


def test_auxiliary_classifier_lowers_the_cross_entropy_of_generated_images_for_g_too() -> None:
    logits, y = classifiers()[1], labels(2)
    value = penalties.auxiliary_classifier().g(said(logits, y), no_reals)
    torch.testing.assert_close(value, -logits.softmax(1)[torch.arange(N), y].log())
    value.sum().backward()
    torch.testing.assert_close(logits.grad, (logits.softmax(1) - torch.eye(K, dtype=torch.float64)[y]).detach())


def test_auxiliary_classifier_of_classes_that_overlap_is_the_sum_of_their_binary_cross_entropies() -> None:
    penalty, (logits, others) = penalties.auxiliary_classifier(), classifiers()
    y = (normal(N, K, seed=3) > 0).float()
    chance = torch.where(y == 1, logits.sigmoid(), 1 - logits.sigmoid())  # of each class as it is
    expected = -chance.prod(1).log()
    value = penalty.d(said(logits, y), said(others, y), unasked)
    torch.testing.assert_close(value, expected)
    torch.testing.assert_close(penalty.g(said(logits, y), no_reals), expected)
    value.sum().backward()
    torch.testing.assert_close(logits.grad, (logits.sigmoid() - y).detach())


@pytest.mark.parametrize("classifies", [True, False])
def test_auxiliary_classifier_without_labels_says_how_to_get_them(classifies: bool) -> None:
    penalty, blind = penalties.auxiliary_classifier(), said(classifiers()[0] if classifies else None, None)
    with pytest.raises(ConfigError, match=r"needs labels: train with data\.labels=true"):
        penalty.d(blind, blind, unasked)
    with pytest.raises(ConfigError, match=r"needs labels: train with data\.labels=true"):
        penalty.g(blind, no_reals)


def test_auxiliary_classifier_without_a_classifier_says_how_to_get_one() -> None:
    penalty, silent = penalties.auxiliary_classifier(), said(None, labels(1))
    with pytest.raises(ConfigError, match=r"D has no classifier: set net\.d\.labels=classifier"):
        penalty.d(silent, silent, unasked)
    with pytest.raises(ConfigError, match=r"D has no classifier: set net\.d\.labels=classifier"):
        penalty.g(silent, no_reals)


def test_feature_matching_without_features_says_so_before_real_images_are_fetched() -> None:
    with pytest.raises(ConfigError, match=r"this D gives no features.*Leave the penalty out, or choose a network"):
        penalties.feature_matching().g(said(None, None), no_reals)


# Of every penalty.


def test_path_length_of_a_linear_g_is_that_of_its_matrix() -> None:
    """||M' n|| with n / sqrt(pixels), the root mean square over the layers, held to the mean so far."""
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


def parts(penalty: Penalty, D: Whole) -> list[tuple[Tensor, Tensor]]:
    """Each part's values, and something that they must teach: D's first weights, or G's images."""
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
def test_a_penalty_has_at_most_a_value_a_sample_and_a_gradient_for_whom_it_teaches(name: str) -> None:
    found = parts(objectives.penalty(name), Whole().double())
    assert found
    for value, taught in found:
        assert value.ndim == 1
        assert 1 <= len(value) <= N
        assert (value >= 0).all()
        (gradient,) = torch.autograd.grad(value.mean(), taught, retain_graph=True)
        assert gradient.isfinite().all()
        assert gradient.abs().sum() > 0


@pytest.mark.parametrize("name", penalties.__all__)
def test_a_penalty_says_whether_it_differentiates_d_by_its_images(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    calls, grad = [], torch.autograd.grad

    def counted(*arguments: object, **options: object) -> tuple[Tensor, ...]:
        calls.append(1)
        return grad(*arguments, **options)

    monkeypatch.setattr(torch.autograd, "grad", counted)
    penalty = objectives.penalty(name)
    parts(penalty, Whole().double())
    assert (penalty.differentiates or penalty.path is not None) == bool(calls)


def test_an_unknown_penalty_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"unknown penalty 'r11'\. Did you mean 'r1'\?"):
        objectives.penalty("r11")
