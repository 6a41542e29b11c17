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

from animatic.cli import main

ROOT = Path(__file__).parents[1]
GUIDE = ROOT / "docs" / "guide"
PAGES = sorted(p.name for p in GUIDE.glob("*.md"))
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
    running = serve(Api(Studio(tmp_path_factory.mktemp("studio"))), port=port)
    yield running.url.rstrip("/")
    running.close()


@pytest.mark.parametrize("page", [p for p in PAGES if blocks(p, "python")])
def test_the_python_of_a_page_runs(page, tmp_path, monkeypatch, capsys, request):
    monkeypatch.chdir(tmp_path)
    for code in blocks(page, "python"):
        if ADDRESS in code:
            code = code.replace(ADDRESS, request.getfixturevalue("studio"))
        exec(compile(code, page, "exec"), {"__name__": page})
    said = capsys.readouterr().out
    if page == "control.md":
        plain, calmed = map(float, re.findall(r"[\d.]+", said))
        assert calmed < 0.8 * plain
    elif page == "backbone.md":
        assert "(4, 32, 32, 3) [  0 128 128]" in said
    elif page == "planner.md":
        assert "[(0.0, 0.3, 0.5, 0.8), (0.5, 0.3, 1.0, 0.8)]" in said
    elif page == "benchmark.md":
        assert "total=4" in said
    elif page == "studio.md":
        assert said.startswith("done /made/")


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
    for page in [*GUIDE.glob("*.md"), ROOT / "README.md"]:
        for target in re.findall(r"\]\((?!http)([^)#]+)\)", page.read_text("utf-8")):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_references_are_current():
    pages = runpy.run_path(str(ROOT / "runs" / "reference.py"))
    for name in ("cli", "methods", "flags"):
        assert (ROOT / "docs" / f"{name}.md").read_text("utf-8") == pages[name](), "run: python runs/reference.py"


def test_the_site_is_built_without_a_complaint(tmp_path):
    pytest.importorskip("zensical", reason="zensical is not installed")
    shutil.copytree(ROOT / "docs", tmp_path / "docs")
    shutil.copy(ROOT / "zensical.toml", tmp_path)
    done = subprocess.run([sys.executable, "-m", "zensical", "build", "--strict"], cwd=tmp_path, capture_output=True)
    assert done.returncode == 0, done.stdout.decode()
    page = (tmp_path / "site" / "guide" / "index.html").read_text("utf-8")
    assert "fonts.googleapis" not in page and "Studio" in page
