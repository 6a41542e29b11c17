"""Who is let in to the studio, what a stranger's site can do, and what two studios or a full disk do to its jobs."""

import json
import os
import random
import signal
import socket
import subprocess
import sys
import time

import httpx
import pytest
from conftest import Altered

pytest.importorskip("gradio", reason="the studio's extra is not installed")

from animatic import Scene, Track
from animatic.errors import AnimaticError
from animatic.rendering import request_of
from animatic.studio import passwords, work
from animatic.studio.api import Api
from animatic.studio.job_request import JobRequest
from animatic.studio.log import DONE, WAITING, Log
from animatic.studio.passwords import Guard
from animatic.studio.server import check_port, serve
from animatic.studio.work import Studio

BEAR = Scene("A bear", (Track("bear", ((0.1, 0.1, 0.6, 0.6),)),))
ONE_FRAME = JobRequest(request_of((BEAR,), "mini", "none", 0, steps=1, frames=1)).to_dict()


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def basic(password):
    return httpx.BasicAuth("anybody", password)._auth_header


@pytest.fixture(scope="module")
def api(tmp_path_factory):
    api = Api(Studio(tmp_path_factory.mktemp("door") / "studio", models=("mini",)))
    yield api
    api.studio.close()


def ended(studio, name, state=DONE, seconds=60.0):
    end = time.monotonic() + seconds
    while studio.log.get(name).state != state and time.monotonic() < end:
        time.sleep(0.02)
    return studio.log.get(name).state == state


# ---- passwords


def test_guessing_becomes_slow(monkeypatch):
    """1,417 guesses a second were answered before; now some tries are free, then each costs twice the last."""
    now = [1000.0]
    monkeypatch.setattr(passwords, "time", Altered(time, monotonic=lambda: now[0]))
    guard = Guard("open sesame")
    tried = 0
    while now[0] < 1000 + 3600:
        if wait := guard.wait("10.0.0.9"):
            now[0] += wait
            continue
        assert not guard.lets_in("10.0.0.9", basic(f"guess {tried}"))
        tried += 1
    assert 15 < tried < 30, f"{tried} guesses in an hour"

    # others are not kept waiting, and the right one ends it
    assert guard.wait("10.0.0.8") == 0 and guard.lets_in("10.0.0.8", basic("open sesame"))
    now[0] += guard.wait("10.0.0.9")
    assert guard.lets_in("10.0.0.9", basic("open sesame")) and guard.wait("10.0.0.9") == 0


