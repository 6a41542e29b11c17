"""What every test shares: the recorded values of the original systems, how equal floats can be, and a fresh start."""

import json
import os
import shutil
import sys
from collections import Counter
from importlib.resources import files
from pathlib import Path

# before torch is imported: some virtual machines announce half-precision instructions that they do not have
os.environ.setdefault("ONEDNN_MAX_CPU_ISA", "AVX512_CORE")
os.environ.setdefault("OMP_NUM_THREADS", "1")  # tests run side by side
os.environ["HF_HUB_OFFLINE"] = "1"  # before transformers is imported: a missing path must fail at once

import numpy as np
import pytest
import torch
from chat_server import serve as serve  # a fixture
from torch import Tensor

from animatic.core.model_options import DEFAULT_MODEL

THREADS = torch.get_num_threads()
SECONDS = {"sweep": 0, "slow": 10, "browser": 3}  # of a test with a marker, roughly
GOLDEN = Path(__file__).parent / "golden"
WEIGHTS = files("animatic") / "weights"
MINI = json.loads((WEIGHTS / "mini" / "animatic.json").read_text())["geometry"]
UNNAMED = json.loads((WEIGHTS / DEFAULT_MODEL / "animatic.json").read_text())["geometry"]  # where no model is named
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
needs_browser = pytest.mark.skipif(not CHROMIUM, reason="no browser is installed; want Debian's chromium")
FIREFOX = next(filter(None, map(shutil.which, ("firefox-esr", "firefox"))), None)
needs_firefox = pytest.mark.skipif(not FIREFOX, reason="no Firefox is installed; want Debian's firefox-esr")


@pytest.hookimpl(tryfirst=True)
def pytest_addoption(parser) -> None:
    parser.addoption("--sweeps", action="store_true", help="also run what takes minutes: marked sweep")


def pytest_collection_modifyitems(config, items) -> None:
    if not config.getoption("--sweeps"):
        for item in items:
            if item.get_closest_marker("sweep"):
                item.add_marker(pytest.mark.skip(reason="takes minutes; want --sweeps"))

    # a long file that begins last leaves the other workers idle; of files that are as long the order stays random
    seconds = Counter()
    for item in items:
        known = (roughly for name, roughly in SECONDS.items() if item.get_closest_marker(name))
        seconds[item.path] += next(known, 0.02)
    items.sort(key=lambda item: -seconds[item.path])


def pytest_runtest_setup() -> None:
    """Every test draws the same numbers with as many threads, whatever ran before it."""
    torch.manual_seed(0)
    torch.set_num_threads(THREADS)


def pytest_terminal_summary(terminalreporter, config) -> None:
    """Says how to repeat the order, which `-q` leaves out."""
    seed = getattr(config.option, "randomly_seed", None)
    if seed is not None and not config.getoption("collectonly"):
        terminalreporter.write_line(f"random order; the same again: --randomly-seed={seed}")


def golden(name: str) -> dict:
    """A file of recorded values; `golden/README.md` says where they are from."""
    return json.loads((GOLDEN / name).read_text("utf-8"))


def close(found: Tensor, wanted: Tensor, eps: float = 32) -> bool:
    """Whether two tensors of floats differ by no more than `eps` roundings of the largest value.

    A sum taken in another order ends in other last bits: in other code, in a batch of another size, with weights that
    lie elsewhere in memory, with other instructions of the processor. One rounding is 1.2e-7 of the value in float32.
    One pass of a tiny network, or its gradient, came to 9 of them (AVX2, two threads), and a whole run of a few steps,
    whose guidance multiplies what differs, to 11: `RUN` is for those.
    """
    room = eps * torch.finfo(wanted.dtype).eps * wanted.abs().max()
    return found.shape == wanted.shape and bool((found - wanted).abs().max() <= room)


RUN = 128  # roundings that a run may add up to: 1.5e-5 of the largest value


def distance(found: dict[str, Tensor], wanted: dict[str, Tensor]) -> float:
    """How far two networks' weights are apart, as a share of their norm.

    For trained weights as a whole: Adam makes steps of full size of the least gradients, so last bits move a weight
    here and there by a whole step.
    """
    assert found.keys() == wanted.keys() and found
    off = sum(float((found[k] - wanted[k]).double().square().sum()) for k in wanted)
    return (off / sum(float(v.double().square().sum()) for v in wanted.values())) ** 0.5


def close_frames(found: np.ndarray, wanted: np.ndarray) -> bool:
    """Whether two videos are equal to one grey level of 255: last bits may round to the next one."""
    return found.shape == wanted.shape and bool(np.abs(found.astype(int) - wanted).max() <= 1)


class Altered:
    """A module of Python's with other functions, to be put where one module of ours imports it.

    In the module itself they would be everybody's: a clock that ends stops the loop of a server in another thread.
    """

    def __init__(self, module, **functions) -> None:
        self._module = module
        vars(self).update(functions)

    def __getattr__(self, name: str):
        return getattr(self._module, name)


@pytest.fixture
def package(tmp_path_factory, monkeypatch):
    """Installs a package: `package(name, code, {group: {name: attribute}})` is as pip would leave it on the path."""

    def install(name: str, code: str, points: dict[str, dict[str, str]]) -> None:
        site = tmp_path_factory.mktemp("site")
        (site / f"{name}.py").write_text(code)
        about = site / f"{name}-1.0.dist-info"
        about.mkdir()
        (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        lines = []
        for group, named in points.items():
            lines.append(f"[{group}]")
            lines += [f"{point} = {name}:{attribute}" for point, attribute in named.items()]
        (about / "entry_points.txt").write_text("\n".join(lines))
        monkeypatch.syspath_prepend(str(site))
        monkeypatch.delitem(sys.modules, name, raising=False)

    return install


@pytest.fixture
def quick_start(monkeypatch):
    """Codec and tokenizer of the toy world are fitted to a hundred frames and captions: thousands take seconds."""
    from animatic.toy import mini, train_decoder

    monkeypatch.setattr(train_decoder, "FITTED", 100)
    monkeypatch.setattr(mini, "CAPTIONS", 100)


@pytest.fixture
def here(tmp_path, monkeypatch, capsys):
    """The command line in this process, in a folder of its own: `(exit code, stdout, stderr)`."""
    from animatic.cli import main

    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as end:
            main(list(arguments))
        return (end.value.code, *capsys.readouterr())

    return run
