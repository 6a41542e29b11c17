"""What the guide shows runs, and what is generated is current."""

import os
import re
import runpy
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import tiny
from PIL import Image

import animatic
from animatic.cli import main

ROOT = Path(__file__).parents[1]
GUIDE = ROOT / "docs" / "guide"
PAGES = sorted(p.name for p in GUIDE.glob("*.md"))
HUB = "stable-diffusion-v1-5/stable-diffusion-v1-5"
ADDRESS = "http://127.0.0.1:7860"


def blocks(page: str, kind: str) -> list[str]:
    return re.findall(rf"```{kind}\n(.*?)```", (GUIDE / page).read_text("utf-8"), re.DOTALL)


@pytest.fixture(scope="module")
def studio(tmp_path_factory):
    pytest.importorskip("gradio", reason="the studio's extra is not installed")
    import socket

    from animatic.studio.api import Api
    from animatic.studio.server import serve
    from animatic.studio.work import Studio

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    running = serve(Api(Studio(tmp_path_factory.mktemp("studio"), models=("mini",))), port=port)
    yield running.url.rstrip("/")
    running.close()


@pytest.mark.parametrize("page", [p for p in PAGES if blocks(p, "python")])
def test_the_python_of_a_page_runs(page, tmp_path, monkeypatch, capsys, request):
    monkeypatch.chdir(tmp_path)
    names = {"__name__": page}  # a later block may go on with an earlier one's
    if page == "backbone.md":
        tiny.folder(tmp_path / "stable-diffusion", tiny.unet2d())
        tiny.motion_adapter(tmp_path / "motion-adapter")
    for code in blocks(page, "python"):
        if ADDRESS in code:
            code = code.replace(ADDRESS, request.getfixturevalue("studio"))
        if "wan2.2-5b" in code:  # which takes an image
            code = code.replace("wan2.2-5b", tiny.wan(tmp_path / "wan", each_token=True).as_posix())
            Image.new("RGB", (48, 32), "teal").save(tmp_path / "first.png")
        if HUB in code:  # the same classes at tiny size
            code = code.replace(HUB, str(tiny.folder(tmp_path / "sd", tiny.unet2d())))
        exec(compile(code, page, "exec"), names)
    said = capsys.readouterr().out
    if page == "control.md":
        plain, calmed = map(float, re.findall(r"[\d.]+", said))
        assert calmed < 0.8 * plain
    elif page == "method.md":
        assert said.startswith("lvd Energy(") and "\nsharp Energy(terms=Sum(" in said
    elif page == "backbone.md":
        assert "(16, 64, 64, 3) 4\n" in said and "(4, 32, 32, 3) [  0 128 128]" in said
    elif page == "planner.md":
        assert "[(0.0, 0.3, 0.5, 0.8), (0.5, 0.3, 1.0, 0.8)]" in said
    elif page == "benchmark.md":
        assert "total=4" in said
    elif page == "studio.md":
        assert said.startswith("done /made/")


@pytest.mark.parametrize("page", ["control.md", "method.md", "backbone.md", "planner.md", "benchmark.md"])
def test_an_example_to_start_from_has_less_than_40_lines(page):
    assert all(code.count("\n") < 40 for code in blocks(page, "python"))


def test_the_commands_of_the_first_page_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (script,) = blocks("index.md", "bash")
    for line in script.splitlines():
        with pytest.raises(SystemExit) as end:
            main(shlex.split(line)[1:])
        assert end.value.code == 0, line
    assert {"scene.json", "boxes.gif", "out"} <= {p.name for p in tmp_path.iterdir()}


@pytest.mark.skipif(not shutil.which("curl"), reason="curl is not installed")
def test_the_curl_example_runs(studio):
    (script,) = blocks("studio.md", "bash")
    paths = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    command = ["bash", "-euo", "pipefail", "-c", script.replace(ADDRESS, studio)]
    done = subprocess.run(command, env=paths, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count('"state":') == 2


def test_links_lead_somewhere():
    for page in [*GUIDE.glob("*.md"), *(ROOT / "docs").glob("*.md"), *ROOT.glob("*.md")]:
        for target in re.findall(r"\]\((?!http)([^)#]+)\)", page.read_text("utf-8")):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_references_are_current():
    pages = runpy.run_path(str(ROOT / "runs" / "reference.py"))
    for name in ("cli", "methods", "flags", "api"):
        assert (ROOT / "docs" / f"{name}.md").read_text("utf-8") == pages[name](), "run: python runs/reference.py"


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The built site, a folder."""
    pytest.importorskip("zensical", reason="the docs extra is not installed")
    pytest.importorskip("mkdocstrings_handlers.python", reason="the docs extra is not installed")
    folder = tmp_path_factory.mktemp("site")
    shutil.copytree(ROOT / "docs", folder / "docs")
    shutil.copy(ROOT / "zensical.toml", folder)
    (folder / "src").symlink_to(ROOT / "src")
    done = subprocess.run([sys.executable, "-m", "zensical", "build", "--strict"], cwd=folder, capture_output=True)
    assert done.returncode == 0, done.stdout.decode()
    return folder / "site"


def test_the_site_is_built_without_a_complaint(site):
    page = (site / "guide" / "index.html").read_text("utf-8")
    assert "fonts.googleapis" not in page and "Studio" in page


@pytest.mark.parametrize(
    "name",
    [
        *(f"animatic.{name}" for name in animatic.__all__ if name != "load"),
        "animatic.core.control.Control.condition",
        "animatic.core.backbone.Backbone.__call__",
        "animatic.controls.energy.Energy",
        "animatic.methods.method.Method",
        "animatic.backbones.load.load",
        "animatic.backbones.components.Components",
    ],
)
def test_the_api_reference_has_what_a_user_needs(site, name):
    assert f'id="{name}"' in (site / "api" / "index.html").read_text("utf-8")


def test_the_design_names_modules_that_are_there():
    page = (ROOT / "docs" / "design.md").read_text("utf-8")
    files = {p.name for p in (ROOT / "src" / "animatic").rglob("*.py")}
    assert set(re.findall(r"(\w+\.py)\b", page)) <= files
    packages = {p.name for p in (ROOT / "src" / "animatic").iterdir() if p.is_dir() and not p.name.startswith("_")}
    assert packages == set(re.findall(r"^  (\w+)/ ", page, re.MULTILINE))
