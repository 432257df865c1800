"""The workflow templates, by subject: what each connects, and what its note tells the user."""

from .localization import inpaint_localize, train_localizer
from .membership import (
    decoys,
    dreambooth_suspect,
    quick_screening,
    training_null_models,
    white_box_membership,
)
from .parts import Template
from .sampling import (
    black_box_membership,
    finextract_extraction,
    model_guidance_sampling,
    moderation_pass,
    multi_cfg_comparison,
)

CORE = (
    "CheckpointLoaderSimple", "CLIPTextEncode", "EmptyLatentImage", "RandomNoise",
    "BasicScheduler", "KSamplerSelect", "SamplerCustomAdvanced", "VAEDecode", "SaveImage",
    "PreviewImage", "PreviewAny", "LoadImage",
)  # fmt: skip
TEMPLATES: tuple[Template, ...] = (
    quick_screening, finextract_extraction, black_box_membership, white_box_membership,
    multi_cfg_comparison, moderation_pass, model_guidance_sampling, dreambooth_suspect, decoys,
    training_null_models, inpaint_localize, train_localizer,
)  # fmt: skip
