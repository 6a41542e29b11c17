"""The command that writes the card of a model folder."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from ..errors import AnimaticError
from .console import line


def card(
    folder: Annotated[str, typer.Argument(help="A model folder in diffusers layout.")],
    model: Annotated[str, typer.Option(help="The known model that it holds; what its configs tell if not given.")] = "",
    only_print: Annotated[bool, typer.Option("--print", help="Print the card, and write nothing.")] = False,
    force: Annotated[bool, typer.Option(help="Also where it has a card: what that lacks is filled in.")] = False,
) -> None:
    """Write a model folder's card, animatic.json: its native size and how it is used, to be edited."""
    if not os.path.isdir(folder):
        raise AnimaticError(f"{folder}: no such folder; want a model folder in diffusers layout")
    from ..backbones.card import card_of, card_text, write_card

    if only_print:
        made, why = card_of(Path(folder), model)
        print(card_text(made), end="")
    else:
        file, why = write_card(Path(folder), model, force)
        print(file)

    # on stderr, for the card may go into a file
    line(f"note: {why}", stderr=True)
