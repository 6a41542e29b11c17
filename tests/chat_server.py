"""A real HTTP server that speaks the OpenAI protocol, well and badly, as a script says."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from animatic.planning.planners import PlannerOptions, planner_named
from animatic.planning.server_protocol import features_of

KEY = "sk-secret-0123456789"
GOOD = json.dumps(
    {
        "reasoning": "it walks",
        "background": "forest",
        "negative": "",
        "tracks": [{"phrase": "bear", "boxes": [[i / 10, 0.4, i / 10 + 0.3, 0.8] for i in range(6)]}],
    }
)


class Chat(ThreadingHTTPServer):
    """Answers chats, and texts to be continued, with what `script` says: a reply, or a callable that handles it."""

    def __init__(self, *script):
        super().__init__(("127.0.0.1", 0), Handler)
        self.script, self.asked, self.lock = list(script), [], threading.Lock()
        self.daemon_threads = True

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_address[1]}/v1"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with self.server.lock:
            self.server.asked.append(body)
            step = self.server.script.pop(0) if len(self.server.script) > 1 else self.server.script[0]
        step(self, body) if callable(step) else self.say(step)

    def say(self, text):
        message = {"message": {"role": "assistant", "content": text}}
        message = {"text": text} if self.path.endswith("/v1/completions") else message
        usage = {"prompt_tokens": 100, "completion_tokens": 50, "total_tokens": 150}
        choice = {"index": 0, **message, "finish_reason": "stop"}
        self.send(
            200,
            {"id": "1", "object": "chat.completion", "created": 0, "model": "m", "choices": [choice], "usage": usage},
        )

    def send(self, status, data, **headers):
        raw = data if isinstance(data, bytes) else json.dumps(data).encode()
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", "Content-Length": str(len(raw)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(raw)

    def log_message(self, *_):
        pass


@pytest.fixture
def serve(monkeypatch, tmp_path):
    """Start a server with a script; gives a planner that asks it, and the server."""
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    features_of.cache_clear()  # a port may be that of another test's server
    servers = []

    def start(*script, cache="", planner="openai:m", **options):
        server = Chat(*script)
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        servers.append(server)
        chosen = PlannerOptions(base_url=server.url, cache=str(tmp_path / cache) if cache else "", **options)
        made = planner_named(planner, chosen)
        made.model.retries = 2
        return made, server

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()
