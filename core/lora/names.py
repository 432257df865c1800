"""Tensor names of every adapter dialect, turned into (component, module, slot)."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

_PLAIN_SLOTS = (
    "alpha|dora_scale|lora_mid\\.weight|diff|diff_b|w_norm|b_norm|hada_w[12]_[ab]|hada_t[12]|"
    "lokr_w[12]|lokr_w[12]_[ab]|lokr_t2"
)
_SLOT_NAMES = {
    "lora_mid.weight": "mid",
    "w_norm": "diff",
    "b_norm": "diff_b",
    "A": "down",
    "B": "up",
}
_UNET_TARGETS = {"q": "to_q", "k": "to_k", "v": "to_v", "out": "to_out.0"}
_TEXT_TARGETS = {"q": "q_proj", "k": "k_proj", "v": "v_proj", "out": "out_proj"}
_FLAT_PREFIXES = {
    "lora_unet_": "unet",
    "lora_te1_": "text_encoder",
    "lora_te2_": "text_encoder_2",
    "lora_te3_": "text_encoder_3",
    "lora_te_": "text_encoder",
    "lora_transformer_": "unet",
    "lycoris_": "unet",
}
_DOTTED_PREFIXES = {
    "unet.": "unet",
    "text_encoder.": "text_encoder",
    "text_encoder_2.": "text_encoder_2",
    "text_encoder_3.": "text_encoder_3",
    "transformer.": "unet",
    "model.diffusion_model.": "unet",
    "diffusion_model.": "unet",
}
_PEFT_PREFIX = "base_model.model."
_PEFT_FACTOR = re.compile(r"(?P<module>.+)\.lora_(?P<slot>[AB])(?:\.(?P<adapter>[\w-]+))?\.weight")
_PEFT_MAGNITUDE = re.compile(
    r"(?P<module>.+)\.lora_magnitude_vector(?:\.(?!weight$)[\w-]+)?(?:\.weight)?"
)
_PROCESSOR = re.compile(
    r"(?P<module>.+?)(?:\.processor)?\.to_(?P<target>q|k|v|out)_lora\.(?P<slot>down|up)\.weight"
)
_FACTOR = re.compile(
    r"(?P<module>.+)\.(?:lora\.|lora_linear_layer\.|lora_)(?P<slot>down|up)\.weight"
)
_PLAIN = re.compile(rf"(?P<module>.+)\.(?P<slot>{_PLAIN_SLOTS})(?:\.weight)?")
_UNSUPPORTED: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern), name)
    for pattern, name in (
        (r"\.oft_|\.boft_", "OFT / BOFT (orthogonal fine-tuning)"),
        (r"\.on_input$|\.ia3_", "IA3"),
        (r"\.[ab][12]\.weight$|\.bm[12]\.weight$", "GLoRA"),
        (r"\.lora_embedding_[AB]", "LoRA on an embedding table"),
        (r"\.lora_[AB](\.[\w-]+)?\.bias$|\.lora\.up\.bias$|\.lora_up\.bias$", "LoRA with a bias"),
        (r"\.vera_lambda|vera_[AB]$", "VeRA"),
        (r"\.fourierft_", "FourierFT"),
        (r"\.hra_u", "HRA"),
        (r"\.vblora_", "VB-LoRA"),
        (r"\.bias_(values|indices|size)$", "LyCORIS sparse bias"),
        (r"\.wd_for_diff$", "DoRA on the difference"),
        (r"\.bora_scale", "BoRA"),
        (r"\.reshape_weight$|\.set_weight$", "replaced or reshaped weights"),
        (r"bundle_emb|emb_params|string_to_param", "a bundled textual-inversion embedding"),
        (r"\.lora_(down|up)\.\d+(\.weight)?$|\.lora_[AB]\d", "DyLoRA or split LoRA factors"),
        (r"\.lora_(Q|P|E)|\.ranknum", "AdaLoRA"),
        (r"prompt_embeddings", "prompt tuning"),
    )
)
# An adapter's family: parts of names that it alone has; the width of the text that its
# cross-attention reads; and where no such width is stored, parts again.
FAMILIES_BY_PART = {
    "Flux": ("double_blocks", "single_blocks", "single_transformer_blocks"),
    "SD3": ("joint_blocks", "add_k_proj", "context_block"),
}
FAMILIES_BY_WIDTH = {768: "SD1.x", 1024: "SD2.x", 1280: "SDXL", 2048: "SDXL"}
_LARGE_PARTS = {
    "SDXL": ("lora_te2_", "text_encoder_2_", "attn1_to_k_9", "transformer_blocks_9_"),
}
_TEXT_NAMES = ("text_model.", "encoder.layers.", "embeddings.", "text_projection")


@dataclass(frozen=True, slots=True)
class ParsedName:
    """One tensor name understood.

    Attributes:
        component: ``unet``, ``text_encoder``, ``text_encoder_2`` (``text_encoder_3`` is known so
            that it can be refused by name).
        key: the module as the file spells it.
        module: the module with dialect removed; dotted or underscored.
        slot: ``down``, ``up``, ``mid``, ``alpha``, ``dora_scale``, ``magnitude``, ``diff``, ...
        dialect: ``kohya``, ``diffusers`` or ``peft``.
        explicit: whether the name itself says its component.
    """

    component: str
    key: str
    module: str
    slot: str
    dialect: str
    explicit: bool


def parse_name(name: str) -> ParsedName | None:
    """Understands one tensor name, or returns None if it belongs to no supported adapter."""
    for prefix, component in _FLAT_PREFIXES.items():
        if name.startswith(prefix):
            return _parse_flat(name, prefix, component)
    return _parse_dotted(name)


def unsupported_kind(name: str) -> str | None:
    """Names the adapter method that a tensor belongs to, if it is one that is refused."""
    return next((kind for pattern, kind in _UNSUPPORTED if pattern.search(name)), None)


def flatten(module: str) -> str:
    """A module name in kohya's spelling: dots become underscores."""
    return module.replace(".", "_")


