"""What a command imports before it works: only what it needs."""

import gc
import inspect
import json
import subprocess
import sys
from functools import cache

import pytest

from animatic.cli.commands import BenchmarkCommands, Commands
from animatic.importing import collector_paused

HEAVY = {"torch", "diffusers", "transformers", "scipy", "peft", "accelerate", "fastapi", "ray", "pandas", "sklearn"}
PROGRAM = """
import atexit, json, sys
from animatic.cli import main
atexit.register(lambda: print(json.dumps(sorted(sys.modules)), file=sys.stderr))
main(json.loads(sys.argv[1]))
"""


@cache
def modules_after(*words: str) -> set[str]:
    """The modules that a command has imported when it ends."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, json.dumps(words)], capture_output=True, text=True, check=True
    )
    return set(json.loads(done.stderr.splitlines()[-1]))


MOST = {  # modules of Python itself, of libraries and of ours; some 5 % above what there are
    ("--help",): 365,
    ("--version",): 285,
    ("bench", "--help"): 470,
    ("plan", "A bear walks to the left"): 560,
    ("make", "--help"): 730,
    ("train", "--help"): 480,
    ("studio", "--help"): 650,
}


@pytest.mark.parametrize("words", MOST, ids=" ".join)
def test_no_network_no_torch(words: tuple[str, ...]):
    """`--help`, and planning by rules, begin without the libraries that networks need."""
    imported = modules_after(*words)
    assert not imported & HEAVY
    assert "animatic.cli" in imported
    assert len(imported) < MOST[words]


def test_a_model_imports_its_own_text_encoder_alone():
    """Reading `mini` imports no classes that other models have; some 3 % more modules than there are is the most."""
    program = (
        "import json, sys; from animatic.backbones import load; load('mini', 'cpu'); print(json.dumps([*sys.modules]))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    imported = set(json.loads(done.stdout.splitlines()[-1]))
    assert "transformers.models.clip.modeling_clip" in imported
    others = ("bert.modeling_bert", "t5.modeling_t5", "umt5.modeling_umt5", "qwen2_5_vl.modeling_qwen2_5_vl")
    assert not imported & {f"transformers.models.{name}" for name in others}
    assert "diffusers.pipelines.pipeline_utils" not in imported
    assert len(imported) < 3980


def test_list_of_commands_imports_none():
    """`--help` needs neither the planner nor the scene format, nor the libraries that these stand on."""
    imported = modules_after("--help")
    assert not imported & {"numpy", "pydantic", "PIL", "animatic.scene", "animatic.request", "animatic.cli.make"}


@pytest.mark.parametrize("group", [Commands, BenchmarkCommands])
def test_summaries_are_those_of_the_commands(group: type[Commands] | type[BenchmarkCommands]):
    for name, late in group.where.items():
        text = inspect.cleandoc(late.imported(name).callback.__doc__)
        assert text.split("\n\n")[0].replace("\n", " ") == late.summary, name


def test_package_alone_imports_nothing():
    """`import animatic` gives every name of `__all__`, and imports for each what that name needs."""
    program = (
        "import sys, animatic; print(len(sys.modules)); animatic.Scene, animatic.Video; print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    count, has_torch = done.stdout.split()
    assert int(count) < 150
    assert has_torch == "False"


def test_collector_as_before():
    """The garbage collector is on, or off, as before, and nothing stays frozen."""
    frozen = gc.get_freeze_count()
    with collector_paused():
        assert not gc.isenabled()
    assert gc.isenabled()
    assert gc.get_freeze_count() == frozen

    gc.disable()
    try:
        with collector_paused():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()


def test_collector_on_after_a_failed_import():
    with pytest.raises(ImportError), collector_paused():
        raise ImportError("no such library")
    assert gc.isenabled()
