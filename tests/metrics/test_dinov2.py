"""DINOv2 against PyTorch's own transformer layers, from random weights with the names of the published files."""

from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ganloom.core.errors import ConfigError, ModelError
from ganloom.metrics import extractors
from ganloom.metrics.extractors.dinov2 import DinoV2, VisionTransformer

WIDTH = 128  # two heads


def transformer(width: int = WIDTH, depth: int = 2, grid: int = 4, gated: bool = False) -> dict[str, Tensor]:
    """Random values with the names of DINOv2's files."""
    random = torch.Generator().manual_seed(0)

    def values(*shape: int) -> Tensor:
        return torch.randn(shape, generator=random) * 0.1

    def linear(name: str, before: int, after: int) -> dict[str, Tensor]:
        return {f"{name}.weight": values(after, before), f"{name}.bias": values(after)}

    def norm(name: str) -> dict[str, Tensor]:
        return {f"{name}.weight": 1 + values(width), f"{name}.bias": values(width)}

    state = {
        "cls_token": values(1, 1, width),
        "pos_embed": values(1, grid**2 + 1, width),
        "mask_token": values(1, width),
        "patch_embed.proj.weight": values(width, 3, 14, 14),
        "patch_embed.proj.bias": values(width),
    }
    for block in (f"blocks.{index}" for index in range(depth)):
        state |= norm(f"{block}.norm1") | norm(f"{block}.norm2")
        state |= {f"{block}.ls1.gamma": 1 + values(width), f"{block}.ls2.gamma": 1 + values(width)}
        state |= linear(f"{block}.attn.qkv", width, 3 * width) | linear(f"{block}.attn.proj", width, width)
        if gated:
            state |= linear(f"{block}.mlp.w12", width, 4 * width) | linear(f"{block}.mlp.w3", 2 * width, width)
        else:
            state |= linear(f"{block}.mlp.fc1", width, 4 * width) | linear(f"{block}.mlp.fc2", 4 * width, width)
    return state | norm("norm")


def reference(
    state: dict[str, Tensor],
    tokens: Tensor,  # [N, T, width]
) -> Tensor:  # [N, width]
    """The same by `nn.TransformerEncoderLayer`; it knows no scales, so they go into the layers before them."""
    for block in (f"blocks.{index}" for index in range(2)):
        layer = nn.TransformerEncoderLayer(
            WIDTH,
            WIDTH // 64,
            4 * WIDTH,
            dropout=0,
            activation="gelu",
            layer_norm_eps=1e-6,
            batch_first=True,
            norm_first=True,
        )
        first, second = state[f"{block}.ls1.gamma"], state[f"{block}.ls2.gamma"]
        named = {
            "self_attn.in_proj_weight": state[f"{block}.attn.qkv.weight"],
            "self_attn.in_proj_bias": state[f"{block}.attn.qkv.bias"],
            "self_attn.out_proj.weight": first[:, None] * state[f"{block}.attn.proj.weight"],
            "self_attn.out_proj.bias": first * state[f"{block}.attn.proj.bias"],
            "linear1.weight": state[f"{block}.mlp.fc1.weight"],
            "linear1.bias": state[f"{block}.mlp.fc1.bias"],
            "linear2.weight": second[:, None] * state[f"{block}.mlp.fc2.weight"],
            "linear2.bias": second * state[f"{block}.mlp.fc2.bias"],
        }
        norms = {
            f"{norm}.{kind}": state[f"{block}.{norm}.{kind}"]
            for norm in ("norm1", "norm2")
            for kind in ("weight", "bias")
        }
        layer.load_state_dict(named | norms)
        tokens = layer.eval()(tokens)
    return F.layer_norm(tokens[:, 0], (WIDTH,), state["norm.weight"], state["norm.bias"], eps=1e-6)


def test_the_class_token_is_that_of_pytorchs_layers() -> None:
    state = transformer()
    images = torch.randn(2, 3, 56, 56, generator=torch.Generator().manual_seed(1))
    patches = F.conv2d(images, state["patch_embed.proj.weight"], state["patch_embed.proj.bias"], stride=14)
    tokens = torch.cat([state["cls_token"].expand(2, -1, -1), patches.flatten(2).mT], 1) + state["pos_embed"]
    with torch.no_grad():
        assert torch.allclose(VisionTransformer(state)(images), reference(state, tokens), rtol=1e-4, atol=1e-5)


