"""A list of prompts in, a video each out: what is there already stays, what fails does not hold up the others."""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import AnimaticError
from ..files import read_text
from .console import console, line

if TYPE_CHECKING:
    from ..core.backbone import Backbone
    from ..request import GenerationRequest
    from ..scene import Story

REQUESTED = "asked"  # in a file's metadata: the digest of the request as it was given, with what was left open


def write_prompts(
    prompts: list[str],
    plan: Callable[[str, Backbone], Story],
    write: Callable[[GenerationRequest, str, Backbone, dict[str, str]], None],
    request: GenerationRequest,
    out: Path,
    suffixes: list[str],
    repeats: int = 1,
    silent: bool = False,
) -> None:
    """Plan each prompt and `write` its video: request, name of the files in `out`, model, and marks of the file.

    Every prompt has the seed of the request, so that inserting one changes no other (in LVD and LMD, and in a run of a
    benchmark, the i-th has i more); its r-th repeat has 6789 r more, as there. A video that was made before of the same
    request and library versions is left as it is. Raises at the end where some could not be made; each reason is
    printed when it occurs.
    """
    from ..benchmarks.jobs import REPEAT
    from ..binding import load_model

    # once for all prompts
    with console(silent).status("loading"):
        model = load_model(request)
    failed = 0
    for prompt, name in zip(prompts, _names(prompts), strict=True):
        try:
            story = plan(prompt, model)
            for repeat in range(repeats):
                label = f"{name}-r{repeat + 1}" if repeat else name
                one = replace(request, story=story).with_sampling(seed=request.sampling.seed + REPEAT * repeat)
                digest = _digest(one)

                # made by an earlier call: this one resumes it
                if there := _made(out / label, suffixes, digest):
                    line(f"there  {there}", silent)
                else:
                    write(one, label, model, {REQUESTED: digest})
        except AnimaticError as error:
            failed += 1
            line(f"failed {prompt[:60]!r}: {error}", stderr=True)
    if failed:
        raise AnimaticError(f"{failed} of {len(prompts)} prompts were not made; the same command makes those alone")


def read_prompts(file: Path) -> list[str]:
    """The lines of a file that hold words."""
    lines = [line.strip() for line in read_text(file).splitlines() if line.strip()]
    if not lines:
        raise AnimaticError(f"{file}: holds no prompt; want one a line")
    return lines


def _names(prompts: list[str]) -> Iterator[str]:
    """A name for each, from its words; those that would be alike are numbered."""
    from .make import slug

    seen = Counter[str]()
    for name in map(slug, prompts):
        seen[name] += 1
        yield name if seen[name] == 1 else f"{name}-{seen[name]}"


def _digest(request: GenerationRequest) -> str:
    """Of all that decides a video, known before it is made."""
    from ..generation import versions

    # versions too: another one of torch or diffusers may give other frames
    content = json.dumps([request.to_dict(), versions()], sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()[:16]


def _made(target: Path, suffixes: list[str], digest: str) -> Path | None:
    """The first of the files, under this name or a numbered one, of the same request; None where one is missing."""
    # another request's video keeps its name, and this one's is numbered; the numbers have no gaps
    for number in count(1):
        name = target.name if number == 1 else f"{target.name}-{number}"
        files = [target.with_name(name + suffix) for suffix in suffixes]
        if not any(map(os.path.exists, files)):
            return None
        if all(_digest_of(file) == digest for file in files):
            return files[0]
    return None


def _digest_of(file: Path) -> str:
    from ..video import read_info

    try:
        return str(read_info(file).get(REQUESTED, ""))
    except AnimaticError:
        return ""  # not there, damaged, or not ours
