"""Visitors of a studio with a password: each browser has jobs of its own, which no other one sees or changes."""

import io
import os
import time
import zipfile

import httpx
import pytest

pytest.importorskip("gradio", reason="the studio's extra is not installed")

from studio_server import PASSWORD, SCENE, ask, rendered, served, visitor

from animatic.rendering import request_of
from animatic.studio.job_request import JobRequest
from animatic.studio.limits import Limits
from animatic.studio.log import DONE, RUNNING, Refused
from animatic.studio.visitors import COOKIE, session_in
from animatic.studio.work import Studio

LIMITS = Limits(waiting=6)
ONE_FRAME = JobRequest(request_of((SCENE,), "mini", "none", 0, steps=1, frames=1)).to_dict()


@pytest.fixture(scope="module")
def house(tmp_path_factory):
    """(server, Anna, Bob); Anna has a job."""
    server = served(tmp_path_factory.mktemp("visitors") / "studio", LIMITS, password=PASSWORD)
    with visitor(server) as anna, visitor(server) as bob:
        yield server, anna, bob, rendered(anna)
    server.close()


def test_a_session_is_a_cookie_that_scripts_and_other_sites_do_not_reach(house):
    server, *_ = house
    with visitor(server) as fresh:
        # a page opened by a link of another site comes without its cookie, which must not be replaced
        assert "set-cookie" not in fresh.get("/").headers
        given = fresh.post("/api/queue", json={}).headers["set-cookie"]
        assert {"HttpOnly", "SameSite=Strict", "Path=/"} <= set(given.split("; ")) and "Secure" not in given
        assert "set-cookie" not in fresh.post("/api/queue", json={}).headers
        through_tls = httpx.post(
            f"{server.url}api/queue", json={}, auth=("", PASSWORD), headers={"x-forwarded-proto": "https"}
        )
        assert "Secure" in through_tls.headers["set-cookie"].split("; ")
    refused = httpx.post(f"{server.url}api/queue", json={})
    assert refused.status_code == 401 and "set-cookie" not in refused.headers
    assert not any(session_in(f"{COOKIE}={text}") for text in ("", "x", "x" * 44, "../" * 14, "é" * 43))
    assert session_in(f"a=b; {COOKIE}={'x' * 43}; c=d") == "x" * 43


def test_another_visitor_sees_nothing_of_a_job(house):
    _, anna, bob, job = house
    assert [each["id"] for each in ask(anna, "gallery")["jobs"]] == [job["id"]]
    assert ask(bob, "gallery") == {"count": 0, "jobs": []} and ask(bob, "queue") == {"jobs": []}
    for kind in ("mp4", "mkv"):
        assert anna.get(job["files"][0].get(kind, job["files"][0]["mp4"])).status_code == 200
    unknown = job["id"][:-4] + "0000"
    for path in (job["files"][0]["mp4"], f"/preview/{job['id']}", f"/project/{job['id']}"):
        answer, made_up = bob.get(path), bob.get(path.replace(job["id"], unknown))
        assert answer.status_code == made_up.status_code == 404, path
        assert answer.text.replace(job["id"], "") == made_up.text.replace(unknown, ""), "it tells that there is one"


@pytest.mark.parametrize(
    ("endpoint", "words"),
    [
        ("status", {}), ("cancel", {}), ("delete", {}), ("delete", {"take": 0}), ("restore", {}), ("more", {}),
        ("mark", {"favourite": True}), ("move", {"place": 1}), ("edit", {"prompt": "A cat"}),
        ("finish", {"then": "lanczos:2"}),
    ],
)  # fmt: skip
def test_another_visitor_changes_nothing_of_a_job(house, endpoint, words):
    _, anna, bob, job = house
    answer = bob.post(f"/api/{endpoint}", json={"id": job["id"], **words})
    assert answer.status_code == 404, answer.text
    assert ask(anna, "status", id=job["id"]) == job


def test_no_endpoint_answers_another_visitor(house):
    """Whatever takes the name of a job is in the list above, or answers 404 here: new endpoints too."""
    from animatic.studio.api import ENDPOINTS

    _, anna, bob, job = house
    before = ask(anna, "gallery")
    for endpoint in ENDPOINTS:
        for words in ({}, {"id": job["id"]}, {"jobs": [job["id"]]}, {"folder": "x", "jobs": [job["id"]]}):
            answer = bob.post(f"/api/{endpoint}", json=words).text
            for quoted in (f"called '{job['id']}'", f"found '{job['id']}'"):  # what bob wrote himself
                answer = answer.replace(quoted, "")
            assert job["id"] not in answer
    assert ask(anna, "gallery") == before


def test_what_is_in_the_trash_is_ones_own(house):
    _, anna, bob, _ = house
    job = rendered(anna, seed=5)["id"]
    ask(anna, "delete", id=job)
    assert ask(bob, "trash") == {"jobs": []} and ask(bob, "empty_trash") == {"count": 0}
    assert bob.post("/api/restore", json={"id": job}).status_code == 404
    assert ask(anna, "trash") == {"jobs": [job]}
    assert ask(anna, "restore", id=job)["state"] == DONE
    ask(anna, "delete", id=job)
    assert ask(anna, "empty_trash") == {"count": 1}


def test_a_project_goes_from_one_visitor_to_another_as_a_file(house):
    _, anna, bob, job = house
    project = anna.get(f"/project/{job['id']}").content
    assert zipfile.ZipFile(io.BytesIO(project)).namelist()
    answer = bob.post("/project", content=project, headers={"content-type": "application/zip"})
    assert answer.status_code == 200, answer.text
    (copied,) = answer.json()["jobs"]
    assert copied != job["id"] and [each["id"] for each in ask(bob, "gallery")["jobs"]] == [copied]
    assert anna.post("/api/status", json={"id": copied}).status_code == 404
    ask(bob, "delete", id=copied)
    ask(bob, "empty_trash")


