"""The step: its units, its keys, its gradients."""

import copy

import pytest
import torch

from conftest import tiny_config
from ganloom.config import Config
from ganloom.core.distributed import World
from ganloom.data.packed import PackedDataset
from ganloom.training.session import assemble, resolve
from ganloom.training.step import AdversarialStep

CPU = torch.device("cpu")


def make(config: Config, dataset: PackedDataset) -> AdversarialStep:
    return assemble(resolve(config, 1), dataset, CPU, World(), total=1000)


def weights(step: AdversarialStep) -> list[torch.Tensor]:
    return [weight.detach().clone() for net in (step.g.net, step.d.net, step.ema.G) for weight in net.parameters()]


def same(one: list[torch.Tensor], other: list[torch.Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def test_two_trainings_are_the_same_to_the_bit(digits: PackedDataset) -> None:
    first, second = make(tiny_config(), digits), make(tiny_config(), digits)
    for _ in range(4):
        torch.randn(3)  # draws outside a step change nothing in it
        assert {k: v.item() for k, v in first.advance(measure=True).items()} == {
            k: v.item() for k, v in second.advance(measure=True).items()
        }
    assert same(weights(first), weights(second))
    other = make(tiny_config(seed=1), digits)
    other.advance(measure=False)
    assert not same(weights(other), weights(make(tiny_config(), digits)))


@pytest.mark.parametrize("d_updates", [1, 3])
def test_kept_images_are_those_that_would_be_made_again(digits: PackedDataset, d_updates: int) -> None:
    keeping, making = (make(tiny_config(train__d_updates=d_updates), digits) for _ in range(2))
    assert keeping.keeps_fakes
    making.keeps_fakes = False
    for _ in range(3):
        ours, theirs = keeping.advance(measure=True), making.advance(measure=True)
        assert {name: value.item() for name, value in ours.items()} == {k: v.item() for k, v in theirs.items()}
    assert same(weights(keeping), weights(making))


def test_nothing_is_kept_where_it_would_take_more_memory(digits: PackedDataset) -> None:
    assert not make(tiny_config(train__micro_batch=16), digits).keeps_fakes
    assert not make(tiny_config(train__batch_g=16), digits).keeps_fakes


def test_measuring_changes_nothing(digits: PackedDataset) -> None:
    measured, plain = make(tiny_config(), digits), make(tiny_config(), digits)
    for _ in range(3):
        assert "d_fake_after" in measured.advance(measure=True)
        assert "d_fake_after" not in plain.advance(measure=False)
    assert same(weights(measured), weights(plain))


def test_d_is_not_taught_by_gs_step(digits: PackedDataset) -> None:
    step = make(tiny_config(), digits)
    before = [weight.detach().clone() for weight in step.d.net.parameters()]
    step.generator_step()
    assert same(before, [weight.detach() for weight in step.d.net.parameters()])
    assert all(weight.grad is None and weight.requires_grad for weight in step.d.net.parameters())


def test_g_is_not_taught_by_ds_step(digits: PackedDataset) -> None:
    step = make(tiny_config(), digits)
    before = [weight.detach().clone() for weight in step.g.net.parameters()]
    step.discriminator_step()
    assert same(before, [weight.detach() for weight in step.g.net.parameters()])
    assert all(weight.grad is None for weight in step.g.net.parameters())


def test_the_clock_counts_images_shown_to_d(digits: PackedDataset) -> None:
    step = make(tiny_config(train__batch=24, train__batch_g=8, train__micro_batch=8, train__d_updates=3), digits)
    step.advance(measure=False)
    assert step.nimg == step.images_per_step == 72


def test_accumulated_gradients_are_those_of_the_whole_batch(digits: PackedDataset) -> None:
    """Without batch statistics (mlp's D has none), four micro-batches of real images are one batch of them."""
    torch.set_default_dtype(torch.float64)
    try:
        norms = {}
        for micro in (32, 8):
            step = make(tiny_config(net="mlp", train__micro_batch=micro, penalties={}), digits)
            for micro_batch in step.micro_batches(step.d, step.nimg):
                judged = step.judge(step.reals(micro_batch), micro_batch.y)
                step.backward(step.loss.d(judged.logits, judged.logits).mean(), step.d)
            norms[micro] = [weight.grad for weight in step.d.net.parameters() if weight.grad is not None]
        for whole, accumulated in zip(norms[32], norms[8], strict=True):
            torch.testing.assert_close(whole, accumulated, rtol=1e-12, atol=1e-14)
    finally:
        torch.set_default_dtype(torch.float32)


def test_a_lazy_penalty_is_due_at_its_interval_and_counts_that_often(digits: PackedDataset) -> None:
    step = make(tiny_config(penalties__r1={"weight": 2.0, "interval": 3}), digits)
    due = []
    for _ in range(7):
        due.append(step.due_penalties())
        step.advance(measure=False)
    assert [bool(each) for each in due] == [True, False, False, True, False, False, True]
    assert due[0] == {"r1": 6.0}


def test_a_penalty_reaches_the_update(digits: PackedDataset) -> None:
    with_r1, without = (
        make(tiny_config(penalties__r1={"weight": 5.0}), digits),
        make(tiny_config(penalties__r1={"weight": 0.0}), digits),
    )
    stats = with_r1.advance(measure=False)
    without.advance(measure=False)
    assert stats["penalty_r1"] > 0
    assert not same(weights(with_r1), weights(without))


def test_clipping_bounds_the_gradient(digits: PackedDataset, monkeypatch: pytest.MonkeyPatch) -> None:
    step = make(tiny_config(optimizer__d__clip=1e-3), digits)
    seen: list[float] = []

    def spy() -> None:
        grads = [weight.grad for weight in step.d.net.parameters() if weight.grad is not None]
        seen.append(float(torch.stack([grad.norm() for grad in grads]).norm()))

    monkeypatch.setattr(step.d.optimizer, "step", spy)
    step.discriminator_step()
    assert seen[0] == pytest.approx(1e-3, rel=1e-3)


def test_statistics_are_those_of_the_paper(digits: PackedDataset) -> None:
    """Loss_D, D(x) and D(G(z)) recomputed by hand from the same keys."""
    config = tiny_config(penalties={})
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


@pytest.mark.parametrize("optimizer", ["adam", "adamw"])
def test_optimizers_match_their_textbook(digits: PackedDataset, optimizer: str) -> None:
    """Fused kernels against the plain ones."""
    step = make(tiny_config(optimizer__d={"name": optimizer, "weight_decay": 0.1}), digits)
    kind = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[optimizer]
    plain = copy.deepcopy(step.d.net)
    reference = kind(plain.parameters(), lr=2e-4, betas=(0.5, 0.999), weight_decay=0.1, foreach=False)
    for _ in range(3):
        for weight, other in zip(step.d.net.parameters(), plain.parameters(), strict=True):
            weight.grad = torch.sin(weight.detach() * 100)
            other.grad = weight.grad.clone()
        step.d.update(World(), {"loss_d": torch.zeros(())}, "loss_d", 0, 32)
        reference.step()
    for weight, other in zip(step.d.net.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(weight, other)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:The .grad attribute")  # torch.compile looks at it while it traces
def test_compiled_networks_train_the_same_network(digits: PackedDataset) -> None:
    """With a lazy penalty, whose second derivative a compiled network does not have."""
    compiled, eager = make(tiny_config(train__compile=True), digits), make(tiny_config(), digits)
    for _ in range(5):
        ours, theirs = compiled.advance(measure=False), eager.advance(measure=False)
    for name in theirs:
        torch.testing.assert_close(ours[name], theirs[name], rtol=1e-2, atol=1e-3)


def test_bf16_trains(digits: PackedDataset) -> None:
    step = make(tiny_config(train__precision="bf16"), digits)
    for _ in range(3):
        stats = step.advance(measure=True)
    assert all(value.isfinite() for value in stats.values())
    assert all(weight.dtype == torch.float32 and weight.isfinite().all() for weight in weights(step))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_trains_the_same_network(digits: PackedDataset) -> None:
    config = tiny_config(train__precision="fp32")
    gpu = assemble(resolve(config, 1), digits, torch.device("cuda"), World(), total=1000)
    cpu = make(config, digits)
    ours, theirs = gpu.advance(measure=False), cpu.advance(measure=False)
    for name in theirs:
        torch.testing.assert_close(ours[name].cpu(), theirs[name], rtol=1e-2, atol=1e-3)
