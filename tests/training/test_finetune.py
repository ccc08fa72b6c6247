"""Fine-tuning: how a pretrained model's weights are taken over by other networks."""

import shutil
from pathlib import Path

import pytest
import torch
from torch import Tensor

import ganloom
from comparison import state_of
from conftest import TINY, tiny_config
from ganloom.core.errors import ConfigError, ModelError, RunError
from ganloom.core.shapes import ImageShape
from ganloom.data.packed import PackedDataset
from ganloom.nets import build_discriminator, build_generator
from ganloom.planning.finetuning import fine_tuning
from ganloom.training.finetune import _Shapes, load_pretrained, open_pretrained, transfer
from stepping import make, values

NARROW = {"width": 8}
SAME = _Shapes([], [], (1, 1), 12, sums=False)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of conditional digits, 10 steps long."""
    out = tmp_path_factory.mktemp("trained") / "run"
    return ganloom.train(out=out, device="cpu", settings=settings(**{"train.length": "320 images"})).path


def settings(**more: object) -> dict[str, object]:
    penalty = {"weight": 0.1, "interval": 4}
    return {**TINY, "net.d": {"width": 8, "norm": "layer"}, "penalties.r1": penalty, **more}


# Neither scores nor guard: of these, the tests say nothing, and they take seconds.
PLAIN = {"train.length": "32 images", "sample.count": 4, "evaluate.every": "0 images", "guard.every": "0 images"}


def tuned(data: str, trained: Path, out: Path, **more: object) -> Path:
    given = {"start.model": str(trained), **PLAIN, **more}
    return ganloom.train(data, out=out, device="cpu", settings=given).path


def networks(shape: ImageShape, classes: int, family: str = "dcgan") -> tuple[torch.nn.Module, torch.nn.Module]:
    return build_generator(family, shape, 12, classes, NARROW), build_discriminator(family, shape, classes, NARROW)


def state(network: torch.nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in network.state_dict().items()}


@pytest.mark.slow
def test_intervals_that_a_run_timed_are_timed_again(trained: Path) -> None:
    _, values = fine_tuning(open_pretrained(trained), None)
    assert values["guard"]["every"] is None and values["evaluate"]["every"] is None


@pytest.mark.parametrize("optimizers", [False, True])
def test_a_run_gives_both_networks_the_average_and_optionally_the_optimizers(
    trained: Path, digits: PackedDataset, optimizers: bool
) -> None:
    step = make(tiny_config(start={"model": str(trained), "optimizers": optimizers}), digits)
    lines = load_pretrained(open_pretrained(trained), step)
    saved = state_of(trained)
    for place, network in (("G", step.g.net), ("D", step.d.net), ("ema", step.ema.G)):
        assert all(torch.equal(value, saved[f"{place}/{name}"]) for name, value in network.state_dict().items())
    for place, learner in (("optimizer_g", step.g), ("optimizer_d", step.d)):
        assert bool(learner.optimizer.state) == optimizers
        for name, weight in learner.net.named_parameters() if optimizers else ():
            assert torch.equal(learner.optimizer.state[weight]["exp_avg"], saved[f"{place}/{name}/exp_avg"])
    assert any(line.startswith("G ") and " 0 new" in line for line in lines)
    assert any(line.startswith("D ") and " 0 new" in line for line in lines)


def test_a_model_file_gives_g_and_its_average_and_d_is_new(trained: Path, digits: PackedDataset) -> None:
    model = trained / "model.safetensors"
    step = make(tiny_config(start={"model": str(model)}), digits)
    fresh = values(step.d.net)
    lines = load_pretrained(open_pretrained(model), step)
    saved = state_of(trained)
    for network in (step.g.net, step.ema.G):
        assert all(torch.equal(value, saved[f"ema/{name}"]) for name, value in network.named_parameters())
    assert all(torch.equal(a, b) for a, b in zip(fresh, step.d.net.parameters(), strict=True))
    assert "D         is new" in lines[-1]


def test_rows_of_classes_are_matched_by_name_and_new_ones_get_the_mean() -> None:
    old, new = ["cat", "dog", "owl"], ["owl", "yak", "cat"]
    before, after = (networks(ImageShape(3, 32, 32), 3)[1] for _ in range(2))
    result = transfer(after, state(before), _Shapes(old, new, (3, 3), 12, sums=True))
    rows, was = after.labels.embed.weight, before.labels.embed.weight
    torch.testing.assert_close(rows, torch.stack([was[2], was.mean(0), was[0]]))
    assert set(result.adapted) == {"labels.embed.weight"} and not result.fresh
    assert result.weights == result.total


def test_other_counts_of_classes_reach_g_too() -> None:
    before, after = networks(ImageShape(3, 32, 32), 3)[0], networks(ImageShape(3, 32, 32), 2)[0]
    transfer(after, state(before), _Shapes(["a", "b", "c"], ["c", "d"], (3, 3), 12, sums=False))
    for new, old in zip([after.first, *after.ups], [before.first, *before.ups], strict=True):
        assert torch.equal(new.of_class.weight[0], old.of_class.weight[2])


@pytest.mark.parametrize("family", ["dcgan", "stylegan2", "r3gan"])
@pytest.mark.parametrize(("channels", "now"), [(1, 3), (3, 1)])
def test_d_sees_in_a_grey_image_what_it_saw_before(channels: int, now: int, family: str) -> None:
    """Grey given as three equal channels, or one channel of what were three."""
    before, after = (networks(ImageShape(each, 32, 32), 0, family)[1] for each in (channels, now))
    result = transfer(after, state(before), _Shapes([], [], (channels, now), 12, sums=True))
    grey = torch.randn(4, 1, 32, 32)
    expected = before(grey.expand(-1, channels, -1, -1), None).logits
    torch.testing.assert_close(after(grey.expand(-1, now, -1, -1), None).logits, expected, rtol=1e-4, atol=1e-5)
    first = {"dcgan": "first.conv.weight"}.get(family, "from_image.weight")
    assert list(result.adapted) == [first]


def test_g_of_grey_images_makes_the_same_in_three_channels() -> None:
    before, after = (networks(ImageShape(each, 32, 32), 0)[0] for each in (1, 3))
    transfer(after, state(before), _Shapes([], [], (1, 3), 12, sums=False))
    z = torch.randn(4, 12)
    torch.testing.assert_close(after(z, None), before(z, None).expand(-1, 3, -1, -1))


def test_alpha_keeps_the_colours() -> None:
    before, after = (networks(ImageShape(each, 32, 32), 0)[0] for each in (3, 4))
    transfer(after, state(before), _Shapes([], [], (3, 4), 12, sums=False))
    z = torch.randn(4, 12)
    torch.testing.assert_close(after(z, None)[:, :3], before(z, None))


def test_alpha_stays_as_initialised_where_there_was_none() -> None:
    before, after = (networks(ImageShape(each, 32, 32), 0)[1] for each in (1, 4))
    fresh = after.first.conv.weight.detach().clone()
    transfer(after, state(before), _Shapes([], [], (1, 4), 12, sums=True))
    assert torch.equal(after.first.conv.weight[:, 3], fresh[:, 3])
    torch.testing.assert_close(after.first.conv.weight[:, :3].sum(1), before.first.conv.weight[:, 0])


def test_a_new_channel_is_made_where_the_trained_weights_lie() -> None:
    """They come from a file, and so from the CPU, whatever the device of the network."""
    made, _ = _Shapes([], [], (3, 4), 12, sums=True).adapted(torch.ones(8, 3, 4, 4), torch.ones(8, 4, 4, 4).double())
    assert made.dtype == torch.float32 and made.shape == (8, 4, 4, 4)


INPUTS = {"r3gan": "first.dense.weight", "stylegan2": "mapping.layers.0.weight"}


@pytest.mark.parametrize("family", INPUTS)
@pytest.mark.parametrize(("before", "now"), [(0, 3), (3, 0)])
def test_the_inputs_of_z_stay_where_labels_come_or_go(before: int, now: int, family: str) -> None:
    old, new = (networks(ImageShape(1, 32, 32), classes, family)[0] for classes in (before, now))
    result = transfer(new, state(old), SAME)
    acting = []
    for network in (old, new):
        layer = network.get_submodule(INPUTS[family].removesuffix(".weight"))
        acting.append(layer.weight.t()[:12] * getattr(layer, "scale", 1.0))
    torch.testing.assert_close(*acting)
    assert result.adapted == {INPUTS[family]: "the inputs of z"}


@pytest.mark.parametrize(("before", "now"), [(0, 3), (3, 0)])
def test_all_but_the_gains_of_classes_stays_where_labels_come_or_go(before: int, now: int) -> None:
    old, new = (networks(ImageShape(1, 32, 32), classes)[0] for classes in (before, now))
    result = transfer(new, state(old), SAME)
    assert not result.adapted and all("of_class" in name for name in result.fresh) and bool(result.fresh) == bool(now)
    kept = state(new)
    assert all(torch.equal(kept[name], value) for name, value in state(old).items() if "of_class" not in name)


@pytest.mark.slow
def test_another_batch_has_other_micro_batches(trained: Path, tmp_path: Path) -> None:
    for batch in (16, 64):
        run = ganloom.train(
            "digits", out=tmp_path / str(batch), device="cpu",
            settings={**PLAIN, "start.model": str(trained), "train.batch": batch},
        )  # fmt: skip
        train = run.config.train
        assert (train.batch, train.batch_g, train.micro_batch, train.micro_batch_g) == (batch,) * 4


def test_a_network_that_is_still_growing_is_refused(tmp_path: Path) -> None:
    growing = ganloom.train(
        out=tmp_path / "growing", device="cpu",
        settings={
            **settings(), "net": "progressive", "net.d": {"width": 8}, "train.length": "96 images",
            "growth": {"hold": "64 images", "fade": "64 images"},
        },
    )  # fmt: skip
    for model in (growing.path, growing.folder.model):
        with pytest.raises(ConfigError, match=r"still growing, at level .* of 3"):
            tuned("digits", model, tmp_path / "run")


def test_a_pinned_hash_is_kept(trained: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="has changed since this training started from it"):
        tuned("digits", trained, tmp_path / "run", **{"start.sha256": "0" * 64})


@pytest.mark.slow
def test_a_recipe_trains_the_pretrained_network(trained: Path, tmp_path: Path) -> None:
    run = ganloom.train(
        "digits", recipe="sngan-32", out=tmp_path / "run", device="cpu",
        settings={**PLAIN, "start.model": str(trained), "train.length": "64 images"},
    )  # fmt: skip
    assert (run.config.loss.name, run.config.net.name, run.config.net.d["norm"]) == ("hinge", "dcgan", "layer")


def test_a_tuned_model_file_can_be_tuned_again(trained: Path, tmp_path: Path) -> None:
    first = tuned("digits", trained, tmp_path / "first")
    again = tuned("digits", first / "model.safetensors", tmp_path / "again", **{"net.d": {"width": 8, "norm": "none"}})
    assert state_of(again)


def test_kernels_of_the_whole_map_are_resampled_and_ds_keep_their_sum() -> None:
    before, after = (networks(ImageShape(1, side, side), 0) for side in (32, 40))
    for old, new, adds_up in ((before[0], after[0], False), (before[1], after[1], True)):
        result = transfer(new, state(old), _Shapes([], [], (1, 1), 12, sums=adds_up))
        assert len(result.adapted) == 1 and not result.fresh
    flat = torch.ones(1, 32, 4, 4)
    resized, _ = _Shapes([], [], (1, 1), 12, sums=True).adapted(flat, torch.empty(1, 32, 5, 5))
    assert resized.sum() == pytest.approx(flat.sum().item())
    plain, _ = SAME.adapted(flat, torch.empty(1, 32, 5, 5))
    torch.testing.assert_close(plain, torch.ones(1, 32, 5, 5))


def test_what_does_not_fit_stays_as_initialised_and_the_reason_is_given() -> None:
    before, after = (networks(ImageShape(1, side, side), 0)[0] for side in (32, 64))
    fresh = state(after)
    result = transfer(after, state(before), SAME)
    assert torch.equal(after.first.conv.weight, fresh["first.conv.weight"])
    assert result.fresh["first.conv.weight"] == "it was [12, 32, 4, 4] and is [12, 64, 4, 4]"
    assert result.fresh["ups.2.conv.weight"] == "the pretrained model has none"
    assert 0 < result.weights < result.total


def test_a_larger_progressive_network_takes_all_of_a_smaller_one() -> None:
    before, after = (networks(ImageShape(1, side, side), 0, "progressive")[0] for side in (16, 32))
    result = transfer(after, state(before), SAME)
    assert set(result.fresh) == {name for name in result.fresh if name.startswith(("ups.2", "to_image.3"))}
    after.level.fill_(2.0)  # where the smaller one ends
    z = torch.randn(4, 12)
    torch.testing.assert_close(after(z, None), before(z, None).repeat_interleave(2, 2).repeat_interleave(2, 3))


def test_spectral_norms_follow_weights_that_were_taken_over() -> None:
    options = {"width": 8, "norm": "spectral"}
    before, after = (build_discriminator("dcgan", ImageShape(1, 32, 32), classes, options) for classes in (3, 2))
    transfer(after, state(before), _Shapes(["a", "b", "c"], ["b", "d"], (1, 1), 12, sums=True))
    for module in (after.head, after.labels.embed):
        assert torch.linalg.matrix_norm(module.weight.detach().flatten(1), 2) == pytest.approx(1, abs=1e-3)


@pytest.mark.slow
def test_the_training_takes_over_size_channels_labels_network_and_method(trained: Path, tmp_path: Path) -> None:
    run = ganloom.train(
        "shapes:16", out=tmp_path / "run", device="cpu",
        settings={**PLAIN, "start.model": str(trained)},
    )  # fmt: skip
    config = run.config
    assert (config.data.size, config.data.channels, config.data.labels) == ((32, 32), 1, True)
    assert (config.net.name, config.net.g, config.net.d["norm"]) == ("dcgan", NARROW, "layer")
    assert config.penalties.keys() == {"r1"}
    assert config.start and config.start.sha256 and Path(config.start.model) == trained


def test_frozen_stages_stay_as_they_were_and_the_others_learn(trained: Path, tmp_path: Path) -> None:
    run = tuned("digits", trained, tmp_path / "run", **{"start.freeze_d": 2, "start.freeze_g": 1})
    before, after = state_of(trained), state_of(run)
    frozen = ("G/first.", "D/first.", "D/downs.0.")
    for name in (name for name in before if name.startswith(("G/", "D/"))):
        if name.startswith(frozen):
            assert torch.equal(before[name], after[name]), name
    assert not torch.equal(before["D/downs.1.conv.weight"], after["D/downs.1.conv.weight"])
    assert not torch.equal(before["G/ups.0.conv.weight"], after["G/ups.0.conv.weight"])
    assert not any(name.startswith("optimizer_d/first.") for name in after)


def test_a_fine_tuning_killed_before_its_first_checkpoint_starts_the_same(trained: Path, tmp_path: Path) -> None:
    run = tuned("digits", trained, tmp_path / "run")
    whole = state_of(run)
    for path in (run / "checkpoints").iterdir():
        path.unlink()
    for name in ("model.safetensors", "log.jsonl", "status.json"):
        (run / name).unlink()
    shutil.rmtree(run / "samples")
    ganloom.resume(run, device="cpu")
    assert all(torch.equal(whole[name], value) for name, value in state_of(run).items())


@pytest.mark.slow
def test_the_pretrained_model_may_be_removed_afterwards(trained: Path, tmp_path: Path) -> None:
    """As after a kill before the first interval, or when the guard rolls back to the beginning."""
    model = tmp_path / "model.safetensors"
    shutil.copyfile(trained / "model.safetensors", model)
    run = tuned("digits", model, tmp_path / "run", **{"train.length": "96 images"})
    whole = state_of(run)
    assert [path.stem for path in sorted((run / "checkpoints").glob("*.json"))] == ["000000000000", "000000000096"]
    for path in (run / "checkpoints").glob("*96.*"):
        path.unlink()
    model.unlink()
    ganloom.resume(run, device="cpu")
    assert all(torch.equal(whole[name], value) for name, value in state_of(run).items())


def test_a_model_that_has_changed_since_is_refused(trained: Path, digits: PackedDataset) -> None:
    step = make(tiny_config(start={"model": str(trained), "sha256": "0" * 64}), digits)
    with pytest.raises(ConfigError, match="has changed since this training started from it"):
        load_pretrained(open_pretrained(trained), step)


def test_another_network_is_refused_with_the_remedy(trained: Path, tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match="is a dcgan, but this training is configured for mlp: leave out `recipe` and net"
    ):
        tuned("digits", trained, tmp_path / "run", **{"net.name": "mlp"})
    assert not (tmp_path / "run").exists()


def test_a_recipe_without_a_network_is_refused_with_the_remedy(trained: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("data: null\n")
    with pytest.raises(ConfigError, match="has no network: begin it with a base, such as 'base: dcgan-32'"):
        fine_tuning(open_pretrained(trained), str(tmp_path / "mine.yaml"))


def test_a_model_that_hardly_fits_is_refused_with_reasons(trained: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"does not fit: only \d% of G's weights.*it was .* Use the same net, width"):
        tuned("digits", trained, tmp_path / "run", **{"net.g.width": 16})


@pytest.mark.parametrize(
    ("model", "error", "message"),
    [("nothing", ModelError, "there is no model file"), (".", ModelError, "is not a run folder")],
)
def test_a_path_without_a_model_is_refused(tmp_path: Path, model: str, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        open_pretrained(tmp_path / model)


def test_a_run_without_a_checkpoint_is_refused(trained: Path, tmp_path: Path) -> None:
    (tmp_path / "checkpoints").mkdir()
    for name in ("config.yaml", "run.json", "model.safetensors"):
        (tmp_path / name).write_bytes((trained / name).read_bytes())
    with pytest.raises(RunError, match="no whole checkpoint"):
        open_pretrained(tmp_path)


def test_images_have_to_be_named(trained: Path) -> None:
    with pytest.raises(ConfigError, match="name the images to fine-tune"):
        ganloom.train(settings={"start.model": str(trained)})


def test_a_model_file_of_an_unknown_recipe_asks_for_one(trained: Path, tmp_path: Path) -> None:
    from ganloom.models import modelfile

    G, header, *_ = modelfile.read(trained / "model.safetensors")
    other = header.model_copy(update={"training": {**header.training, "recipe": "mine.yaml"}})
    modelfile.write(tmp_path / "model.safetensors", G, other)
    with pytest.raises(ConfigError, match="name one with `recipe`, whose net is dcgan"):
        tuned("digits", tmp_path / "model.safetensors", tmp_path / "run")
