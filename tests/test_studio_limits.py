"""What one visitor cannot take from the others: connections, time, memory, and their jobs."""

import itertools
import json
import socket
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
import torch

pytest.importorskip("gradio", reason="the studio's extra is not installed")

from animatic import Scene, Track
from animatic import free_memory as machine
from animatic.backbones.components import Components
from animatic.rendering import request_of
from animatic.studio import memory
from animatic.studio.api import Api
from animatic.studio.connections import ConnectionLimits
from animatic.studio.job_request import JobRequest
from animatic.studio.log import DONE, FAILED, RUNNING, WAITING, Log, Refused
from animatic.studio.server import serve
from animatic.studio.work import Limits, Studio

BEAR = Scene("A bear", (Track("bear", ((0.1, 0.1, 0.6, 0.6),)),))


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture(scope="module")
def api(tmp_path_factory):
    api = Api(Studio(tmp_path_factory.mktemp("limits") / "studio", models=("mini",)))
    yield api
    api.studio.close()


class Door:
    """A server on loopback, and sockets that are opened to it."""

    def __init__(self, api, **limits):
        self.port = free_port()
        self.server = serve(api, port=self.port, connections=ConnectionLimits(**limits))
        self.opened = []

    def open(self, sent=b""):
        connection = socket.create_connection(("127.0.0.1", self.port), 10)
        self.opened.append(connection)
        connection.sendall(sent)
        return connection

    def get(self, **how):
        return httpx.get(self.server.url, timeout=10, **how)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for connection in self.opened:
            connection.close()
        self.server.app.get_blocks().close(verbose=False)


def ended_after(connection, keep_sending=b"", most=10.0):
    """Seconds until the server closes a connection, to which a byte is sent every tenth of a second."""
    began = time.monotonic()
    connection.settimeout(0.1)
    letters = itertools.cycle(keep_sending) if keep_sending else None
    while time.monotonic() - began < most:
        try:
            if letters:
                connection.sendall(bytes([next(letters)]))
            if connection.recv(1000) == b"":
                break
        except TimeoutError:
            continue
        except OSError:
            break
    return time.monotonic() - began


# ---- connections


def test_who_asks_nothing_or_slowly_is_cut_off(api):
    """400 of 400 half-open requests stood after a minute before, and needed no password."""
    with Door(api, request=1.0) as door:
        assert 0.5 < ended_after(door.open()) < 6  # nothing at all
        assert 0.5 < ended_after(door.open(b"GET / HTTP/1.1\r\nx: "), b"a") < 6  # a byte at a time

        # after an answer too: a byte ends the server's own wait for the next request
        host = f"host: 127.0.0.1:{door.port}\r\n".encode()
        connection = door.open(b"GET / HTTP/1.1\r\n" + host + b"\r\n")
        assert connection.recv(12) == b"HTTP/1.1 200"
        assert ended_after(connection, b"G") < 6


def test_a_body_must_come_in_time(api):
    with Door(api, body=0.5, request=1.0) as door:
        head = f"POST /api/options HTTP/1.1\r\nhost: 127.0.0.1:{door.port}\r\ncontent-length: 1000\r\n\r\n"
        connection = door.open(head.encode())
        connection.settimeout(10)
        assert connection.recv(12) == b"HTTP/1.1 408"
        assert ended_after(connection, b" ") < 6


def test_a_visitor_who_takes_no_answer_is_cut_off(api):
    with Door(api, stalled=0.5) as door:
        # as many answers as no buffer holds, of the largest file, none of them read
        ask = f"GET /strings.json HTTP/1.1\r\nhost: 127.0.0.1:{door.port}\r\n\r\n".encode()
        connection = door.open()
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.settimeout(20)
        was_cut_off = False
        end = time.monotonic() + 60
        while not was_cut_off and time.monotonic() < end:
            try:
                connection.sendall(ask * 100)
            except ConnectionError:
                was_cut_off = True
        assert was_cut_off
        assert door.get().status_code == 200


