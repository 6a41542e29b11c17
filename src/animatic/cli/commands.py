"""Where each command is. Tests check that the summaries are those of the commands."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from .late import LateCommand, LateGroup


class Commands(LateGroup):
    """The commands of the program, in the order in which they are listed."""

    where: ClassVar[Mapping[str, LateCommand]] = {
        "plan": LateCommand("plan", "plan", "Plan a prompt: words to boxes in time."),
        "show": LateCommand("plan", "show", "Show a scene file: its words and boxes; with --draw, as a picture."),
        "import": LateCommand("plan", "import_", "Take over replies that LMD or LVD kept."),
        "export": LateCommand("exchange", "export", "Write a scene or story for other tools."),
        "import-boxes": LateCommand(
            "exchange", "import_boxes", "Make a scene of the boxes of a tracking or annotation tool."
        ),
        "train": LateCommand(
            "train",
            "train",
            "Train a video model from nothing, go on with one, or teach it by LoRA. Run it again to resume.",
        ),
        "convert": LateCommand(
            "train",
            "convert",
            "Make a checkpoint of another system a model folder that `render` and `train` read.",
        ),
        "edit": LateCommand(
            "edit",
            "edit",
            "Make a video again with words exchanged, added, or of more or less weight; what they do not name stays.",
        ),
        "card": LateCommand(
            "card",
            "card",
            "Write a model folder's card, animatic.json: its native size and how it is used, to be edited.",
        ),
        "rehearse": LateCommand(
            "rehearse",
            "rehearse",
            "Say whether a render fits this machine, and its memory, operations, time and download. Fetches nothing.",
        ),
        "studio": LateCommand(
            "studio",
            "studio",
            r"Open the studio: draw scenes in the browser and render them. Needs `pip install animatic\[studio]`.",
        ),
        "finish": LateCommand(
            "finish",
            "finish",
            "Finish a video file, stage by stage; results of stages are kept, so that running again goes on.",
        ),
        "make": LateCommand(
            "make",
            "make",
            "Plan a prompt, a list of them, or a story, and render it: video, scene and contact sheet.",
        ),
        "render": LateCommand(
            "make",
            "render",
            "Render a scene, story or request file, a video once more, or a list of prompts without any plan.",
        ),
        "models": LateCommand("listing", "models", "List the models known by name."),
        "methods": LateCommand(
            "listing",
            "methods",
            "List the methods known by name with their papers and repositories, or the settings of one.",
        ),
        "info": LateCommand("listing", "info", "Print what a result was made from."),
    }


class BenchmarkCommands(LateGroup):
    """The commands of `animatic bench`."""

    where: ClassVar[Mapping[str, LateCommand]] = {
        "score": LateCommand(
            "bench", "score", "Score what a run made, or kept replies. What failed, or cannot be read, is wrong."
        ),
        "plan": LateCommand("bench", "plan", "Plan every prompt with one planner or several, and score the scenes."),
        "generate": LateCommand(
            "runs",
            "generate",
            "Make a video of every prompt of a benchmark. Stop it as you like: the same command resumes.",
        ),
        "report": LateCommand(
            "runs",
            "report",
            "One page of tables, bars and contact sheets, and a markdown table, of one or more scored runs.",
        ),
    }
