"""The run folder: its files, and how to create, open and read it.

config.yaml          the resolved configuration: with the same images it is enough to repeat the run
run.json             facts of the start: dataset and its content hash, versions, measured speed
status.json          what the training is doing now, or how it ended
code/                copies of custom code: network, loss and source of images
changes.json         settings that changed during the run: when, why and from what; config.yaml has the newest
log.jsonl            one line per logged step
tensorboard/         the same as TensorBoard events, with the grids
samples/             reals.png, and grids of the same latents as training progresses
checkpoints/         NIMG.safetensors, and NIMG.json with its checksum
model.safetensors    the EMA generator, self-describing
best/                model.safetensors and the whole checkpoint of the moment with the best score
scores.json          what `evaluate` measured, and scores/ with the pictures it made
"""

from ganloom.runs.folder import RunFolder, create_folder, open_folder, refuse_existing
from ganloom.runs.naming import reserved
from ganloom.runs.records import Change, Facts
from ganloom.runs.status import Status

__all__ = ["Change", "Facts", "RunFolder", "Status", "create_folder", "open_folder", "refuse_existing", "reserved"]
