"""The step: its units, its keys, its gradients."""

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from conftest import tiny_config
from ganloom.core.distributed import World
from ganloom.data.packed import PackedDataset
from ganloom.objectives import RelativisticLoss
from ganloom.training.assembly import assemble, resolve
from ganloom.training.fakes import ReusableFakes
from ganloom.training.step import AdversarialStep
from stepping import OFF, make, same, tiny, values, weights


def test_two_trainings_are_bit_identical(digits: PackedDataset) -> None:
    first, second = tiny(digits), tiny(digits)
    for _ in range(4):
        torch.randn(3)  # draws outside a step change nothing in it
        assert {k: v.item() for k, v in first.advance(measure=True).items()} == {
            k: v.item() for k, v in second.advance(measure=True).items()
        }
    assert same(weights(first), weights(second))
    other = tiny(digits, seed=1)
    other.advance(measure=False)
    assert not same(weights(other), weights(tiny(digits)))


class Never(ReusableFakes):
    """Reuses nothing, so that G makes its images itself."""

    possible = False  # type: ignore[assignment]


@pytest.mark.parametrize("d_updates", [1, 3])
def test_reused_images_are_those_that_g_would_make_again(
    digits: PackedDataset, d_updates: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    keeping, making = (tiny(digits, train__d_updates=d_updates) for _ in range(2))
    assert keeping.fakes.possible
    monkeypatch.setattr(making, "fakes", Never(making.g, making.d, making.world))
    for _ in range(3):
        ours, theirs = keeping.advance(measure=True), making.advance(measure=True)
        assert {name: value.item() for name, value in ours.items()} == {k: v.item() for k, v in theirs.items()}
    assert same(weights(keeping), weights(making))


def test_nothing_is_reused_where_that_would_need_more_memory(digits: PackedDataset) -> None:
    assert not tiny(digits, train__micro_batch=16).fakes.possible
    assert not tiny(digits, train__batch_g=16).fakes.possible


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"augment": "diffaugment"},
        {"net": "resnet", "net__g__spectral": True, "train__batch": 8},
        {"net": "progressive", "growth": {"hold": "8 images", "fade": "50 images"}, "train__batch": 8},
    ],
    ids=["plain", "augmented", "spectral", "growing"],
)
def test_measuring_changes_nothing(digits: PackedDataset, settings: dict[str, Any]) -> None:
    measured, plain = tiny(digits, **settings), tiny(digits, **settings)
    for _ in range(3):
        assert "d_fake_after" in measured.advance(measure=True)
        assert "d_fake_after" not in plain.advance(measure=False)
    assert same(weights(measured), weights(plain))
    assert same(list(measured.d.net.buffers()), list(plain.d.net.buffers()))


@pytest.mark.parametrize("settings", [{}, {"augment": "diffaugment"}], ids=["plain", "augmented"])
def test_what_d_says_before_and_after_gs_update_is_of_the_same_draws(
    digits: PackedDataset, settings: dict[str, Any]
) -> None:
    """D judges a G that does not change the same, as the augmentation draws the same."""
    step = tiny(digits, **settings, optimizer__g__lr=1e-30)
    stats = step.advance(measure=True)
    assert stats["d_fake_after"] == stats["d_fake_before"]


def test_gs_step_does_not_train_d(digits: PackedDataset) -> None:
    step = tiny(digits)
    before = values(step.d.net)
    step.generator_step()
    assert same(before, values(step.d.net))
    assert all(weight.grad is None and weight.requires_grad for weight in step.d.net.parameters())


def test_ds_step_does_not_train_g(digits: PackedDataset) -> None:
    step = tiny(digits)
    before = values(step.g.net)
    step.discriminator_step()
    assert same(before, values(step.g.net))
    assert all(weight.grad is None for weight in step.g.net.parameters())


def test_the_clock_counts_images_shown_to_d(digits: PackedDataset) -> None:
    step = tiny(digits, train__batch=24, train__batch_g=8, train__micro_batch=8, train__d_updates=3)
    step.advance(measure=False)
    assert step.nimg == step.images_per_step == 72


def test_accumulated_gradients_are_those_of_the_whole_batch(digits: PackedDataset) -> None:
    """Without batch statistics (mlp's D has none), four micro-batches of real images are one batch of them."""
    torch.set_default_dtype(torch.float64)
    try:
        norms = {}
        for micro in (32, 8):
            step = tiny(digits, net="mlp", train__micro_batch=micro, penalties=OFF)
            for micro_batch in step.micro_batches(step.d, step.nimg):
                judged = step.judge(step.reals(micro_batch), micro_batch.y)
                step.backward(step.loss.d(judged.logits, judged.logits).mean(), step.d)
            norms[micro] = [weight.grad for weight in step.d.net.parameters() if weight.grad is not None]
        for whole, accumulated in zip(norms[32], norms[8], strict=True):
            torch.testing.assert_close(whole, accumulated, rtol=1e-12, atol=1e-14)
    finally:
        torch.set_default_dtype(torch.float32)


