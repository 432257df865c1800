"""LoRA Forensics: was this LoRA trained on these photos?"""
