"""What the note in each template tells the user: title and Markdown, by file name."""

FILES = """**Put in place first**
- the base checkpoint that the LoRA was made for, in `models/checkpoints`
- the suspect LoRA (.safetensors), in `models/loras`
"""
FOLDERS = """- the photos in question, in `input/photos`
- controls, in `input/controls`: photos of the same people, camera and time that were certainly \
not used. 2 are the least, 100 or more are good. Without such controls no figure means anything.
"""
PLACEBOS = """- placebos, in `models/loras/placebos`: LoRAs of the same base, trained alike on \
*other* photos. 19 allow p = 0.05, 99 allow p = 0.01. Without any, delete *Load Placebo LoRAs*: \
the rest runs as it is.
"""
RESUMES = "Finished work is kept in `output/lora_forensics/work`: an interrupted run resumes."
LETTERS = """**Reading the result**: A, use of these photos is supported. B, the model departs \
from its null models toward them. C, the same source is all that shows. D, no evidence, or too \
few photos to tell. D is not an acquittal, and a person decides."""

NOTES: dict[str, tuple[str, str]] = {
    "quick_screening": (
        "Was this LoRA trained on these photos?",
        f"""All lines of evidence in one node, and a report.

{FILES}{FOLDERS}
**How long**: preset quick costs as much as 240 ordinary images of 20 steps, and one more for each \
photo and control; standard 800, and 12 for each. {RESUMES}

{LETTERS} Preset quick has no null models, so it never says B; say `exchangeable` only if the \
controls are a true hold-out. The report is in `output/lora_forensics/reports`.""",
    ),
    "finextract_extraction": (
        "What can be pulled out of this LoRA?",
        f"""FineXtract draws many images beyond what the LoRA learnt, groups near-copies and shows \
one of each group. *Judge* lays them beside photos and controls.

{FILES}{FOLDERS}
**How long**: as much as 400 ordinary images of 20 steps: 200 for the pilot that chooses the \
guidance weight, 200 for the extraction. {RESUMES}

**Reading the result**: the first sheet shows what came out, best group first. In the second each \
stands beside the photo it resembles most, with the cosine. AS and A-ESR of the photos count only \
beside those of the controls: a likeness that controls have too is style, not memory. Changing \
a threshold in *Judge* draws nothing anew.""",
    ),
    "black_box_membership": (
        "Black-box attack: from images alone",
        f"""Draws images of the suspect and of its base with the same seeds, trains a small \
network to tell them apart, and asks it about your photos.

{FILES}{FOLDERS}
**How long**: as much as 400 ordinary images of 20 steps, then five small trainings (minutes). \
The baselines cost next to nothing. {RESUMES}

**Reading the result**: the table has one row a photo, highest score first, with its p-value among \
the controls. The attack tells *sources* apart, not photos: on seen against unseen photos of one \
source its published AUC is 0.53. Take it as a hint beside the white-box line. The baselines \
score the same images without training: an attack that does not beat them has learnt no more than \
likeness. The trained attack lies in `output/lora_forensics/attack_models`.""",
    ),
    "white_box_membership": (
        "White-box membership",
        f"""Does the suspect predict these photos better than its base does, more than it does \
controls? The primary line: the verdict rests on it.

{FILES}{FOLDERS}{PLACEBOS}
**How long**: as much as 12 ordinary images of 20 steps for each photo and control, most of it \
for the 19 null models of noise, and 8 more for every 19 placebos. With `nulls` 0 and no placebo \
it is 4 images each, and no verdict B. {RESUMES}

{LETTERS} The table has one row a photo; the plot shows photos over controls. Further signals and \
the places where the adapter helps are shown beside it and never raise the letter; only a rank \
among placebos gives B. Changing `alpha` in *Verdict* measures nothing anew.""",
    ),
    "multi_cfg_comparison": (
        "One seed at many guidance scales",
        f"""Draws each noise at each scale, from the suspect and from its base. Rows of a sheet \
are scales, columns are noises, the same in both sheets.

{FILES}
**How long**: 2 x 3 x 8 images of 20 steps. {RESUMES} Going back to earlier settings costs nothing.

**Reading the result**: scale 0 ignores the prompt, 1 follows it plainly, higher ones press it. \
Columns in which the suspect gives nearly one picture whatever the noise hint at memory of few \
photos. The table names scale, seed, prompt and SHA-256 of each image. Leave `prompts` empty to \
take those that the LoRA's metadata suggests.""",
    ),
    "moderation_pass": (
        "Full pass over one LoRA",
        f"""Reads the file, then runs white-box membership, extraction and the black-box attack in \
nodes of their own, and writes one report. Each line can be changed and run again by itself.

{FILES}{FOLDERS}{PLACEBOS}
**How long**: hours on a small GPU: 800 ordinary images of 20 steps, and 12 for each photo and \
control, 20 with 19 placebos. {RESUMES}

{LETTERS} The letter rests on the white-box line; the others are reported beside it and never \
raise it. *Inspect* shows what the file claims: metadata can be edited by anyone. A file that \
points to a minor is never sampled.""",
    ),
    "decoys": (
        "Decoys: an exact test, if prepared in time",
        f"""For owners of photos. Before they go out, one of 100 secret variants is drawn and \
published. A model that was not trained on it treats all variants alike, so its rank is an exact \
p-value: no controls, no null models, no assumption.

**Put in place first**
- the photos, in `input/photos`
- *Make Decoys* is switched off here: select it, press Ctrl-M, run it **once before publishing**, \
and switch it off again. Publish only the folder `publish`, keep the secret and the originals
- later: the base in `models/checkpoints` and the suspect in `models/loras`

**How long**: with marks every photo is scored in 100 variants: as much as 160 ordinary images of \
20 steps for each photo. Kind `subset` scores each photo once. {RESUMES}

**Reading the result**: the rank's p-value; its floor is 1 / (decoys + 1). At p = 0.01 with 99 \
decoys or more, *Verdict* says A whatever the controls. A high p is no acquittal: a mark can be \
lost in resizing. Whether marks of this strength are learnt is not known: try on your own model.""",
    ),
    "model_guidance_sampling": (
        "Model guidance in your own sampling",
        f"""FineXtract's guidance as a GUIDER for SamplerCustomAdvanced: samples are pulled from \
the base towards what the suspect learnt, and beyond.

{FILES}
Type a training caption or trigger word into *Caption*; *Load Suspect LoRA* shows those that the \
file names at its output `prompts`.

**How long**: as long as an ordinary image: base and suspect share one batched pass.

**Reading the result**: `weight` 0 is the base, 1 the suspect, 2 to 5 exaggerate what it learnt; \
small models break above 3. A picture that looks like a training photo is a lead to follow with \
controls, no proof.""",
    ),
    "training_null_models": (
        "Null models from your own controls",
        f"""Trains LoRAs on half of the controls with the recipe that the suspect's file states, \
and asks whether the suspect stands out among them: what verdict B rests on. It can train a LoRA \
whose photos you know, too, to see how the tool does on one.

{FILES}{FOLDERS}
- to begin with a LoRA of known truth: select the muted nodes under *First*, press Ctrl-M, run \
**once**, switch them off again, and pick `known.safetensors` as suspect

**How long**: 19 trainings as long as the suspect's own, hours on a small GPU; then as much as 8 \
ordinary images of 20 steps for each photo and control. 19 allow p = 0.05, 99 allow p = 0.01. \
{RESUMES}

{LETTERS} *Canonical Photos* passes both sets through one codec, so that the history of their \
files does not tell them apart. A file without steps and learning rate in its metadata cannot be \
repeated: use placebos then.""",
    ),
    "inpaint_localize": (
        "Repaint photos, then find what was repainted",
        """RePaint changes a random region of each photo; a localiser is asked where. Masks are \
known here, so the maps are measured.

**Put in place first**
- a checkpoint, in `models/checkpoints`
- photos, in `input/photos`

**How long**: as much as 14 ordinary images of 20 steps for each photo; the localiser takes \
seconds. To look at pictures of your own, put *Load Image* in the place of *RePaint*.

**Reading the result**: a map is a lead, not proof. *In words* says first what the gate let \
through, then what the localiser was measured to do on pictures that it never saw. The shipped \
one learnt from drawings of 64 pixels: on photos of your camera it means little. Train your own \
with *Train a localiser*. Read the metrics beside their last rows, which look at nothing.""",
    ),
    "train_localizer": (
        "Train a localiser",
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
    ),
    "dreambooth_suspect": (
        "A DreamBooth checkpoint under suspicion",
        f"""The same question for a full checkpoint beside the base it was tuned from.

**Put in place first**
- base and suspect, both in `models/checkpoints`, of one family
{FOLDERS}
Such a file names no prompt: replace *photo of sks person* by the caption you believe in.

**How long**: as much as 4 ordinary images of 20 steps for each photo and control. Both \
networks are held in memory.

{LETTERS} A checkpoint has no null models, so B is out of reach.""",
    ),
}
