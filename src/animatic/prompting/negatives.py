"""Negative prompts of the original systems: the defaults that `--negative` replaces.

A model's own negative prompt is in its defaults (`ModelDefaults.negative`). That of a kind of run is appended, so that
LMD's negative prompt for an object is LMD, then LMD_OBJECT. A scene's own absent objects come before both.
"""

# LVD, prompt.py, negative_prompt: every run, the plain models' too
LVD = "dull, gray, unrealistic, colorless, blurry, low-quality, weird, abrupt"

# LVD, scripts/upsample.py, --negative_prompt: Zeroscope XL and SDXL's refiner
LVD_UPSAMPLING = (
    "dull, gray, unrealistic, colorless, drawing, painting, crayon, sketch, graphite, impressionist, noisy, blurry, "
    "soft, deformed, ugly"
)

# LMD, prompt.py, DEFAULT_OVERALL_NEGATIVE_PROMPT: LMD, LMD+, GLIGEN, BoxDiff, backward guidance, Stable Diffusion
LMD = (
    "artifacts, blurry, smooth texture, bad quality, distortions, unrealistic, distorted image, bad proportions, "
    "duplicate"
)

# LMD, prompt.py, DEFAULT_SO_NEGATIVE_PROMPT, what it has beyond the overall one: runs of single objects
LMD_OBJECT = "two, many, group, occlusion, occluded, side, border, collate"

# LMD, generation/multidiffusion.py, bg_negative and fg_negative_prompt, what they have beyond LMD's overall one
MULTIDIFFUSION_BACKGROUND = "headshot, close-up, partial, large, large, huge, gigantic"
MULTIDIFFUSION_OBJECT = f"{MULTIDIFFUSION_BACKGROUND}, cut-out, partial, occluded, weird"

# LMD, generation/sdxl_refinement.py, sdxl_negative_prompt: for --negative; the refiner's own words here are LVD's
LMD_REFINEMENT = "drawing, painting, crayon, sketch, graphite, impressionist, noisy, blurry, soft, deformed, ugly"

# LaVie, interpolation/configs/sample.yaml: the word "None" itself, and what is put after every prompt
LAVIE_INTERPOLATION = "None"
LAVIE_ENDING = ", 4k."

# LaVie, vsr/sample.py
LAVIE_UPSCALING = "blur, worst quality"

# diffusers' example of LTXPipeline
LTX = "worst quality, inconsistent motion, blurry, jittery, distorted"

# ruff: noqa: RUF001 - its commas are wide
# Wan 2.1 and 2.2, wan/configs/shared_config.py, sample_neg_prompt
WAN = (
    "色调艳丽，过曝，静态，细节模糊不清，字幕，风格，作品，画作，画面，静止，整体发灰，最差质量，低质量，JPEG压缩残留，丑陋的，残缺的，"
    "多余的手指，画得不好的手部，画得不好的脸部，畸形的，毁容的，形态畸形的肢体，手指融合，静止不动的画面，杂乱的背景，三条腿，"
    "背景人很多，倒着走"
)
