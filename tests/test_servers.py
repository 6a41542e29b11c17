"""Servers: with JSON schema, tools or neither, streamed or not, that reason; and those that mean harm, cut off."""

import asyncio
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import psutil
import pytest
from chat_server import GOOD, KEY, Handler

from animatic.errors import AnimaticError
from animatic.planning.planners import PlannerOptions, planner_named
from animatic.planning.server_protocol import ANSWER_FORMS, Answer, AnswerLimits, ServerFeatures


def stream(handler: Handler, *deltas: dict, finish: str = "stop", done: bool = True, pause: float = 0.0) -> None:
    """An event stream of pieces of a message, with keep-alive comments and the usage at the end."""
    handler.send_response(200)
    handler.send_header("Content-Type", "text/event-stream; charset=utf-8")
    handler.send_header("Connection", "close")
    handler.end_headers()
    for delta in deltas:
        chunk = {"choices": [{"index": 0, "delta": delta}]}
        handler.wfile.write(f": keep-alive\n\ndata: {json.dumps(chunk)}\n\n".encode())
        time.sleep(pause)
    last = {"choices": [{"index": 0, "delta": {}, "finish_reason": finish}]}
    usage = {"choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": 9}}
    for chunk in (last, usage):
        handler.wfile.write(f"data: {json.dumps(chunk)}\n\n".encode())
    if done:
        handler.wfile.write(b"data: [DONE]\n\n")
    handler.close_connection = True


def pieces(text: str, key: str = "content", size: int = 40) -> list[dict]:
    return [{key: text[i : i + size]} for i in range(0, len(text), size)]


@pytest.mark.parametrize("key", ["reasoning_content", "reasoning"])
@pytest.mark.parametrize("done", [True, False])
def test_a_streamed_answer_of_a_reasoning_model(key, done, serve):
    """What it thought, a draft in it included, is no part of the reply."""
    draft = GOOD.replace("bear", "cat")
    thought = [{"role": "assistant", "content": None}, *pieces(draft, key)]
    planner, server = serve(lambda handler, body: stream(handler, *thought, *pieces(GOOD), done=done, pause=0.02))
    seen = []
    planner.model.progress = seen.append
    planned = planner.plan("a bear")
    assert planned.reply == GOOD and planned.usage == {"asked": 7, "answered": 9}
    *counts, last = seen
    assert counts == sorted(counts) and 0 < counts[-1] <= len(draft) + len(GOOD) and last == 0
    assert server.asked[0]["stream"] and server.asked[0]["stream_options"] == {"include_usage": True}


def message(**parts):
    """A whole answer that is not streamed."""
    choice = {"index": 0, "message": {"role": "assistant", **parts}, "finish_reason": parts.pop("finish", "stop")}
    return lambda handler, body: handler.send(200, {"choices": [choice]})


@pytest.mark.parametrize(
    "parts",
    [
        {"content": GOOD, "reasoning_content": "a cat?"},
        {"content": f"<think>{GOOD.replace('bear', 'cat')}</think>{GOOD}"},
        {"content": None, "reasoning_content": GOOD},  # a parser of reasoning that took all
        {"content": [{"type": "thinking", "thinking": []}, {"type": "text", "text": GOOD}]},
        {"content": "", "tool_calls": [{"function": {"name": "scene", "arguments": GOOD}}]},
    ],
)
def test_where_the_answer_stands(parts, serve):
    planner, _ = serve(message(**parts))
    assert [track.phrase for track in planner.plan("a bear").scene.tracks] == ["bear"]


@pytest.mark.parametrize(
    ("parts", "reason"),
    [
        (
            {"content": None, "reasoning_content": GOOD, "finish": "length"},
            "characters of reasoning and no text, ended",
        ),
        ({"content": None, "refusal": "I will not"}, r"the model refuses \(I will not\)"),
        ({"content": None}, "holds no text"),
        ({"content": 5}, "cannot be read"),
    ],
)
def test_an_answer_without_a_scene(parts, reason, serve):
    planner, _ = serve(message(**parts))
    with pytest.raises(AnimaticError, match=reason):
        planner.plan("a bear")


