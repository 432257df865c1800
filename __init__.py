"""LoRA Forensics: was this LoRA trained on these photos?"""

WEB_DIRECTORY = "./web"


async def comfy_entrypoint():
    """ComfyUI's way in; nothing is imported before the host asks."""
    from .nodes.extension import LoraForensics

    return LoraForensics()
