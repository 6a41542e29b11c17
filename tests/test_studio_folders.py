"""Folders of the studio: created, renamed, filled, deleted and undone, kept on the disk and in projects, on the page too."""

import io
import json
import zipfile

import pytest

pytest.importorskip("gradio", reason="the studio's extra is not installed")

from test_studio_page import browser, page, server  # noqa: F401 - fixtures
from test_studio_queue import queued, until
from test_studio_takes_page import serious_violations

from conftest import needs_browser
from animatic.studio.api import Api
from animatic.studio.folders import FILE, MOST, Folders
from animatic.studio.log import DONE, Refused
from animatic.studio.work import Studio


@pytest.fixture(scope="module")
def studio(tmp_path_factory):
    studio = Studio(tmp_path_factory.mktemp("folders") / "studio")
    yield studio
    studio.close()


@pytest.fixture
def api(studio):
    api = Api(studio)
    for folder in api.folders()["folders"]:
        api.delete_folder(folder["name"])
    return api


@pytest.fixture(scope="module")
def jobs(studio):
    names = [queued(studio, seed=seed) for seed in range(2)]
    until(lambda: all(studio.log.get(name).state == DONE for name in names))
    return names


def shown(api: Api) -> dict[str, list[str]]:
    return {folder["name"]: folder["jobs"] for folder in api.folders()["folders"]}


def test_a_folder_from_first_to_last(api, studio, jobs):
    a, b = jobs
    api.create_folder(" Bears  at sea ", [a])
    api.create_folder("ants")
    assert shown(api) == {"ants": [], "Bears at sea": [a]}
    assert list(shown(api)) == ["ants", "Bears at sea"]

    # a job is in one folder
    api.put_in_folder([b, a], "ants")
    assert shown(api) == {"ants": [b, a], "Bears at sea": []}
    assert api.status(a)["folder"] == "ants"
    api.put_in_folder([b])
    found = {folder: [job["id"] for job in api.gallery(folder=folder)["jobs"]] for folder in (None, "", "ants")}
    assert found == {None: [b, a], "": [b], "ants": [a]}

    # renamed, deleted and brought back
    api.rename_folder("ants", "Ants")
    assert shown(api) == {"Ants": [a], "Bears at sea": []}
    gone = api.delete_folder("Ants")
    assert api.status(a)["folder"] == "" and api.gallery()["count"] == 2
    api.create_folder(**gone)
    assert shown(Api(studio)) == {"Ants": [a], "Bears at sea": []}  # read from the disk


def test_a_job_comes_back_from_the_trash_to_its_folder(api, studio):
    name = queued(studio)
    until(lambda: studio.log.get(name).state == DONE)
    api.create_folder("kept", [name])
    api.delete(name)
    assert shown(api) == {"kept": []}
    assert api.restore(name)["folder"] == "kept"
    api.delete(name)
    api.empty_trash()
    assert Folders(studio.log.folder).all() == {"kept": []}


def test_folders_go_out_and_in_with_a_project(api, jobs):
    a, b = jobs
    api.create_folder("bears", [a])
    api.create_folder("others", [b])
    stream = io.BytesIO()
    api.export_project([a], stream)
    index = json.loads(zipfile.ZipFile(stream).read("project.json"))
    assert index["folders"] == {"bears": [a]}
    api.rename_folder("bears", "mine")
    (new,) = api.import_project(stream)["jobs"]
    assert shown(api) == {"bears": [new], "mine": [a], "others": [b]}
    (second,) = api.import_project(stream)["jobs"]
    assert shown(api)["bears"] == [new, second]


@pytest.mark.parametrize("folders", [{"bears": ["stranger"]}, {"": []}, ["bears"], {" x": []}, {"a\x1b[0m": []}])
def test_folders_of_strangers(api, jobs, folders):
    stream, changed = io.BytesIO(), io.BytesIO()
    api.export_project(jobs[:1], stream)
    with zipfile.ZipFile(stream) as before, zipfile.ZipFile(changed, "w") as after:
        for name in before.namelist():
            content = before.read(name)
            if name == "project.json":
                content = json.dumps({**json.loads(content), "folders": folders}).encode()
            after.writestr(name, content)
    count = api.gallery()["count"]
    with pytest.raises(Refused, match="the file is no project|of the folder is|of the project is called"):
        api.import_project(changed)
    assert api.gallery()["count"] == count and shown(api) == {}


def test_what_cannot_be_is_one_line(api, jobs):
    api.create_folder("bears")
    with pytest.raises(Refused, match="there is a folder 'bears' already"):
        api.create_folder("bears")
    with pytest.raises(Refused, match="name of the folder is ''; want 1 to 80 letters"):
        api.create_folder("  ")
    with pytest.raises(Refused, match="no folder is called 'cats'"):
        api.put_in_folder(jobs, "cats")
    with pytest.raises(Refused, match="no folder is called 'cats'"):
        api.gallery(folder="cats")
    with pytest.raises(Refused, match="no job is called 'x'"):
        api.put_in_folder(["x"], "bears")
    api.create_folder("cats")
    with pytest.raises(Refused, match="there is a folder 'bears' already"):
        api.rename_folder("cats", "bears")
    for i in range(MOST - 2):
        api.create_folder(str(i))
    with pytest.raises(Refused, match=f"there are {MOST} folders"):
        api.create_folder("one more")


def test_damaged_folders_are_said_and_left_out(tmp_path):
    (tmp_path / FILE).write_text('{"version": 1, "folders": {"a": ["x"], "b": ["x"]}}')
    with pytest.warns(match="a job is in two folders"):
        assert Folders(tmp_path).all() == {}