def test_many_connections_keep_nobody_out(api):
    """Where all places are taken, the one that has waited longest is closed."""
    with Door(api, most=10) as door:
        idle = [door.open() for _ in range(30)]
        assert door.get().status_code == 200
        time.sleep(0.2)
        closed = [ended_after(connection, most=0.3) < 0.25 for connection in idle]
        assert closed[:20] == [True] * 20 and sum(closed) < 25


def test_long_answers_are_not_cut_short(api):
    """Limits are of waiting visitors: an answer that takes its time is waited for."""
    entered = threading.Event()

    def slow():
        entered.set()
        time.sleep(1.5)
        return {}

    options, api.options = api.options, slow
    try:
        with Door(api, request=0.5, body=0.5, stalled=0.5) as door:
            answer = httpx.post(f"{door.server.url}api/options", json={}, timeout=10)
            assert entered.is_set() and answer.json() == {}
    finally:
        api.options = options


# ---- requests


def test_half_a_character_is_refused(api):
    """Each was an error of the server before, with a traceback in its log."""
    with Door(api) as door:
        scene = '{"prompt": "a \\ud800", "tracks": []}'
        for name, words in (
            ("plan", '{"prompt": "a bear \\ud800"}'), ("plan", '{"prompt": "a bear \\uDFFF"}'),
            ("check", f'{{"scene": {scene}}}'), ("render", f'{{"scene": {scene}}}'), ("plan", '{"\\udabc": 1}'),
        ):  # fmt: skip
            headers = {"content-type": "application/json"}
            answer = httpx.post(f"{door.server.url}api/{name}", content=words, headers=headers, timeout=30)
            assert answer.status_code == 400 and "half a character" in answer.json()["error"], words
        whole = httpx.post(f"{door.server.url}api/plan", content='{"prompt": "a bear \\ud83d\\ude00"}', headers=headers)
        assert whole.status_code == 200


def test_a_session_that_nobody_began_is_one_line(api, capfd):
    with Door(api) as door:
        answer = httpx.get(f"{door.server.url}gradio_api/queue/data?session_hash=x", timeout=10)
        assert answer.status_code == 404 and answer.json() == {"error": "no such session has begun"}
    assert "Traceback" not in capfd.readouterr().err


def test_one_address_does_not_take_all_threads(api):
    go_on = threading.Event()

    def slow():
        go_on.wait(30)
        return {}

    options, api.options = api.options, slow
    try:
        with Door(api) as door, ThreadPoolExecutor(20) as pool:

            def ask(address):
                headers = {"x-forwarded-for": address}  # as a proxy on this machine says it
                return httpx.post(f"{door.server.url}api/options", json={}, headers=headers, timeout=40).status_code

            asked = [pool.submit(ask, "10.0.0.9") for _ in range(20)]
            end = time.monotonic() + 25
            while len(done := [each for each in asked if each.done()]) < 4 and time.monotonic() < end:
                time.sleep(0.05)
            assert [each.result() for each in done] == [429] * 4

            # others are answered meanwhile
            other = pool.submit(ask, "10.0.0.8")
            assert door.get(headers={"x-forwarded-for": "10.0.0.8"}).status_code == 200
            go_on.set()
            assert other.result() == 200 and sorted(each.result() for each in asked) == [200] * 16 + [429] * 4
            assert ask("10.0.0.9") == 200
    finally:
        go_on.set()
        api.options = options


# ---- memory


def ended(studio, name, seconds=90.0):
    end = time.monotonic() + seconds
    while studio.log.get(name).state in (WAITING, RUNNING) and time.monotonic() < end:
        time.sleep(0.02)
    return studio.log.get(name)


def job(method="none", **words):
    words = {"steps": 1, "frames": 1, **words}
    return JobRequest(request_of((BEAR,), "mini", method, 0, **words))