def test_statistics_are_those_of_the_paper(digits: PackedDataset) -> None:
    """Loss_D, D(x) and D(G(z)) recomputed by hand from the same keys."""
    config = tiny_config(penalties=OFF)
    step = make(config, digits)
    fresh = copy.deepcopy((step.g.net, step.d.net))
    micro = next(step.micro_batches(step.d, step.nimg))
    stats = step.discriminator_step()
    G, D = fresh
    with torch.no_grad():
        fake = D(G(micro.z, micro.y), micro.y).logits
        real = D(make(config, digits).reals(micro), micro.y).logits
    bce = torch.nn.functional.binary_cross_entropy_with_logits
    expected = bce(real, torch.ones_like(real)) + bce(fake, torch.zeros_like(fake))
    torch.testing.assert_close(stats["loss_d"], expected)
    torch.testing.assert_close(stats["d_real"], real.sigmoid().mean())


# Losses that compare with real images


@pytest.mark.parametrize("loss", ["relativistic", "relativistic_average"])
def test_a_relativistic_loss_compares_with_the_real_images_of_its_micro_batch_in_gs_step(
    digits: PackedDataset, loss: str
) -> None:
    step = tiny(digits, loss=loss, penalties=OFF, train__batch=16, train__micro_batch=8)
    step.discriminator_step()
    expected = []
    with torch.no_grad():
        for micro in step.micro_batches(step.g, 0):
            real = step.d.net(step.reals(micro), micro.y).logits
            expected.append((real, step.d.net(step.g.net(micro.z, micro.y), micro.y).logits))
    given: list[tuple[Tensor, Tensor]] = []
    ordinary = step.loss
    assert isinstance(ordinary, RelativisticLoss)

    def g(real: Tensor, fake: Tensor) -> Tensor:
        given.append((real, fake))
        return ordinary.g(real, fake)

    step.loss = RelativisticLoss(ordinary.d, g)
    stats = step.generator_step()
    assert len(given) == len(expected) == 2
    for ours, theirs in zip(given, expected, strict=True):
        torch.testing.assert_close(ours, theirs)
    assert not torch.equal(given[0][0], given[1][0])
    torch.testing.assert_close(stats["loss_g"], torch.stack([ordinary.g(*pair).mean() for pair in expected]).mean())


def asked_of_d(step: AdversarialStep) -> list[Tensor]:
    """Records all images that D sees from now on."""
    seen: list[Tensor] = []
    step.d.net.register_forward_pre_hook(lambda module, given: seen.append(given[0]))
    return seen


@pytest.mark.parametrize(
    ("settings", "times"),
    [
        ({"loss": "bce"}, 1),
        ({"loss": "relativistic"}, 2),
        ({"loss": "bce", "penalties__feature_matching": {"weight": 1}}, 2),
        ({"loss": "relativistic", "penalties__feature_matching": {"weight": 1}}, 2),
    ],
    ids=["neither", "loss", "penalty", "both"],
)
def test_real_images_are_judged_once_in_gs_step_and_only_if_needed(
    digits: PackedDataset, settings: dict[str, Any], times: int
) -> None:
    step = tiny(digits, **settings)
    step.discriminator_step()
    seen = asked_of_d(step)
    step.generator_step()
    assert len(seen) == times
    reals = step.reals(next(step.micro_batches(step.g, 0)))
    assert sum(torch.equal(images, reals) for images in seen) == times - 1


# Augmentation


class Marked(nn.Module):
    """Half as bright; remembers what came in."""

    def __init__(self) -> None:
        super().__init__()
        self.given: list[Tensor] = []

    def forward(self, images: Tensor) -> Tensor:
        self.given.append(images)
        return images / 2