def takes(form, handler, body):
    """A server that takes scenes in one form alone, and answers in it."""
    if "response_format" in body and form != "a JSON schema":
        handler.send(400, {"error": {"message": "'response_format' is unknown"}})
    elif "tools" in body and form != "tools":
        handler.send(422, {"error": {"message": "tool_choice: not implemented"}})
    elif "tools" in body:
        arguments = [{"tool_calls": [{"index": 0, "function": part}]} for part in pieces(GOOD, "arguments")]
        stream(handler, *arguments, finish="tool_calls")
    else:
        stream(handler, *pieces(GOOD))


@pytest.mark.parametrize("form", ANSWER_FORMS)
def test_forms_are_tried_in_order_and_remembered(form, serve):
    planner, server = serve(lambda handler, body: takes(form, handler, body))
    assert planner.plan("a bear").scene.tracks
    another = planner_named("openai:m", PlannerOptions(base_url=server.url))
    assert another.plan("a bear").scene.tracks

    # all were asked for once, the one that is taken twice
    count = ANSWER_FORMS.index(form)
    asked = [
        "a JSON schema" if "response_format" in b else "tools" if "tools" in b else "neither" for b in server.asked
    ]
    assert asked == [*ANSWER_FORMS[:count], form, form]
    if form == "tools":
        assert server.asked[-1]["tools"][0]["function"]["parameters"]["required"][0] == "reasoning"


def test_what_reasoning_models_refuse_is_left_out(serve):
    def picky(handler, body):
        if "max_tokens" in body:
            words = "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens'."
            handler.send(400, {"error": {"message": words}})
        elif "temperature" in body:
            handler.send(400, {"error": {"message": "'temperature' does not support 0.25, only the default (1)"}})
        elif "stream_options" in body:
            handler.send(422, {"error": {"message": "stream_options: extra inputs are not permitted"}})
        else:
            handler.say(GOOD)

    planner, server = serve(picky)
    assert planner.plan("a bear").scene.tracks and len(server.asked) == 4
    assert server.asked[-1]["max_completion_tokens"] == 4096 and "response_format" in server.asked[-1]


def test_a_refusal_of_something_else_is_no_reason_to_leave_things_out():
    body = {"max_tokens": 9, "temperature": 1.0, "response_format": {}}
    features = ServerFeatures()
    for words in ("max_tokens must be below 4", "the prompt is too long", "tools are not supported"):
        assert features.give_up(words, body) == ""
    assert features == ServerFeatures()


def test_inside_a_running_event_loop(serve):
    planner, _ = serve(GOOD)

    async def ask():
        return planner.plan("a bear")

    assert asyncio.run(ask()).scene.tracks


def endless_events(handler, body):
    handler.send_response(200)
    handler.send_header("Content-Type", "text/event-stream")
    handler.end_headers()
    event = b'data: {"choices": [{"index": 0, "delta": {"content": "' + b"a" * 2000 + b'"}}]}\n\n'
    while True:
        handler.wfile.write(event)


def endless_lines(handler, body):
    handler.send_response(200)
    handler.send_header("Content-Type", "text/event-stream")
    handler.end_headers()
    while True:
        handler.wfile.write(b":\n" * 20_000)


def endless_line(handler, body):
    handler.send_response(200)
    handler.send_header("Content-Type", "text/event-stream")
    handler.end_headers()
    while True:
        handler.wfile.write(b"data: " + b"a" * 60_000)


def drip(head: bytes, handler, body):
    """A byte at a time, for a minute."""
    handler.wfile.write(head)
    handler.wfile.flush()
    for _ in range(1200):
        handler.wfile.write(b" ")
        handler.wfile.flush()
        time.sleep(0.05)


HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"


def large(handler, body, status=200, length=True):
    """A body of 300 MB, announced or not."""
    handler.send_response(status)
    handler.send_header("Content-Type", "application/json")
    if length:
        handler.send_header("Content-Length", str(300 * 2**20))
    else:
        handler.send_header("Connection", "close")
    handler.end_headers()
    for _ in range(300):
        handler.wfile.write(b"a" * 2**20)


def bomb(handler, body):
    """300 MB in a compressed body of 300 kB."""
    import gzip

    handler.send(200, gzip.compress(b"a" * 300 * 2**20, 9), Content_Encoding="gzip")


