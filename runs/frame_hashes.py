"""Hashes of frames that a change of the code must not change: run it before and after, on one machine, and compare.

Every method on `mini`; a story, an edit, a finish chain; every kind of network of the tests, tiny, under one method of
its own. Frames are those of the command line, as PNG, whose bytes are the frames'.

    python runs/frame_hashes.py >before.txt      # then change the code
    python runs/frame_hashes.py | diff before.txt -
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch

from animatic import Scene, Track
from animatic.cli import main as animatic
from animatic.methods import METHODS
from animatic.scene import save_story
from animatic.video import Video

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

STEPS = "8"
LEFT, RIGHT = (0.05, 0.3, 0.45, 0.9), (0.55, 0.3, 0.95, 0.9)
BEAR = Scene("A bear and a ball", (Track("bear", (LEFT, RIGHT)), Track("ball", (RIGHT, LEFT))))
STILL = Scene("A bear and a ball", (Track("bear", (LEFT,)), Track("ball", (RIGHT,))), seconds=0)
STORY = (
    Scene("A bear walks to the right", (Track("bear", (LEFT, RIGHT)),)),
    Scene("A cat sits on grass", (Track("cat", (RIGHT,)),)),
)


def run(*words: str) -> None:
    """One command line, without what it says."""
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        try:
            animatic(list(words))
        except SystemExit as end:
            if end.code:
                raise RuntimeError(f"animatic {' '.join(words)}: exit {end.code}") from None


def digest(file: Path) -> str:
    return hashlib.sha256(Video.load(file).frames.tobytes()).hexdigest()[:16]


def commands(folder: Path) -> Iterator[tuple[str, Sequence[str]]]:
    """Name and command line of each result; `{name}` is written to FOLDER/NAME.png or .mkv."""
    for name, story in (("bear", (BEAR,)), ("still", (STILL,)), ("story", STORY)):
        save_story(story, folder / f"{name}.json")
    on_mini = ("--model", "mini")
    for method in METHODS:
        scene = "story" if method.startswith("ditctrl") else "still" if method.startswith(("lmd", "multi")) else "bear"
        if ":sam" in method or method in ("lmd:published", "lmd+:published"):
            continue  # wants weights that are not here
        yield f"mini-{method}", ("render", str(folder / f"{scene}.json"), *on_mini, "--method", method)
    yield "mini-edit", ("edit", str(folder / "mini-lvd.png"), "--swap", "bear=cat")
    yield (
        "mini-finish",
        ("render", str(folder / "bear.json"), *on_mini, "--method", "none", "--then", "motion:2,upscale:2"),
    )
    import tiny  # pyright: ignore[reportMissingImports] - tests are on the path by now

    kinds = {
        "image": lambda path: tiny.folder(path, tiny.unet2d()),
        "video": lambda path: tiny.folder(path, tiny.unet3d()),
        "cogvideox": tiny.cogvideox,
        "wan": tiny.wan,
    }
    for kind, build in kinds.items():
        torch.manual_seed(0)
        build(folder / kind)
        for method in ("none", "lvd", "layout-attention"):
            scene = "still" if kind == "image" else "bear"
            words = ("render", str(folder / f"{scene}.json"), "--model", str(folder / kind), "--method", method)
            yield f"{kind}-{method}", words


def main() -> None:
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as where:
        folder = Path(where)
        for name, words in commands(folder):
            is_edit = words[0] == "edit"
            options = () if is_edit else ("--steps", STEPS, "--seed", "1", "--name", name, "--format", "png")
            try:
                run(*words, *options, "--out", str(folder))
            except RuntimeError as error:
                print(f"{name:32} {str(error).replace(str(folder), '')[:60]}", flush=True)
                continue
            file = "mini-lvd.edit.mp4" if is_edit else f"{name}.png"
            print(f"{name:32} {digest(folder / file)}", flush=True)


if __name__ == "__main__":
    main()
