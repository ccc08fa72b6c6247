"""Fine-tuning: the configuration of a training that starts from a pretrained model."""

from typing import Any

from ganloom.config import merge, named, recipe_names, recipe_values
from ganloom.core.code import is_file
from ganloom.core.errors import ConfigError
from ganloom.core.shapes import ImageShape
from ganloom.training import rules
from ganloom.training.finetune import Pretrained

__all__ = ["fine_tuning"]


def fine_tuning(trained: Pretrained, recipe: str | None) -> tuple[str, dict[str, Any]]:
    """A recipe's name and nested values: the pretrained network at its size, trained as before or as `recipe` says.

    Raises `ConfigError` where neither says how to train it.
    """
    header, config = trained.header, trained.config
    name = recipe or str(header.training.get("recipe"))
    if recipe is None and config is not None:
        values = config.model_dump(mode="json")
    else:
        if recipe is None and name not in recipe_names():
            raise ConfigError(
                f"{trained.path} does not name a built-in recipe: name one with --recipe, whose net is {header.net}."
            )
        values = recipe_values(name)
    if "net" not in values:
        raise ConfigError(
            f"the recipe {name} has no network: begin it with a base, such as 'base: dcgan-32', and add what differs."
        )
    of_recipe = named(values["net"])
    net: dict[str, Any] = {"name": header.net, "latent": header.latent, "g": header.options}
    if config is not None:
        net |= {"name": config.net.name, "d": config.net.d}
    elif of_recipe["name"] == header.net:
        net["d"] = of_recipe.get("d", {})
    elif is_file(header.net):
        raise ConfigError(f"{trained.path} contains a custom network: give the run folder, which has its file.")
    channels, height, width = header.shape
    was = values.get("data") or {}
    data = {
        "source": was.get("source", ""),
        "size": [height, width],
        "channels": channels,
        "labels": header.labels,
        "mirror": was.get("mirror", False),
    }
    # What a run has filled in was not asked for: another batch has other micro-batches.
    own = {
        "train": {"micro_batch": None, "batch_g": None, "micro_batch_g": None},
        "evaluate": {"every": None},
        "guard": {"every": None},
    }
    derived = {} if recipe is not None or config is None else rules.opened(config, ImageShape(*header.shape))
    fresh = {"data": data, "net": net, "start": None, "growth": None}
    return name, merge(merge(values, own), derived) | fresh