def test_the_largest_size_gates_its_layers() -> None:
    state = transformer(depth=1, gated=True)
    network = VisionTransformer(state)
    x = torch.randn(2, 5, WIDTH, generator=torch.Generator().manual_seed(1))
    both = F.linear(x, state["blocks.0.mlp.w12.weight"], state["blocks.0.mlp.w12.bias"])
    gate, value = both[..., : 2 * WIDTH], both[..., 2 * WIDTH :]
    expected = F.linear(gate * gate.sigmoid() * value, state["blocks.0.mlp.w3.weight"], state["blocks.0.mlp.w3.bias"])
    with torch.no_grad():
        assert torch.allclose(network.blocks[0]._mix(x), expected, atol=1e-5)


def test_position_embeddings_are_interpolated_as_by_the_authors() -> None:
    """Bicubic (Keys 1981, a = -3/4) at source = (target + 1/2) * learned / (size + 0.1) - 1/2, edges repeated."""
    state = transformer(grid=37)
    weights = np.zeros((16, 37))
    for target in range(16):
        source = (target + 0.5) * 37 / 16.1 - 0.5
        for near in range(int(source) - 1, int(source) + 3):
            d = abs(source - near)
            inner, outer = 1.25 * d**3 - 2.25 * d**2 + 1, -0.75 * (d**3 - 5 * d**2 + 8 * d - 4)
            weights[target, np.clip(near, 0, 36)] += inner if d <= 1 else outer
    grid = state["pos_embed"][0, 1:].reshape(37, 37, WIDTH).double().numpy()
    expected = np.einsum("yi,xj,ijc->yxc", weights, weights, grid).reshape(256, WIDTH)
    found = VisionTransformer(state)._positions(16, 16)[0].detach().numpy()
    assert np.allclose(found[1:], expected, atol=1e-5)
    assert np.array_equal(found[0], state["pos_embed"][0, 0].numpy())


def test_images_are_resized_and_standardised_as_for_imagenet() -> None:
    extractor = DinoV2(transformer(), id="tiny", weights="")
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    images = torch.randint(0, 256, (2, 3, 224, 224), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    expected = extractor.network((images / 255 - mean[:, None, None]) / std[:, None, None])
    assert torch.allclose(extractor(images).features, expected, atol=1e-4)
    colours = torch.randint(0, 256, (2, 3, 1, 1), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    assert torch.allclose(
        extractor(colours.expand(-1, -1, 40, 30)).features,
        extractor(colours.expand(-1, -1, 224, 224)).features,
        atol=1e-4,
    )


def test_the_published_file_is_known_by_its_tensors(tmp_path: Path) -> None:
    path = tmp_path / "any-name.pth"
    torch.save(transformer(width=384, depth=12, grid=37), path)
    extractor = extractors.find("dinov2", path)
    assert (extractor.id, extractor.resize) == ("dinov2-vits14", "bicubic-224")
    assert extractor.weights == sha256(path.read_bytes()).hexdigest()
    assert not extractor.training and not any(parameter.requires_grad for parameter in extractor.parameters())
    assert extractor(torch.zeros(2, 1, 28, 28, dtype=torch.uint8)).features.shape == (2, 384)


def test_without_a_file_the_error_says_where_to_fetch_one() -> None:
    with pytest.raises(ConfigError, match=r"https://dl\.fbaipublicfiles\.com/.*--weights FILE"):
        extractors.find("dinov2")


@pytest.mark.parametrize("fault", ["width", "depth", "registers", "missing", "another network", "empty"])
def test_a_file_other_than_the_published_ones_is_refused(tmp_path: Path, fault: str) -> None:
    state = transformer(width=128 if fault == "width" else 384, depth=1 if fault == "depth" else 12)
    if fault == "registers":
        state["register_tokens"] = torch.zeros(1, 4, 384)
    if fault == "missing":
        del state["blocks.3.norm1.bias"]
    if fault in ("another network", "empty"):
        state = {"weight": torch.ones(2)} if fault == "another network" else {}
    torch.save(state, tmp_path / "net.pth")
    with pytest.raises(ModelError, match="not one of the published DINOv2 files"):
        extractors.find("dinov2", tmp_path / "net.pth")