def guess_family(names: Mapping[str, tuple[int, ...]]) -> str:
    """Names the model family that an adapter's tensor names and shapes fit.

    Args:
        names: tensor name -> shape, as the header has them.

    Returns:
        A name in `FAMILIES_BY_PART` or `FAMILIES_BY_WIDTH`, or ``"unknown"``.
    """
    if family := _by_part(names, FAMILIES_BY_PART):
        return family
    widths = {_context_width(name, shape) for name, shape in names.items()}
    families = {family for width, family in FAMILIES_BY_WIDTH.items() if width in widths}
    if len(families) == 1:
        return families.pop()
    return _by_part(names, _LARGE_PARTS) or "unknown"


def ldm_to_diffusers(flat: str, layers_per_block: int) -> str:
    """Original (LDM) UNet module name to diffusers' name, both underscored.

    ``input_blocks_4_1_...`` counts residual blocks through the whole down path; diffusers counts
    per block, ``layers_per_block`` each. A name that is not LDM's comes back unchanged.
    """
    per_block = layers_per_block + 1
    if flat in _LDM_SINGLES:
        return _LDM_SINGLES[flat]
    if match := re.fullmatch(r"input_blocks_(\d+)_(\d+)_(.+)", flat):
        block, layer = divmod(int(match[1]) - 1, per_block)
        return f"down_blocks_{block}_" + _inner(int(match[2]), layer, match[3])
    if match := re.fullmatch(r"middle_block_([012])_(.+)", flat):
        place = int(match[1])
        return "mid_block_" + _inner(place % 2, place // 2, match[2])
    if match := re.fullmatch(r"output_blocks_(\d+)_(\d+)_(.+)", flat):
        block, layer = divmod(int(match[1]), per_block)
        return f"up_blocks_{block}_" + _inner(int(match[2]), layer, match[3])
    return flat


_LDM_SINGLES = {
    "input_blocks_0_0": "conv_in",
    "out_0": "conv_norm_out",
    "out_2": "conv_out",
    "time_embed_0": "time_embedding_linear_1",
    "time_embed_2": "time_embedding_linear_2",
    "label_emb_0_0": "add_embedding_linear_1",
    "label_emb_0_2": "add_embedding_linear_2",
}
_LDM_RESNET = {
    "in_layers_0": "norm1",
    "in_layers_2": "conv1",
    "emb_layers_1": "time_emb_proj",
    "out_layers_0": "norm2",
    "out_layers_3": "conv2",
    "skip_connection": "conv_shortcut",
}


def _inner(place: int, layer: int, rest: str) -> str:
    if rest == "op":
        return "downsamplers_0_conv"
    if rest == "conv":
        return "upsamplers_0_conv"
    if place == 0:
        return f"resnets_{layer}_{_LDM_RESNET.get(rest, rest)}"
    return f"attentions_{layer}_{rest}"


def _parse_flat(name: str, prefix: str, component: str) -> ParsedName | None:
    parsed = _slot(name, component)
    if parsed is None:
        return None
    key, module, slot = parsed
    return ParsedName(component, key, module.removeprefix(prefix), slot, "kohya", True)


def _parse_dotted(name: str) -> ParsedName | None:
    body = name.removeprefix(_PEFT_PREFIX)
    prefix = next((p for p in _DOTTED_PREFIXES if body.startswith(p)), "")
    body = body.removeprefix(prefix).removeprefix(_PEFT_PREFIX)
    component = _DOTTED_PREFIXES.get(prefix) or _component_by_name(body)
    parsed = _slot(body, component)
    if parsed is None:
        return None
    key, module, slot = parsed
    dialect = "peft" if _PEFT_PREFIX in name else "diffusers"
    return ParsedName(
        component, name[: len(name) - len(body)] + key, module, slot, dialect, bool(prefix)
    )


def _slot(body: str, component: str) -> tuple[str, str, str] | None:
    """Splits a name into (module as spelled, module as the base names it, slot)."""
    if match := _PROCESSOR.fullmatch(body):
        targets = _UNET_TARGETS if component == "unet" else _TEXT_TARGETS
        module = f"{match['module']}.{targets[match['target']]}"
        return match["module"] + f".to_{match['target']}_lora", module, match["slot"]
    if match := _PEFT_FACTOR.fullmatch(body) or _FACTOR.fullmatch(body):
        return match["module"], match["module"], _SLOT_NAMES.get(match["slot"], match["slot"])
    if match := _PEFT_MAGNITUDE.fullmatch(body):
        return match["module"], match["module"], "magnitude"
    if match := _PLAIN.fullmatch(body):
        module, slot = match["module"], _SLOT_NAMES.get(match["slot"], match["slot"])
        return module, _processor_module(module, component), slot
    return None


def _processor_module(module: str, component: str) -> str:
    """The base module of an old attention-processor name such as ``attn1.processor.to_q_lora``."""
    match = re.fullmatch(r"(.+?)(?:\.processor)?\.to_(q|k|v|out)_lora", module)
    if match is None:
        return module
    return f"{match[1]}.{(_UNET_TARGETS if component == 'unet' else _TEXT_TARGETS)[match[2]]}"


def _component_by_name(body: str) -> str:
    return "text_encoder" if body.startswith(_TEXT_NAMES) else "unet"


def _by_part(names: Iterable[str], families: Mapping[str, tuple[str, ...]]) -> str | None:
    flat = [flatten(name) for name in names]
    for family, parts in families.items():
        if any(part in name for name in flat for part in parts):
            return family
    return None


def _context_width(name: str, shape: tuple[int, ...]) -> int | None:
    """Width of the text conditioning, which the cross-attention key projection reads."""
    if re.search(r"attn2[._].*to[._]k", name) and re.search(r"(down|lora_A)\b|hada_w1_b", name):
        return shape[1] if len(shape) > 1 else None
    return None
