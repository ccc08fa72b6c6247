"""Errors that need no torch, found before it is imported, which can take many seconds. The commands ask first."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ganloom.config import Config, check_sections, nested, recipe_names, recipe_values
from ganloom.core.device_kinds import check_kind
from ganloom.core.files import user_path
from ganloom.core.names import in_its_case
from ganloom.data import sources
from ganloom.runs import open_folder, refuse_existing

__all__ = ["check_resume", "check_train"]


def check_train(
    data: str | None, recipe: str | None, out: str | os.PathLike[str] | None, device: str, settings: Mapping[str, Any]
) -> None:
    """What `ganloom.train` would refuse, as far as it is cheap to find out. Raises `GanloomError`."""
    check_kind(device)
    check_sections(nested(settings))
    if recipe is not None:
        values = recipe_values(in_its_case(recipe, recipe_names()))
        if not any(key.partition(".")[0] == "start" for key in settings):  # else the network is the pretrained one
            Config.build(values, settings)
    if data is not None:
        sources.refuse_missing(data)
    if out is not None and "WORLD_SIZE" not in os.environ:  # a process that torchrun has restarted continues its run
        refuse_existing(user_path(out))


def check_resume(run: Path, device: str, settings: Mapping[str, Any], length: str | None) -> None:
    """What `ganloom.resume` would refuse, as far as it is cheap to find out. Raises `GanloomError`."""
    check_kind(device)
    more = {} if length is None else {"train.length": length}
    open_folder(user_path(run)).config.with_overrides({**settings, **more})
