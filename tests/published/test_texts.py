"""What models are told under `:published` is what the originals' own code told them, prompt by prompt."""

import hashlib
import json
from pathlib import Path

from conftest import golden

from animatic.backbones.lavie import CARDS
from animatic.backbones.presets import PRESETS
from animatic.planning.replies import read
from animatic.prompting.negatives import LMD_OBJECT, LMD_REFINEMENT, MULTIDIFFUSION_BACKGROUND, MULTIDIFFUSION_OBJECT
from animatic.prompting.styles import listing_objects_published, object_scene, with_background_published

HERE = Path(__file__).parent


def digest(*texts: str) -> str:
    return hashlib.sha256("\n".join(texts).encode()).hexdigest()[:12]


def recorded(name: str) -> list:
    """(prompt, first kept reply, digests of the original's texts) of a benchmark."""
    wanted = json.loads((HERE / f"{name}_texts.json").read_text("utf-8"))
    replies = golden(f"lmd_lvd/{name}_replies.json")
    assert wanted.keys() == {digest(prompt) for prompt in replies}
    return [(prompt, first, wanted[digest(prompt)]) for prompt, (first, *_) in replies.items()]


def test_lmds_texts():
    """All 250: of the whole, of each object alone, and both negative prompts (Stable Diffusion's words)."""
    habits, other = PRESETS["sd15"].defaults, []
    cases = recorded("lmd")
    for prompt, reply, want in cases:
        scene, _ = read(reply, legacy=True).scene(prompt, 0.0)
        told = listing_objects_published(scene)
        have = {
            "overall": digest(told.prompt),
            "objects": digest(*(object_scene(told, i).prompt for i in range(len(told.tracks)))),
            "phrases": digest(*dict.fromkeys(track.phrase for track in told.tracks)),
            "overall negative": digest(habits.negative_text(scene.negative)),
            "object negative": digest(habits.negative_text(scene.negative, LMD_OBJECT)),
        }
        other += [(prompt, told.prompt, key) for key in want if have[key] != want[key]]
    assert len(cases) == 250 and other == []


def test_lvds_texts():
    """All 184."""
    cases, other = recorded("lvd"), []
    for prompt, reply, want in cases:
        scene, _ = read(reply).scene(prompt)
        told = with_background_published(scene)
        if digest(told.prompt) != want:
            other.append((prompt, told.prompt))
    assert len(cases) == 184 and other == []


def test_negative_words():
    """As the originals' files have them: a model's own, then those of the kind of run."""
    lmd, lvd = PRESETS["sd15"].defaults, PRESETS["zeroscope"].defaults
    lavie, enlarged = CARDS["lavie-interpolation"]["defaults"], CARDS["lavie-vsr"]["defaults"]
    refined = PRESETS["zeroscope-xl"].defaults
    assert lmd and lvd and refined
    have = {
        "lvd": lvd.negative,
        "lvd upsampling": refined.negative,
        "lmd": lmd.negative,
        "lmd object": lmd.negative_text("", LMD_OBJECT),
        "multidiffusion background": lmd.negative_text("", MULTIDIFFUSION_BACKGROUND),
        "multidiffusion object": lmd.negative_text("", MULTIDIFFUSION_OBJECT),
        "lmd refinement": LMD_REFINEMENT,
        "lavie interpolation": lavie.negative,
        "lavie ending": lavie.prompt_suffix,
        "lavie upscaling": enlarged.negative,
    }
    assert {name: digest(words) for name, words in have.items()} == json.loads((HERE / "negatives.json").read_text())
