"""Nodes on descriptors: embed, group, match."""

from __future__ import annotations

import torch
from comfy_api.latest import io

from ..core.casework.exhibits import grid
from ..core.encoders.embedding import embed
from ..core.errors import InputError
from ..core.extraction.line import groups
from ..core.images.photos import pixels_sha256, to_picture
from ..core.statistics.similarity import average_similarity, extraction_success_rate
from ..core.types import ImageBatch, Source
from . import _sockets as sockets
from ._host import HostProgress, to_image, to_pixels
from ._schema import CATEGORY, outputs_of

SIMILARITY = f"{CATEGORY}/similarity"


class Embed(io.ComfyNode):
    """Descriptors of images, of photos, or of generated images with their provenance."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """The form."""
        return io.Schema(
            node_id="LoraForensicsEmbed",
            display_name="Embed Images",
            category=SIMILARITY,
            description="Connect exactly one of generated, images and photos.",
            inputs=[
                sockets.Descriptor.Input("descriptor"),
                sockets.Generated.Input("generated", optional=True),
                io.Image.Input("images", optional=True),
                sockets.Photos.Input("photos", optional=True),
                io.Int.Input(
                    "side", default=256, min=16, max=4096, step=8,
                    tooltip="Photos are brought to this size first.",
                ),
            ],
            outputs=outputs_of(embeddings=sockets.Embeddings),
        )  # fmt: skip

    @classmethod
    def execute(cls, descriptor, side, generated=None, images=None, photos=None) -> io.NodeOutput:
        """Embed."""
        given = [x for x in (generated, images, photos) if x is not None]
        if len(given) != 1:
            raise InputError(
                "BAD_INPUT", f"{len(given)} of generated, images, photos are connected; connect one"
            )
        if generated is not None:
            return io.NodeOutput(embed(generated, descriptor))
        batch = (
            photos.at(side, "photo", HostProgress()).images if images is None else _batch(images)
        )
        return io.NodeOutput(embed(batch, descriptor))


def _batch(images: torch.Tensor) -> ImageBatch:
    pixels = to_pixels(images)
    sources = tuple(
        Source(kind="photo", sha256=pixels_sha256(to_picture(p)), name=f"image {i}")
        for i, p in enumerate(pixels)
    )
    return ImageBatch(pixels, sources)


class Cluster(io.ComfyNode):
    """Groups of near-copies."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """The form."""
        return io.Schema(
            node_id="LoraForensicsCluster",
            display_name="Group Near-copies",
            category=SIMILARITY,
            description="Complete-linkage groups, best first: every two images of a group are "
            "alike. The medoid of each is its representative.",
            inputs=[
                sockets.Embeddings.Input("embeddings"),
                sockets.Generated.Input("generated"),
                io.Int.Input("clusters", default=10, min=1, max=10_000, tooltip="N0 of the paper."),
            ],
            outputs=[
                sockets.Embeddings.Output("representatives", display_name="representatives"),
                io.Image.Output("images_out", display_name="images"),
                io.Image.Output("sheet", display_name="sheet"),
                io.String.Output("table", display_name="table"),
            ],
        )

    @classmethod
    def execute(cls, embeddings, generated, clusters) -> io.NodeOutput:
        """Group."""
        if embeddings.sources != generated.sources:
            raise InputError(
                "MIXED_EVIDENCE", "embeddings and generated are of different images; embed these"
            )
        clustering = groups(embeddings, clusters)
        index = clustering.medoids.tolist()
        rows = [
            f"{k}\t{clustering.sizes[k]}\t{clustering.intra[k]:.3f}\t{generated.sources[i].sha256}"
            for k, i in enumerate(index)
        ]
        best = generated.pixels[index]
        sheet = to_image(grid(best)[None])
        table = "\n".join([f"tau {clustering.tau:.2f}", "group\tsize\tintra\tsha256", *rows])
        return io.NodeOutput(embeddings.select(index), to_image(best), sheet, table)


class Match(io.ComfyNode):
    """AS, A-ESR and nearest pairs."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """The form."""
        return io.Schema(
            node_id="LoraForensicsMatch",
            display_name="Match Against Photos",
            category=SIMILARITY,
            description="Average similarity and extraction success rate of photos through "
            "representatives, and the same for controls. Without controls the figures say "
            "nothing about use.",
            inputs=[
                sockets.Embeddings.Input("representatives"),
                sockets.Embeddings.Input("photos"),
                sockets.Embeddings.Input("controls", optional=True),
                io.Float.Input(
                    "threshold", default=0.0, min=0.0, max=1.0, step=0.01,
                    tooltip="Cosine above which two pictures count as copies; 0 is the "
                    "descriptor's own.",
                ),
            ],
            outputs=[
                io.Float.Output("average_similarity", display_name="AS"),
                io.Float.Output("success_rate", display_name="A-ESR"),
                io.String.Output("table", display_name="table"),
            ],
        )  # fmt: skip

    @classmethod
    def execute(cls, representatives, photos, threshold, controls=None) -> io.NodeOutput:
        """Match."""
        tau = threshold or representatives.encoder.copy_threshold
        matrix = photos.similarity(representatives).numpy()
        figures = average_similarity(matrix), extraction_success_rate(matrix, tau)
        rows = [
            f"{source.name}\t{representatives.sources[int(row.argmax())].name}\t{row.max():.3f}"
            for source, row in zip(photos.sources, matrix, strict=True)
        ]
        head = [f"photos: AS {figures[0]:.3f}, A-ESR {figures[1]:.2f} at {tau:.2f}"]
        if controls is None:
            head.append("no controls: these figures say nothing about use")
        else:
            other = controls.similarity(representatives).numpy()
            head.append(
                f"controls: AS {average_similarity(other):.3f}, "
                f"A-ESR {extraction_success_rate(other, tau):.2f}"
            )
        table = "\n".join([*head, "photo\tnearest\tsimilarity", *rows])
        return io.NodeOutput(*figures, table)


NODES = [Embed, Cluster, Match]
