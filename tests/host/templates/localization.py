"""Templates that repaint photos and ask where."""

from __future__ import annotations

from ..graphs import Graph, Link, Node
from .parts import base_checkpoint, show_images, show_text, template, text_models


def repainted(g: Graph, checkpoint: Node, folder: str) -> tuple[Node, Link]:
    """A folder's photos with random masks through RePaint; the node, and the masks."""
    with g.column("Photos"):
        photos = g.add("LoraForensicsPhotoFolder", "Photos to repaint", folder=folder)
        images = g.add("LoraForensicsPhotosToImages", photos=photos["photos"])["images"]
        mask = g.add("LoraForensicsRandomMasks", images=images)["mask"]
    with g.column("Repainting"):
        models = text_models(checkpoint)
        return g.add("LoraForensicsRepaint", **models, images=images, mask=mask), mask


@template(
    "Repaint photos, then find what was repainted",
    """RePaint changes a random region of each photo; a localizer is asked where. Masks are \
known here, so the maps are measured.

**Put in place first**
- a checkpoint, in `models/checkpoints`
- photos, in `input/photos`

**How long**: as much as 14 ordinary images of 20 steps for each photo; the localizer takes \
seconds. To look at pictures of your own, put *Load Image* in the place of *RePaint*.

**Reading the result**: a map is a lead, not proof. *In words* says first what the gate let \
through, then what the localizer was measured to do on pictures that it never saw. The shipped \
one learnt from drawings of 64 pixels: on photos of your camera it means little. Train your own \
with *Train a localizer*. Read the metrics beside their last rows, which look at nothing.""",
)
def inpaint_localize(g: Graph) -> None:
    with g.column("Models"):
        checkpoint = base_checkpoint(g, "What repaints")
        localizer = g.add("LoraForensicsLoadLocalizer", name="(shipped, small)")["localizer"]
    repaint, mask = repainted(g, checkpoint, "photos")
    with g.column("Localization"):
        images = repaint["spliced"]
        located = g.add("LoraForensicsLocalize", localizer=localizer, images=images)
        metrics = g.add("LoraForensicsMapMetrics", map=located["map"], mask=mask)
    with g.column("Result"):
        show_images(g, "Repainted", images)
        show_images(g, "Where it was found", located["heat"])
        show_text(g, "Maps against masks", metrics["table"])
        show_text(g, "In words", located["summary"])


@template(
    "Train a localizer",
    """Repaints a folder of photos and trains a network to find what was repainted, on photos \
and models like those that you will ask about.

**Put in place first**
- a checkpoint, in `models/checkpoints`
- some hundred photos, in `input/training_photos`: 150 set a gate, more are better
- the picture in question, in `input`

**How long**: as much as 14 ordinary images of 20 steps for each photo, then 10,000 training \
steps: an hour on a small GPU. Finished pictures and epochs are kept in \
`output/lora_forensics/work`: an interrupted run resumes.

**Reading the result**: *What it can do* has one line for each kind of picture, and the share of \
untouched pictures that it marks. To know how it does on a generator that it never saw, connect \
pictures of another one to `outside`. The file lies in `output/lora_forensics/localizers`.""",
)
def train_localizer(g: Graph) -> None:
    with g.column("Models"):
        checkpoint = base_checkpoint(g, "What repaints")
    repaint, _ = repainted(g, checkpoint, "training_photos")
    with g.column("Training"):
        examples = repaint["examples"]
        trained = g.add("LoraForensicsTrainLocalizer", examples=examples, name="my_localizer")
    with g.column("A look"):
        asked = g.add("LoadImage", "Picture in question", image="example.png")["IMAGE"]
        located = g.add("LoraForensicsLocalize", localizer=trained["localizer"], images=asked)
    with g.column("Result"):
        show_images(g, "Losses", trained["plot"])
        show_text(g, "What it can do", trained["card"])
        show_images(g, "Where it was repainted", located["heat"])
        show_text(g, "In words", located["summary"])
