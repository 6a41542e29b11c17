"""Folders of the studio: created, renamed, filled, deleted and undone, kept on the disk and in projects."""

import io
import json
import zipfile

import pytest

pytest.importorskip("gradio", reason="the studio's extra is not installed")

from conftest import needs_browser
from test_studio_page import browser, page, server  # noqa: F401 - fixtures
from test_studio_queue import queued, until
from test_studio_takes_page import serious_violations

from animatic.studio.api import Api
from animatic.studio.folders import FILE, MOST, Folders
from animatic.studio.log import DONE, Refused
from animatic.studio.work import Studio


@pytest.fixture(scope="module")
def studio(tmp_path_factory):
    studio = Studio(tmp_path_factory.mktemp("folders") / "studio", models=("mini",))
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
    found = {}
    for folder in (None, "", "ants"):
        listed = [job["id"] for job in api.gallery(folder=folder)["jobs"]]
        found[folder] = [name for name in listed if name in jobs]  # other tests leave theirs
    assert found == {None: [b, a], "": [b], "ants": [a]}

    # renamed, deleted and brought back
    api.rename_folder("ants", "Ants")
    assert shown(api) == {"Ants": [a], "Bears at sea": []}
    count = api.gallery()["count"]
    gone = api.delete_folder("Ants")
    assert api.status(a)["folder"] == "" and api.gallery()["count"] == count
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
    with pytest.raises(Refused, match=r"the file is no project|of the folder is|of the project is called"):
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


# ---- on the page


@pytest.fixture
def cards(server, page):  # noqa: F811
    """The gallery with two videos."""
    studio = server.api.studio
    while len(studio.log.all()) < 2:
        queued(studio)
    until(lambda: all(record.state == DONE for record in studio.log.all()))
    page.click("#to-gallery")
    page.wait_for_selector("#cards li:nth-child(2)")
    return page


@pytest.mark.browser
@needs_browser
def test_folders_on_the_page(cards, tmp_path):
    page = cards  # noqa: F811
    expect = pytest.importorskip("playwright.sync_api").expect
    assert page.is_hidden("#folder-rename") and page.locator("#cards select:visible").count() == 0

    # a folder, and a card dragged into it, another put there by its menu
    page.fill("#folder-name", "bears")
    page.press("#folder-name", "Enter")
    page.wait_for_selector("#folders button:text('bears (0)')")
    first = page.locator("#cards li video").first
    first.wait_for()  # its cards are made anew
    picture = first.bounding_box()
    goal = page.locator("#folders [data-folder=bears]").bounding_box()
    page.mouse.move(picture["x"] + 20, picture["y"] + 20)
    page.mouse.down()
    page.mouse.move(goal["x"] + 10, goal["y"] + 10, steps=5)
    assert page.locator("#folders .target").inner_text() == "bears (0)"
    page.mouse.up()
    page.wait_for_selector("#folders button:text('bears (1)')")
    expect(page.locator("#cards select").first).to_have_value("bears")
    page.locator("#cards select").nth(1).select_option("bears")
    page.wait_for_selector("#folders button:text('bears (2)')")

    # filtered, renamed, exported
    page.locator("#cards select").first.select_option("")
    page.click("#folders button:text('bears (1)')")
    expect(page.locator("#cards li")).to_have_count(1)
    page.fill("#folder-name", "polar  bears ")
    page.click("#folder-rename")
    page.wait_for_selector('#folders [aria-pressed=true]:text("polar bears (1)")')
    with page.expect_download() as download:
        page.click("#folder-export")
    download.value.save_as(tmp_path / "folder.zip")
    index = json.loads(zipfile.ZipFile(tmp_path / "folder.zip").read("project.json"))
    assert list(index["folders"]) == ["polar bears"] and len(index["jobs"]) == 1
    assert serious_violations(page) == []

    # deleted and brought back
    page.click("#folder-delete")
    page.wait_for_selector("#folders button:text('polar bears')", state="hidden")
    expect(page.locator("#cards li")).to_have_count(2)
    page.click("#messages button:text('Undo')")
    page.wait_for_selector("#folders button:text('polar bears (1)')")
    page.click("#folders button:text('In no folder')")
    expect(page.locator("#cards li")).to_have_count(1)
