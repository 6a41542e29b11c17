"""The key of a planner's server goes nowhere unsaid, and no password in an address is kept or shown."""

import warnings

import pytest

from animatic.errors import AnimaticError, AnimaticWarning
from animatic.planning.chat import Completions, Server
from animatic.planning.planners import PlannerOptions, planner_named
from animatic.planning.server_key import key_for

KEY = "sk-abc"


@pytest.fixture(autouse=True)
def key(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)


@pytest.mark.parametrize(
    "address",
    ["", "http://127.0.0.1:8000/v1", "http://localhost:11434/v1", "http://[::1]:8000", "https://api.openai.com/v1"],
)
def test_the_key_goes_to_openai_and_to_this_machine(address):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert key_for(address) == KEY


@pytest.mark.parametrize("address", ["https://api.example/v1", "https://openai.com.example", "https://notopenai.com"])
def test_another_host_gets_it_with_a_word(address):
    with pytest.warns(AnimaticWarning, match=r"OPENAI_API_KEY is sent to [a-z.]+$"):
        assert key_for(address) == KEY


@pytest.mark.parametrize(
    "address", ["http://api.openai.com/v1", "http://192.168.1.7:8000/v1", "http://127.0.0.1.example"]
)
def test_no_key_goes_over_an_unencrypted_line(address):
    with pytest.warns(AnimaticWarning, match="is not sent to"):
        assert key_for(address) == ""


def test_without_a_key_nothing_is_said(monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert key_for("http://api.example") == key_for("https://api.example") == ""


@pytest.mark.parametrize("address", ["http://user:SECRET@host/v1", "https://SECRET@host", "//user:SECRET@host"])
@pytest.mark.parametrize("kind", [Server, Completions])
def test_an_address_with_a_password_is_refused_without_it(kind, address):
    for make in (
        lambda: kind("m", address),
        lambda: planner_named("openai:m", PlannerOptions(base_url=address)),
    ):
        with pytest.raises(AnimaticError, match="base_url holds a user or a password") as refusal:
            make()
        assert "SECRET" not in str(refusal.value)
