"""`bench plan`: several planners on one page, scores kept from one command to the next."""

import json

import pytest
from chat_server import GOOD

from animatic.benchmarks.cases import Tally
from animatic.benchmarks.plan_scores import read_plan_scores
from animatic.errors import AnimaticError


def test_planners_are_compared_on_one_page(here, serve, tmp_path):
    """A planner that reads the prompts, one that places nothing, and a server that gives one bear to all."""
    _, server = serve(GOOD)
    code, out, err = here(
        "bench", "plan", "lvd", "--limit", "5", "--planner", "rules", "--planner", "as-typed", "--planner", "openai:m",
        "--base-url", server.url, "--temperature", "0.5", "--cache", str(tmp_path / "c.jsonl"), "--out", "page.html",
    )  # fmt: skip
    assert code == 0, err
    assert out.splitlines()[-3:] == ["page.html", "page.md", "page.json"]
    scores = {score.planner: score for score in read_plan_scores(tmp_path / "page.json").scores}
    assert list(scores) == ["rules", "as-typed", "openai:m"]
    assert scores["rules"].overall == Tally(5, 5) and scores["as-typed"].overall == Tally(0, 5)
    assert scores["rules"].settings == {} and scores["openai:m"].settings["temperature"] == "0.5"
    assert scores["openai:m"].tokens == {"asked": 500, "answered": 250} and scores["openai:m"].cached == 0

    # both pages have a row for each
    for name in ("page.html", "page.md"):
        page = (tmp_path / name).read_text()
        assert all(name in page for name in scores) and "temperature 0.5" in page and "5" in page


def test_a_page_is_added_to(here, tmp_path):
    def measured(*planners, limit="3", rules="published"):
        chosen = [word for name in planners for word in ("--planner", name)]
        return here("bench", "plan", "lvd", "--limit", limit, "--rules", rules, *chosen, "--out", "p.html")

    assert measured("rules")[0] == 0 and measured("as-typed")[0] == 0 and measured("rules")[0] == 0
    kept = read_plan_scores(tmp_path / "p.json")
    assert [score.planner for score in kept.scores] == ["as-typed", "rules"] and kept.limit == 3
    before = (tmp_path / "p.html").read_bytes()
    for more, reason in (({"limit": "4"}, "scores of limit 3, not 4"), ({"rules": "strict"}, "rules published, not")):
        code, _, err = measured("rules", **more)
        assert code == 2 and reason in err and err.count("\n") == 1
    assert (tmp_path / "p.html").read_bytes() == before


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (
            ["--planner", "rules", "--planner", "as-typed", "--temperature", "1"],
            "temperature is given, but planner 'rules'",
        ),
        (["--planner", "rules", "--planner", "magic"], "unknown planner 'magic'"),
        (["--out", "page.pdf"], "want a name that ends in .html"),
        (["--rules", "lax"], "unknown rules 'lax'"),
    ],
)
def test_what_cannot_be_compared(options, reason, here):
    code, _, err = here("bench", "plan", "lvd", "--limit", "2", *options)
    assert code == 2 and reason in err


def test_why_prompts_were_not_planned(here, serve, tmp_path):
    _, server = serve("no")
    command = ["bench", "plan", "lvd", "--limit", "2", "--planner", "openai:m", "--base-url", server.url]
    code, out, _ = here(*command, "--planner", "rules", "--cache", "none", "--json", "--out", "p.html")
    first = json.loads(out)["scores"][0]
    assert code == 0 and first["overall"] == {"correct": 0, "total": 2} and list(first["unread"]) == ["0", "1"]
    assert "2 x m: 3 replies could not be read" in (tmp_path / "p.html").read_text()


def test_a_file_that_holds_no_scores(tmp_path):
    for text in ("[]", '{"benchmark": "lvd"}', "no"):
        (tmp_path / "p.json").write_text(text)
        with pytest.raises(AnimaticError, match=r"p\.json"):
            read_plan_scores(tmp_path / "p.json")