def test_a_job_too_large_for_the_memory_is_refused_before_any_work(tmp_path):
    """1024 x 1024 x 32 under lvd is within every other limit, and took 11 GB and more."""
    studio = Studio(tmp_path, limits=Limits(memory=2.0), models=("mini",))
    try:
        large = job("lvd", frames=16, size=(512, 512))
        with pytest.raises(Refused, match=r"16 frames of 512x512 by lvd would take \d+\.\d GiB of memory"):
            studio.check(large)
        studio.check(job("lvd"))

        # the model may not have been there when it was requested: it is refused by the worker as well
        name = studio.submit("render", large.to_dict()).id
        record = ended(studio, name)
        assert record.state == FAILED and "GiB of memory" in record.message and record.seconds < 60
    finally:
        studio.close()


@pytest.mark.skipif(sys.platform != "linux" or torch.cuda.is_available(), reason="the limit is Linux's, of the CPU")
def test_a_job_that_dies_of_memory_dies_alone(tmp_path, monkeypatch):
    studio = Studio(tmp_path, limits=Limits(memory=0.5), models=("mini",))
    decode = Components.decode

    def greedy(model, latents):
        pieces = [torch.ones(2**28) for _ in range(8)]  # 1 GiB each
        return decode(model, latents) + pieces[0][0]

    try:
        with monkeypatch.context() as patched:
            patched.setattr(Components, "decode", greedy)
            record = ended(studio, studio.submit("render", job().to_dict()).id)
        assert record.state == FAILED and record.message.startswith("memory did not suffice")
        assert ended(studio, studio.submit("render", job().to_dict()).id).state == DONE
    finally:
        studio.close()


def test_a_containers_limit_counts(tmp_path, monkeypatch):
    before = memory.free_memory()
    monkeypatch.setattr(machine, "CGROUP", tmp_path)
    (tmp_path / "memory.max").write_text("3000000\n")
    (tmp_path / "memory.current").write_text("1000000\n")
    if not torch.cuda.is_available():
        assert memory.free_memory() == 2_000_000 < before
    (tmp_path / "memory.max").write_text("max\n")
    assert memory.free_memory() > 2_000_000


# ---- an end


def test_a_job_that_does_not_stop_keeps_no_studio_open(tmp_path, monkeypatch):
    """Ctrl-C waited for as long as an operation took; now twenty seconds, and the next server does the job."""
    entered, go_on = threading.Event(), threading.Event()
    decode = Components.decode

    def endless(model, latents):
        entered.set()
        go_on.wait(60)
        return decode(model, latents)

    monkeypatch.setattr(Components, "decode", endless)
    studio = Studio(tmp_path, models=("mini",))
    name = studio.submit("render", job().to_dict()).id
    assert entered.wait(60)
    began = time.monotonic()
    assert not studio.close(patience=0.2) and time.monotonic() - began < 5
    assert Log(tmp_path).get(name).state == WAITING
    go_on.set()


# ---- the page


def test_hosts_are_names_and_ports(api):
    with Door(api) as door:
        for host, status in (
            ("[::1]evil.example", 403), ("localhost:x.evil.example", 403), ("127.0.0.1:7860@evil.example", 403),
            ("[::1]", 200), ("[::1]:7860", 200), ("localhost:7860", 200),
        ):  # fmt: skip
            assert door.get(headers={"host": host}).status_code == status, host


def test_the_page_runs_nothing_but_its_own_script(api):
    with Door(api) as door:
        answer = door.get()
        policy = answer.headers["content-security-policy"].split("; ")
        assert {"default-src 'none'", "script-src 'self'", "style-src 'self'", "connect-src 'self'"} <= {*policy}
        assert "unsafe" not in answer.headers["content-security-policy"]
        assert {"require-trusted-types-for 'script'", "trusted-types 'none'"} <= {*policy}
        assert answer.headers["x-frame-options"] == "DENY" and "camera=()" in answer.headers["permissions-policy"]

        # refusals have the same headers
        refused = httpx.get(f"{door.server.url}nowhere")
        assert refused.status_code == 404 and refused.headers["content-security-policy"] == "; ".join(policy)
        assert json.loads(refused.text)["error"] == "there is no such page"