def test_gradios_clients_have_sessions_too(house):
    from gradio_client import Client

    server, anna, _, job = house
    authorization = httpx.BasicAuth("", PASSWORD)._auth_header
    cookie = f"{COOKIE}={anna.cookies[COOKIE]}"
    own = Client(server.url, headers={"Authorization": authorization, "Cookie": cookie}, verbose=False)
    other = Client(server.url, headers={"Authorization": authorization}, verbose=False)
    assert own.predict(id=job["id"], api_name="/status")["state"] == DONE
    with pytest.raises(Exception, match="no job is called"):
        other.predict(id=job["id"], api_name="/status")


def test_a_restart_keeps_what_is_whose(tmp_path):
    server = served(tmp_path / "studio", LIMITS, password=PASSWORD)
    with visitor(server) as anna:
        job = rendered(anna)
        cookies = dict(anna.cookies)
    server.close()
    kept = b"".join(p.read_bytes() for p in (tmp_path / "studio").rglob("*") if p.is_file() and p.suffix == ".json")
    assert cookies[COOKIE].encode() not in kept, "who reads the disk could take the session over"
    assert not any(cookies[COOKIE] in str(path) for path in (tmp_path / "studio").rglob("*"))

    again = served(tmp_path / "studio", LIMITS, password=PASSWORD)
    try:
        with visitor(again, cookies=cookies) as anna, visitor(again) as bob:
            assert [each["id"] for each in ask(anna, "gallery")["jobs"]] == [job["id"]]
            assert ask(bob, "gallery")["count"] == 0
    finally:
        again.close()


def test_visitors_without_a_job_leave_nothing(tmp_path):
    server = served(tmp_path / "studio", LIMITS, password=PASSWORD)
    try:
        for _ in range(20):
            with visitor(server) as fresh:
                ask(fresh, "gallery")
                ask(fresh, "queue")
        assert not (tmp_path / "studio" / "visitors").exists() and len(server.api.studio.studios) == 1
    finally:
        server.close()


@pytest.mark.parametrize("options", [{}, {"password": PASSWORD, "shared": True}])
def test_one_gallery_where_nothing_is_to_be_kept_apart(tmp_path, options):
    """Without a password, and where it is wanted, everything is as it was."""
    server = served(tmp_path / "studio", LIMITS, **options)
    try:
        with visitor(server) as anna, visitor(server) as bob:
            job = rendered(anna)["id"]
            assert [each["id"] for each in ask(bob, "gallery")["jobs"]] == [job] and not bob.cookies
            ask(bob, "delete", id=job)
            assert ask(anna, "trash") == {"jobs": [job]}
            assert (tmp_path / "studio" / "trash" / job).exists()
    finally:
        server.close()


# ---- the queue of all


@pytest.fixture
def held(tmp_path, monkeypatch):
    """A studio whose worker takes up nothing, and the studios of two of its visitors."""
    monkeypatch.setattr(Studio, "_work_on_next", lambda studio: None)
    studio = Studio(tmp_path / "studio", limits=LIMITS, models=("mini",))
    yield studio, studio.of_visitor("anna", True), studio.of_visitor("bob", True)
    studio.close()


def test_no_visitor_takes_all_places_of_the_queue(held):
    _, anna, bob = held
    for _ in range(3):
        anna.submit("render", ONE_FRAME)
    with pytest.raises(Refused, match="3 jobs of yours wait already; at most 3 of one visitor may"):
        anna.submit("render", ONE_FRAME)
    for _ in range(3):
        bob.submit("render", ONE_FRAME)
    with pytest.raises(Refused, match="6 jobs wait already"):
        bob.submit("render", ONE_FRAME)


def test_who_puts_a_job_first_passes_only_ones_own(held):
    _, anna, bob = held
    first, theirs, last = (studio.submit("render", ONE_FRAME).id for studio in (anna, bob, anna))

    def places():
        return [anna.status(first)["place"], bob.status(theirs)["place"], anna.status(last)["place"]]

    assert places() == [1, 2, 3]
    anna.move(last, 1)
    assert places() == [3, 2, 1] and [each["id"] for each in anna.queue()] == [last, first]
    with pytest.raises(Refused, match="no job is called"):
        bob.move(last, 1)


def test_jobs_of_visitors_that_waited_are_done_after_a_restart(tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(Studio, "_work_on_next", lambda studio: None)
        studio = Studio(tmp_path / "studio", models=("mini",))
        jobs = [(name, studio.of_visitor(name, True).submit("render", ONE_FRAME).id) for name in ("anna", "bob")]
        studio.of_visitor("bob").log.change(jobs[1][1], state=RUNNING)  # what a killed server leaves
        studio.close()
    again = Studio(tmp_path / "studio", models=("mini",))
    try:
        anna, bob = again.of_visitor("anna"), again.of_visitor("bob")
        assert bob.status(jobs[1][1])["message"] == "the server stopped in the middle; render it again"
        end = time.monotonic() + 60
        while anna.log.get(jobs[0][1]).state != DONE and time.monotonic() < end:
            time.sleep(0.02)
        assert anna.log.get(jobs[0][1]).state == DONE
        assert os.listdir(tmp_path / "studio" / "visitors" / "anna") == [jobs[0][1]]
    finally:
        again.close()
