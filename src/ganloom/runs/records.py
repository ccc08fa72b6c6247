"""What a run folder's JSON files hold."""

from typing import Any

from pydantic import BaseModel, ConfigDict, TypeAdapter

__all__ = ["CHANGES", "Change", "Facts"]


class Facts(BaseModel):
    """run.json: what was true when the run started."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    id: str
    created: str
    dataset: str
    content_hash: str
    images: int  # in the training split
    shape: tuple[int, int, int]
    class_names: list[str]
    recipe: str
    ganloom: str
    torch: str
    device: str
    threads: int
    instructions: str | None = None  # of the CPU, such as AVX2; None in runs of older versions
    images_per_minute: float | None  # measured once: lengths in minutes, and intervals that are null, follow from it
    code: dict[str, str] = {}  # sha256 of each file of custom code, by its path
    config: dict[str, Any] = {}  # as the run started with it; config.yaml has the newest. {} in runs of older versions


class Change(BaseModel):
    """One entry of changes.json."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    reason: str
    text: str
    nimg: int  # when the reason was found
    to: int  # image count that the training returned to
    seconds: float  # spent training until then
    before: dict[str, Any]  # settings by their dotted names
    after: dict[str, Any]
    verdict: str = ""  # what the guard said, and the numbers behind it
    evidence: dict[str, float | None] = {}
    pending: bool = False  # a rollback that is being done: a kill may have come before its end


CHANGES = TypeAdapter(list[Change])