def test_what_was_wrong_long_ago_is_forgiven(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(passwords, "time", Altered(time, monotonic=lambda: now[0]))
    guard = Guard("x")
    for _ in range(50):
        guard.lets_in("a", basic("y"))
        now[0] += passwords.LONGEST_WAIT * 2
    assert guard.wait("a") == 0


def test_few_addresses_are_remembered(monkeypatch):
    monkeypatch.setattr(passwords, "ADDRESSES", 3)
    guard = Guard("x")
    for i in range(100):
        guard.lets_in(str(i), basic("y"))
    assert len(guard._wrong) == 3


def test_no_authorization_is_no_guess():
    guard = Guard("x")
    assert not any(guard.lets_in("a", "") for _ in range(100)) and guard.wait("a") == 0


def test_the_server_makes_guessers_wait(api):
    server = serve(api, port=free_port(), password="open sesame")
    try:
        answers = [httpx.get(server.url, auth=("", f"guess {i}")).status_code for i in range(8)]
        assert answers == [401] * 5 + [429] * 3
        assert "too many wrong passwords" in httpx.get(server.url, auth=("", "open sesame")).text
    finally:
        server.app.get_blocks().close(verbose=False)


# ---- other sites


def test_no_name_of_somebody_elses_leads_in(api):
    """A site whose name leads to this machine could render and read before, where the studio had no password."""
    server = serve(api, host="0.0.0.0", port=free_port())
    url = f"http://127.0.0.1:{server.url.rstrip('/').rpartition(':')[2]}/"
    try:
        own = socket.gethostname()
        for host, status in (
            ("evil.example", 403), ("evil.example:7860", 403), ("localhost.evil.example", 403), ("", 403),
            ("127.0.0.1", 200), ("192.168.1.7:7860", 200), ("[::1]:7860", 200), ("localhost", 200), (own, 200),
        ):  # fmt: skip
            assert httpx.get(url, headers={"host": host}).status_code == status, host
    finally:
        server.app.get_blocks().close(verbose=False)


def test_a_form_of_another_site_is_no_request(api):
    server = serve(api, port=free_port())
    try:
        body = json.dumps({})
        for kind, status in (
            ("application/json", 200), ("application/json; charset=utf-8", 200), ("text/plain", 415),
            ("application/x-www-form-urlencoded", 415), ("multipart/form-data; boundary=x", 415),
        ):  # fmt: skip
            answer = httpx.post(f"{server.url}api/options", content=body, headers={"content-type": kind})
            assert answer.status_code == status, kind
        headers = httpx.get(server.url).headers
        for part in ("object-src 'none'", "base-uri 'none'", "form-action 'self'", "frame-ancestors 'none'"):
            assert part in headers["content-security-policy"]
        assert headers["cross-origin-resource-policy"] == headers["cross-origin-opener-policy"] == "same-origin"
    finally:
        server.app.get_blocks().close(verbose=False)


def test_nobody_guesses_the_name_of_a_job(tmp_path):
    # the same folder, count and random numbers of a program: who knows them all knows no name
    tails = set()
    for i in range(2):
        random.seed(0)
        tails.add(Log(tmp_path / str(i)).add("render", ONE_FRAME).id[-16:])
    assert len(tails) == 2

    log = Log(tmp_path)
    names = [log.add("render", ONE_FRAME).id for _ in range(20)]
    assert len({name[-16:] for name in names}) == 20 and all(len(name) == 39 for name in names)


# ---- two studios, a full disk, an end from outside


def test_a_second_studio_leaves_the_folder_alone(tmp_path):
    """The second declared the first one's job failed, and did its waiting ones again."""
    first = Studio(tmp_path, models=("mini",))
    try:
        name = first.submit("render", ONE_FRAME).id
        with pytest.raises(AnimaticError, match="is in use by another studio; want another folder"):
            Studio(tmp_path, models=("mini",))
        assert ended(first, name)
    finally:
        first.close()
    Studio(tmp_path, models=("mini",)).close()


def test_a_studio_that_cannot_begin_lets_its_folder_go(tmp_path):
    with pytest.raises(AnimaticError, match="unknown model"):
        Studio(tmp_path, models=("no-such-model",))
    Studio(tmp_path, models=("mini",)).close()


def test_a_port_that_is_taken_is_found_first(here, tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(AnimaticError, match=f"port {port} of 127.0.0.1 cannot be opened"):
            check_port("127.0.0.1", port)
        code, _, error = here("studio", "--port", str(port), "--out", "log")
        assert code == 2 and "cannot be opened; want another --port" in error and not (tmp_path / "log").exists()
    check_port("127.0.0.1", port)


def test_a_full_disk_keeps_jobs_waiting(tmp_path, monkeypatch):
    """A job whose record could not be written waited until the server began again; now until there is room."""
    monkeypatch.setattr(work, "RETRY", 0.02)
    studio = Studio(tmp_path, models=("mini",))
    try:
        full = [True]
        write = Log._keep

        def keep(log, record):
            if full[0] and record.state != WAITING:
                raise AnimaticError("record.json: cannot be written (No space left on device)")
            return write(log, record)

        monkeypatch.setattr(Log, "_keep", keep)
        names = [studio.submit("render", ONE_FRAME).id for _ in range(2)]
        time.sleep(0.3)
        assert [studio.log.get(name).state for name in names] == [WAITING, WAITING]
        full[0] = False
        assert all(ended(studio, name) for name in names)
    finally:
        studio.close()


def test_a_full_disk_does_not_keep_a_studio_open(tmp_path, monkeypatch):
    monkeypatch.setattr(work, "RETRY", 0.02)
    studio = Studio(tmp_path, models=("mini",))
    name = studio.submit("render", ONE_FRAME).id
    assert ended(studio, name)

    def full(log, record):
        raise AnimaticError("record.json: cannot be written (No space left on device)")

    write = Log._keep
    monkeypatch.setattr(Log, "_keep", lambda log, r: write(log, r) if r.state == WAITING else full(log, r))
    waiting = studio.submit("render", ONE_FRAME).id
    studio.close()
    monkeypatch.undo()
    again = Studio(tmp_path, models=("mini",))  # the next one does it
    try:
        assert ended(again, waiting)
    finally:
        again.close()


@pytest.mark.slow("a process of its own loads everything before it answers")
def test_sigterm_ends_it_like_ctrl_c(tmp_path):
    """Services send it: the job at hand waits for the next server, and is not declared failed."""
    port = free_port()
    command = [sys.executable, "-m", "animatic", "studio", "--port", str(port), "--out", str(tmp_path / "log")]
    with (tmp_path / "said").open("w") as said, subprocess.Popen(command, stderr=said, stdout=said) as process:
        try:
            end = time.monotonic() + 120
            while f":{port}/" not in (tmp_path / "said").read_text() and time.monotonic() < end:
                time.sleep(0.1)
            scene = {"version": 1, "scenes": [json.loads(BEAR.to_json())]}
            words = {"scene": scene, "method": "none", "steps": 200, "frames": 8}
            name = httpx.post(f"http://127.0.0.1:{port}/api/render", json=words, timeout=60).json()["id"]
            while httpx.post(f"http://127.0.0.1:{port}/api/status", json={"id": name}).json()["state"] == WAITING:
                time.sleep(0.02)
            began = time.monotonic()
            process.send_signal(signal.SIGTERM)
            assert process.wait(60) == 128 + signal.SIGTERM
            assert time.monotonic() - began < 30
        finally:
            process.kill()
    assert (tmp_path / "said").read_text().splitlines()[-1] == "error: interrupted; nothing was left half-written"
    assert Log(tmp_path / "log").get(name).state == WAITING


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGTERM of its own")
def test_sigterm_is_left_as_it_was_found(here):
    before = signal.getsignal(signal.SIGTERM)
    assert here("methods")[0] == 0
    assert signal.getsignal(signal.SIGTERM) is before