@pytest.mark.parametrize(
    ("penalties", "more"), [(OFF, 0), ({"r1": {"weight": 1}}, 0), ({**OFF, "wgan_gp": {"weight": 10}}, 1)], ids=str
)
def test_all_that_d_sees_is_augmented(digits: PackedDataset, penalties: dict[str, Any], more: int) -> None:
    """Reals, fakes and interpolates in D's step; fakes, and with this loss reals, in G's."""
    step = tiny(digits, penalties=penalties, loss="relativistic")
    marked = step.augment = Marked()
    seen = asked_of_d(step)
    micro = next(step.micro_batches(step.d, 0))
    with torch.no_grad():
        real, fake = step.reals(micro), step.g.net(micro.z, micro.y)
    step.discriminator_step()
    for found, expected in zip(marked.given[:2], (real, fake), strict=True):
        torch.testing.assert_close(found.detach(), expected)
    assert len(marked.given) == 2 + more
    step.generator_step()
    torch.testing.assert_close(marked.given[-2].detach(), fake)
    torch.testing.assert_close(marked.given[-1], real)
    assert len(marked.given) == 4 + more
    assert same([images / 2 for images in marked.given], seen)


class Hiding(nn.Module):
    def forward(self, images: Tensor) -> Tensor:
        return 0 * images


def test_g_learns_through_the_augmentation(digits: PackedDataset) -> None:
    """An augmentation that hides everything leaves nothing to learn."""
    step = tiny(digits)
    step.augment = Hiding()
    before = values(step.g.net)
    step.advance(measure=False)
    assert same(before, values(step.g.net))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:The .grad attribute")  # torch.compile looks at it while it traces
def test_compiled_networks_train_the_same_network(digits: PackedDataset) -> None:
    """With a lazy penalty, which needs a second derivative that compiled networks do not have."""
    compiled, eager = tiny(digits, train__compile=True), tiny(digits)
    for _ in range(5):
        ours, theirs = compiled.advance(measure=False), eager.advance(measure=False)
    for name in theirs:
        torch.testing.assert_close(ours[name], theirs[name], rtol=1e-2, atol=1e-3)


def test_bf16_trains(digits: PackedDataset) -> None:
    step = tiny(digits, train__precision="bf16")
    for _ in range(3):
        stats = step.advance(measure=True)
    assert all(value.isfinite() for value in stats.values())
    assert all(weight.dtype == torch.float32 and weight.isfinite().all() for weight in weights(step))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_trains_the_same_network(digits: PackedDataset) -> None:
    config = tiny_config(train__precision="fp32")
    gpu = assemble(resolve(config, digits.shape, 1), digits, torch.device("cuda"), World(), total=1000)
    cpu = make(config, digits)
    ours, theirs = gpu.advance(measure=False), cpu.advance(measure=False)
    for name in theirs:
        torch.testing.assert_close(ours[name].cpu(), theirs[name], rtol=1e-2, atol=1e-3)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_step_on_a_gpu_does_not_synchronise(digits: PackedDataset) -> None:
    config = tiny_config(train__precision="fp32", data__mirror=True)
    step = assemble(resolve(config, digits.shape, 1), digits, torch.device("cuda"), World(), total=1000)
    assert step.stream.resident is not None
    for _ in range(3):
        step.advance(measure=False)  # the first steps may wait for what they set up
    torch.cuda.set_sync_debug_mode("error")
    try:
        step.advance(measure=False)
    finally:
        torch.cuda.set_sync_debug_mode("default")


def test_an_augmentation_is_in_full_precision_where_d_is_not(digits: PackedDataset) -> None:
    """In bf16, sampling coordinates of generated images would be wrong from about 128 pixels on."""
    step = tiny(digits, train__precision="bf16", augment={"name": "ada", "p": 0, "target": None})
    seen: list[Tensor] = []
    step.augment.register_forward_hook(lambda module, given, result: seen.append(result.detach()))
    step.judge(torch.randn(2, 1, 32, 32).bfloat16(), torch.tensor([0, 1]))
    assert seen[0].dtype == torch.float32
    large = torch.randn(2, 1, 256, 256)
    torch.testing.assert_close(step.augment(large), large, atol=1e-3, rtol=0)


def test_betas_and_rates_move_in_a_burn_in(digits: PackedDataset) -> None:
    burn_in = {"share": 0.5, "lr": 4, "beta2": 0.9, "penalties": 10}
    step = tiny(digits, burn_in=burn_in, optimizer__g__name="rmsprop")
    at = [
        step.penalties.due(step.penalties.d, nimg, step.d.batch)["r1"] for nimg in (0, 16 * step.d.batch)
    ]  # at the beginning, and after the end
    assert at[0] == pytest.approx(10 * at[1])
    step.advance(measure=False)
    own = step.config.optimizer
    assert step.d.optimizer.param_groups[0]["lr"] == pytest.approx(4 * own.d.lr)
    assert step.d.optimizer.param_groups[0]["betas"] == (own.d.beta1, pytest.approx(0.9))
    assert step.g.optimizer.param_groups[0]["alpha"] == pytest.approx(0.9)
