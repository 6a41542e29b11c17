"""The Python API writes nothing of its own to the terminal, and leaves the libraries' loudness as it was."""

import os
import subprocess
import sys
import warnings

import diffusers
import pytest
import tiny
import transformers
from test_determinism import latents

from animatic.backbones import load
from animatic.backbones.grounding import add_grounding
from animatic.cli import console
from animatic.errors import AnimaticWarning, warn
from animatic.quiet import quiet

LIBRARIES = (diffusers, transformers)
SCRIPT = """
import sys, warnings
import animatic
warnings.simplefilter("ignore", animatic.errors.AnimaticWarning)  # such as of how a folder without a card is used
scene = animatic.Scene("a cat", (animatic.Track("cat", ((0.0, 0.0, 0.5, 0.5),)),))
for where, method, frames, size in eval(sys.argv[1]):
    animatic.render(scene, animatic.load(where), method, steps=2, frames=frames, size=size)
"""


def gligen(path):
    """A UNet3D folder that reads boxes, its grounding in a folder beside."""
    unet = tiny.unet3d()
    add_grounding(unet)
    unet.register_to_config(use_gated_attention=True)
    return tiny.folder(path, unet)


@pytest.mark.slow("a process of its own that imports torch")
def test_nothing_is_written(tmp_path):
    """By a process that loads models, `mini` and folders of others, and renders a scene with each."""
    runs = [("mini", "lvd", 2, (64, 64))]
    runs.append((str(tiny.folder(tmp_path / "image", tiny.unet2d())), "none", 1, (64, 64)))
    runs.append((str(gligen(tmp_path / "gligen")), "gligen", 2, (64, 64)))
    runs.append((str(tiny.cogvideox(tmp_path / "cogvideox")), "none", 5, (48, 32)))
    runs.append((str(tiny.wan(tmp_path / "wan")), "none", 5, (48, 32)))
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    run = subprocess.run([sys.executable, "-c", SCRIPT, repr(runs)], capture_output=True, text=True, env=environment)
    assert run.returncode == 0, run.stderr
    assert run.stdout + run.stderr == ""


@pytest.mark.parametrize(
    "scheduler", ["EulerAncestralDiscreteScheduler", "LMSDiscreteScheduler", "DPMSolverSinglestepScheduler"]
)
def test_schedulers_warn_of_nothing(scheduler, tmp_path, caplog, capfd):
    """Of options that another scheduler does not take, and of scaling, which is done elsewhere here."""
    model = load(str(tiny.folder(tmp_path / "model", tiny.unet2d())))
    capfd.readouterr()
    latents(model, scheduler)
    out, err = capfd.readouterr()
    assert out + err + caplog.text == ""


def test_the_libraries_are_as_loud_as_before():
    before = [(each.utils.logging.get_verbosity(), each.utils.logging.is_progress_bar_enabled()) for each in LIBRARIES]
    try:
        for each in LIBRARIES:
            each.utils.logging.set_verbosity_info()
            each.utils.logging.enable_progress_bar()
        with quiet():
            assert not any(each.utils.logging.is_progress_bar_enabled() for each in LIBRARIES)
            assert all(each.utils.logging.get_verbosity() == each.utils.logging.ERROR for each in LIBRARIES)
        assert all(each.utils.logging.is_progress_bar_enabled() for each in LIBRARIES)
        assert all(each.utils.logging.get_verbosity() == each.utils.logging.INFO for each in LIBRARIES)
    finally:
        for each, (verbosity, bar) in zip(LIBRARIES, before, strict=True):
            each.utils.logging.set_verbosity(verbosity)
            if not bar:
                each.utils.logging.disable_progress_bar()


def test_the_command_line_says_our_warnings_as_single_lines(capfd):
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        with console.warnings_as_lines():
            warn("a prompt is told in chunks")
            warn("a prompt is told in chunks")
    assert capfd.readouterr().err == "note: a prompt is told in chunks\n" * 2


def test_a_warning_is_said_once():
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("default")
        for _ in range(3):
            warn("once")
    assert [(str(w.message), w.category) for w in said] == [("once", AnimaticWarning)]
