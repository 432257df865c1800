"""The node pack: forms in front of the core's verbs. Nothing here is imported outside ComfyUI."""