HOSTILE = {
    "events": (endless_events, "want at most"),
    "lines": (endless_lines, "want at most|no whole answer"),  # a slow processor reads them for 3 s
    "one line": (endless_line, "want at most"),
    "drip of a head": (lambda h, b: drip(HEAD + b"X: ", h, b), "no whole answer in 3 s"),
    "drip of a body": (lambda h, b: drip(HEAD + b"Content-Length: 99999\r\n\r\n", h, b), "drips: "),
    "drip of events": (lambda h, b: drip(HEAD.replace(b"json", b"event-stream") + b"\r\n", h, b), "drips: "),
    "large": (large, "want at most"),
    "large, not announced": (lambda h, b: large(h, b, length=False), "want at most"),
    "large error": (lambda h, b: large(h, b, 500, length=False), "want at most"),
    "bomb": (bomb, "compresses its answer"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_server_is_cut_off(name, serve):
    step, reason = HOSTILE[name]

    def quiet(handler, body):
        try:
            step(handler, body)
        except OSError:  # cut off
            handler.close_connection = True

    # a busy machine may take seconds to make the bomb, and to read the drops after which an answer drips
    slow = name == "bomb" or reason == "drips: "
    planner, _ = serve(quiet, timeout=12 if slow else 3)
    planner.model.limits = AnswerLimits(stall=1.0)
    process = psutil.Process()
    before = process.memory_info().rss
    largest = [before]
    over = threading.Event()
    threading.Thread(target=watch, args=(process, largest, over), daemon=True).start()
    started = time.monotonic()
    try:
        with pytest.raises(AnimaticError, match=reason) as error:
            planner.plan("a bear")
    finally:
        over.set()
    taken = time.monotonic() - started
    assert taken < 15 and "\n" not in str(error.value) and KEY not in str(error.value)
    grown = (largest[0] - before) / 2**20
    assert name == "bomb" or grown < 200, f"{grown:.0f} MB"  # of the bomb the server itself makes 300 MB


def watch(process, largest, over):
    """Keep the largest resident size of the process."""
    while not over.wait(0.02):
        largest[0] = max(largest[0], process.memory_info().rss)


class Elsewhere(BaseHTTPRequestHandler):
    """Another host, which should never be asked."""

    def do_POST(self):
        self.server.asked.append(dict(self.headers))
        self.send_response(500)
        self.end_headers()

    do_GET = do_POST

    def log_message(self, *_):
        pass


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_no_redirect_is_followed(status, serve):
    """Neither to another port nor on the same server: a key is given to the server that was named."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Elsewhere) as other:
        other.asked = []
        threading.Thread(target=other.serve_forever, args=(0.05,), daemon=True).start()
        goal = f"http://127.0.0.1:{other.server_address[1]}/v1/chat/completions"
        planner, server = serve(lambda handler, body: handler.send(status, b"", Location=goal))
        with pytest.raises(AnimaticError, match=f"redirects to {goal}, which is not followed"):
            planner.plan("a bear")
        other.shutdown()
        assert not other.asked and len(server.asked) == 1


def test_an_error_in_a_stream_is_the_reason(serve):
    def fails(handler, body):
        handler.send_response(200)
        handler.send_header("Content-Type", "text/event-stream")
        handler.send_header("Connection", "close")
        handler.end_headers()
        handler.wfile.write(b'data: {"error": {"message": "out of memory, key ' + KEY.encode() + b'"}}\n\n')
        handler.close_connection = True

    planner, _ = serve(fails)
    with pytest.raises(AnimaticError, match="is an error") as error:
        planner.plan("a bear")
    assert KEY not in str(error.value)


def test_an_answer_is_the_same_whole_or_in_pieces():
    whole, streamed = Answer(), Answer()
    whole.add(json.dumps({"choices": [{"message": {"content": GOOD}, "finish_reason": "stop"}]}))
    for delta in pieces(GOOD, size=7):
        assert streamed.add_line("data: " + json.dumps({"choices": [{"delta": delta}]}))
    assert streamed.add_line(": a comment") and streamed.add_line("") and not streamed.add_line("data: [DONE]")
    assert whole.reply() == streamed.reply() and whole.reply().text == GOOD
