"""The page's files: each is served, as what it is, and each module's imports are there."""

import re
from pathlib import Path

import pytest
from starlette.testclient import TestClient

pytest.importorskip("gradio", reason="the studio's extra is not installed")

from animatic.studio.api import Api
from animatic.studio.server import build, page_files
from animatic.studio.work import Studio

PAGE = Path(build.__code__.co_filename).parent / "page"
MODULES = sorted(path.name for path in PAGE.glob("*.js"))
IMPORT = re.compile(r'^import \{([^}]*)\} from "\./([^"]+)";', re.MULTILINE)
EXPORT = re.compile(r"^export (?:async )?(?:function|const|class) ([\w$]+)", re.MULTILINE)


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    studio = Studio(tmp_path_factory.mktemp("page") / "studio", models=("mini",))
    with TestClient(build(Api(studio)), base_url="http://127.0.0.1") as client:
        yield client
    studio.close()


def test_every_file_of_the_page_is_served_as_what_it_is(client):
    assert len(page_files()) == len(list(PAGE.iterdir()))
    for path, (content, kind) in page_files().items():
        answer = client.get(path)
        assert answer.status_code == 200 and answer.content == content
        assert answer.headers["content-type"].split(";")[0] == kind
        assert "script-src 'self'" in answer.headers["content-security-policy"]


@pytest.mark.parametrize("name", MODULES)
def test_what_a_module_imports_is_exported(name):
    text = (PAGE / name).read_text()
    imports = IMPORT.findall(text)
    assert len(imports) == len(re.findall(r"^import ", text, re.MULTILINE))
    for names, file in imports:
        exported = EXPORT.findall((PAGE / file).read_text())
        for imported in names.split(","):
            assert imported.strip() in (*exported, ""), f"{name} wants {imported.strip()} of {file}"


@pytest.mark.parametrize("name", MODULES)
def test_a_module_has_one_idea(name):
    assert len((PAGE / name).read_text().splitlines()) <= 250
