"""Every method on every family of models: it works and changes what it says it changes, or is refused before any work.

Each pair of a method and a family stands in one of the six situations here, so chosen that each method and each family
comes to all of them; `runs/matrix.py` runs the whole product and writes docs/matrix.md. Where a cell that worked is
refused now, or the other way round, and that is meant: `python runs/matrix.py` writes tests/matrix_refused.json again.
"""

import warnings
from pathlib import Path

import pytest
from matrix_cells import SITUATIONS, Matrix, refused
from matrix_faults import FAULTS
from matrix_models import FAMILIES

from animatic.errors import AnimaticError
from animatic.generation import generate_batch
from animatic.methods import METHODS
from animatic.methods.settings import settings_of
from animatic.rendering import request_of

PAGE = Path(__file__).parents[1] / "docs" / "matrix.md"
REFUSED = refused()
CHEAP = "small"  # nearly every method is refused there, at no cost: all its cells are run


@pytest.fixture(scope="module")
def matrix(tmp_path_factory):
    return Matrix(tmp_path_factory.mktemp("models"))


def cells(family):
    """(method, situation) for a family: a Latin square, or all."""
    situations = list(SITUATIONS)
    if family == CHEAP:
        return [(method, situation) for method in METHODS for situation in situations]
    place = list(FAMILIES).index(family)
    return [(method, situations[(i + place) % len(situations)]) for i, method in enumerate(METHODS)]


def fault(matrix, method, family, situation):
    """What is wrong with a cell, in one line; "" where nothing is."""
    cell = matrix.cell(method, family, situation)
    expected = (method, family, situation) in REFUSED
    if cell.status not in ("works", "same", "refused"):
        return f"{cell.status} {cell.reason}"
    if (cell.status == "refused") != expected:
        return f"{cell.status}, and is {'to be' if expected else 'not to be'} refused: {cell.reason}"
    if cell.status != "refused":
        return ""

    # what refuses the model alone too is no fault of the method, which the line need not name then
    if cell.evaluations:
        return f"refused after {cell.evaluations} evaluations of the network: {cell.reason}"
    named = repr(method) in cell.reason or ("none", family, situation) in REFUSED
    if not named or "; want " not in cell.reason or "\n" in cell.reason:
        return f"the reason names no method as typed, or nothing that would work: {cell.reason}"
    return ""


@pytest.mark.slow("every method on a family")
@pytest.mark.parametrize("family", FAMILIES)
def test_every_cell_works_or_is_refused_before_any_work(family, matrix):
    faults = []
    for method, situation in cells(family):
        if wrong := fault(matrix, method, family, situation):
            faults.append(f"{method} in {situation!r}: {wrong}")
    assert not faults, "\n".join(faults)


@pytest.mark.parametrize("family", [name for name in FAMILIES if name != CHEAP])
def test_gradient_steps_lower_the_energy(family, matrix):
    """By a tenth of the method's steps, or a hundredth: tiny networks are curved otherwise than those of its tuning."""
    for method in ("lvd", "boxdiff", "backward-guidance"):
        if (method, family, "two tracks") in REFUSED:
            continue
        scale = settings_of(METHODS[method], matrix.model(family))["energy.scale"].default
        assert any(lowers(matrix, method, family, scale * part) for part in (0.1, 0.01)), method


def lowers(matrix, method, family, scale):
    """Whether the gradient steps of the first noise level end at a lower energy."""
    ((before, after),) = matrix.cell(method, family, "two tracks", {"energy.scale": scale}).energies
    return after < before


@pytest.mark.parametrize("family", [name for name in FAMILIES if name != CHEAP])
def test_layout_attention_moves_attention_into_the_boxes(family, matrix):
    cell = matrix.cell("layout-attention", family, "two tracks")
    assert cell.inside > cell.inside_alone + 0.05


def test_the_list_of_refusals_names_what_there_is():
    assert {(method, family) for method, family, _ in REFUSED} <= {(m, f) for m in METHODS for f in FAMILIES}


def said(matrix, method, family, situation, **options):
    """The notes of a run."""
    requests = [request_of(story, matrix.model(family), method, 0, **options) for story in SITUATIONS[situation]]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        generate_batch(requests, matrix.model(family))
    return [str(each.message) for each in caught]


def test_too_few_steps_for_a_control_are_said(matrix):
    grounded = (
        "gligen:published is conditioned on boxes in the first 0.4 of the steps, which is none of 2; want at least 3"
    )
    of_two, of_three = (
        said(matrix, "gligen:published", "Stable Diffusion GLIGEN", "two tracks", steps=steps) for steps in (2, 3)
    )
    assert any(grounded in note for note in of_two) and not any("conditioned on boxes" in note for note in of_three)

    shared = (
        "ditctrl shares keys and values from 0.04 to 0.5 of the steps, where none of 2 is: windows are averaged as by"
    )
    of_two, of_three = (said(matrix, "ditctrl", "Wan 2.1", "story of 2", steps=steps) for steps in (2, 3))
    assert any(shared in note for note in of_two) and not any("shares keys" in note for note in of_three)


def test_a_model_without_the_layers_that_share_is_said(matrix):
    note = "ditctrl shares keys and values in layers that small does not have: windows are averaged as by 'none'"
    assert any(note in each for each in said(matrix, "ditctrl", "small", "2.5 x native", steps=3))
    assert not any("does not have" in each for each in said(matrix, "ditctrl", "LaVie", "2.5 x native", steps=3))


def test_a_scheduler_that_a_method_brings_is_refused_by_its_name(matrix):
    own = (
        "method 'ditctrl:published' comes with a scheduler of its own: scheduler 'sat-dpm\\+\\+' does not support flow"
    )
    with pytest.raises(AnimaticError, match=own):
        said(matrix, "ditctrl:published", "Wan 2.1", "two tracks", steps=4)
    with pytest.raises(AnimaticError, match=r"^scheduler 'ddim' does not support flow"):
        said(matrix, "ditctrl:published", "Wan 2.1", "two tracks", steps=4, scheduler="ddim")
    said(matrix, "ditctrl:published", "Wan 2.1", "two tracks", steps=4, scheduler="flow")


def test_a_mask_that_is_not_there_is_refused_before_any_work(matrix):
    cell = matrix.cell("lmd:sam", "Stable Diffusion 1", "two tracks", {"composition.mask.source": "no/where"})
    assert cell.status == "refused" and "no/where" in cell.reason and not cell.evaluations


def test_the_page_lists_every_method_and_family():
    page = PAGE.read_text("utf-8")
    table = page[: page.index("\n## ")]
    rows = {line.split("|")[1].strip() for line in table.splitlines() if line.startswith("| `")}
    assert rows == {f"`{method}`" for method in METHODS}
    assert f"| {' | '.join(FAMILIES)} |" in table


def test_the_tests_that_the_page_names_are_there():
    for what, tests in FAULTS:
        assert tests, what
        for test in tests:
            file, _, name = test.partition("::")
            assert f"def {name}(" in (PAGE.parents[1] / "tests" / file).read_text("utf-8"), test
            assert what in PAGE.read_text("utf-8"), f"{what}: run python runs/matrix.py --page"
