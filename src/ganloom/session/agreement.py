"""Several processes train one network only if they have the same images, settings, code and versions."""

import json
from collections.abc import Iterator

import torch

from ganloom.config import Config
from ganloom.core.code import read
from ganloom.core.errors import RunError
from ganloom.core.version import __version__
from ganloom.session.context import Context

__all__ = ["refuse_disagreement"]


def refuse_disagreement(config: Config, context: Context) -> None:
    """Raises `RunError`, in every process, if one has something else than the first.

    They would train on, each with its own: the weights drift apart, and `run.json` describes the first process alone.
    """
    if context.world.size == 1:
        return
    if different := context.world.disagreements(dict(_decisive(config, context)), context.device):
        raise RunError(
            f"the processes of this training have different {', '.join(different)}: start all of them with the same "
            "command, the same ganloom and the same files."
        )


def _decisive(config: Config, context: Context) -> Iterator[tuple[str, str]]:
    yield "versions of ganloom", __version__
    yield "versions of PyTorch", torch.__version__
    yield "images", context.dataset.content_hash
    yield "custom code", json.dumps(sorted(read(path).sha256 for path in config.own_files))
    for section, values in config.model_dump(mode="json").items():
        if section == "data":  # the same images may lie elsewhere on another machine
            values = {key: value for key, value in values.items() if key != "source"}
        yield f"settings ({section})", json.dumps(values, sort_keys=True)
