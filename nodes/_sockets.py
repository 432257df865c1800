"""The pack's own socket types. Their names are permanent: saved workflows hold them."""

from __future__ import annotations

from comfy_api.latest import io

Suspect = io.Custom("LORA_FORENSICS_SUSPECT")
"""`_suspect.Suspect`: base and tuned model."""
Photos = io.Custom("LORA_FORENSICS_PHOTOS")
"""`core.casework.photo_sets.PhotoSet`: photos in question, or controls."""
Descriptor = io.Custom("LORA_FORENSICS_DESCRIPTOR")
"""`core.protocols.ImageEncoder`."""
Generated = io.Custom("LORA_FORENSICS_GENERATED")
"""`core.types.ImageBatch`: images with the prompt, seed and guidance that made each."""
Embeddings = io.Custom("LORA_FORENSICS_EMBEDDINGS")
"""`core.types.Embeddings`."""
Extraction = io.Custom("LORA_FORENSICS_EXTRACTION")
"""`core.casework.lines.DrawnExtraction`: what was drawn from a suspect."""
AttackModel = io.Custom("LORA_FORENSICS_ATTACK_MODEL")
"""`core.attack.files.AttackModel`."""
Evidence = io.Custom("LORA_FORENSICS_EVIDENCE")
"""`core.casework.lines.LineEvidence`: what one line found, and about what."""
Nulls = io.Custom("LORA_FORENSICS_NULLS")
"""`_nulls.Nulls`: placebos, or counterfactuals; null models of one suspect."""
Decoys = io.Custom("LORA_FORENSICS_DECOYS")
"""`core.casework.lines.DecoysRanked`: rank of a published variant, and in which suspect."""
Examples = io.Custom("LORA_FORENSICS_EXAMPLES")
"""`_examples.Examples`: photos, masks, and what a generator made of them."""
Localizer = io.Custom("LORA_FORENSICS_LOCALIZER")
"""`core.localization.files.Localizer`."""
Case = io.Custom("LORA_FORENSICS_CASE")
"""`core.casework.bundle.CaseBundle`: verdict, evidence and pictures, ready for a report."""
