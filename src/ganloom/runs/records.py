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
    images_per_minute: float | None  # measured once: lengths in minutes, and intervals that are null, follow from it
    code: dict[str, str] = {}  # sha256 of each file of custom code, by its path


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


CHANGES = TypeAdapter(list[Change])
