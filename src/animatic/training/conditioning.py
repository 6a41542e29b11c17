"""What a run is conditioned on: captions as text, captions or folders as classes, or nothing.

A resumed run keeps the tokenizer and the classes that it began with, because its embeddings are indexed by them.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from transformers import AutoTokenizer

from ..backbones.small_model import Labels
from ..errors import AnimaticError, counted, listed
from ..files import read_json, sync_tree, write_atomically
from .items import Item
from .matching import Note
from .sources import ToyWorld
from .text_encoder import train_tokenizer

TEXTS = ("auto", "none", "labels", "own")
BERT = "bert:"  # and a folder or hub id: captions are read by a pretrained, frozen BERT
VECTORS = "vectors:"  # and a JSON file: captions, or folders, name conditioning vectors in it, which are frozen
TOY_CAPTIONS = 8000  # captions of the toy world, which has endless ones, that its tokenizer is trained on


def with_text_mode(text: str, items: Sequence[Item], note: Note) -> tuple[str, Sequence[Item]]:
    """The text mode (none, labels or own), and the items with the captions that it gives them.

    `text` is the setting. "auto" becomes own where any item has a caption, else none. Labels are captions, or the
    names of folders where no item has a caption. Raises `AnimaticError` where `text` is unknown, or where some items
    have a caption and others have none.
    """
    if text.startswith(BERT):
        text = "own"
    if text.startswith(VECTORS):
        text = "labels"

    # Pretrained encoders decide by their kind.
    if text not in TEXTS:
        raise AnimaticError(f"text is {text!r}; want one of {', '.join(TEXTS)}, {BERT}FOLDER_OR_ID, {VECTORS}FILE")
    if isinstance(items, ToyWorld):
        if text == "labels":
            raise AnimaticError("text is 'labels', but the toy world's captions are endless sentences; want own")
        return ("own" if text == "auto" else text), items

    # The mode: where any caption is found, captions are used.
    captioned = any(item.caption for item in items)
    folders = {item.label for item in items} - {""}
    mode = text
    if text == "auto":
        mode = "own" if captioned else "none"
    if text == "auto" and not captioned:
        hint = ""
        if len(folders) > 1:
            hint = f"; --text labels takes the names of its {len(folders)} folders for classes"
        note(f"text: none (no captions found){hint}")
    if mode == "none":
        return mode, without_captions(items)

    # What each item is conditioned on: all of them or none.
    by_folder = mode == "labels" and not captioned and bool(folders)
    if by_folder:
        items = [replace(item, caption=item.label or None) for item in items]
    if missing := [item.name for item in items if item.caption is None]:
        noun, expected = "caption", "NAME.txt next to it, metadata.csv or .jsonl"
        if by_folder:
            noun, expected = "class", "a folder of its class"
        raise AnimaticError(
            f"{missing[0]}: {len(missing)} of {len(items)} have no {noun}; want {expected}, or --text none"
        )

    # Empty captions, and the classes, are noted.
    if empty := [item.name for item in items if not item.caption]:
        count = counted(len(items), "caption")
        note(f"{empty[0]}: {len(empty)} of {count} empty: trained without text")
    if mode == "labels":
        source = "folders" if by_folder else "captions"
        note(f"text: labels, the {source} {listed(classes_among(items), 8)}")
    return mode, items


def without_captions(items: Sequence[Item]) -> Sequence[Item]:
    """The items with empty captions, which train the unconditional model."""
    # The toy world makes its captions while it is read.
    if isinstance(items, ToyWorld):
        return items.without_captions()
    return [replace(item, caption="") for item in items]


def check_captions(text: Any, items: Sequence[Item]) -> None:
    """Raise `AnimaticError`, naming the file, where `text` does not know a class or cannot encode a whole caption."""
    if isinstance(items, ToyWorld):
        return

    # Each distinct caption once, before the first step.
    files = {item.caption: item.name for item in items if item.caption}
    for caption, name in files.items():
        if isinstance(text, Labels):
            if caption not in text.names:
                raise AnimaticError(f"{name}: class {caption[:40]!r} is unknown; want {listed(text.names)}")
            continue
        try:
            text.tokens([caption])
        except AnimaticError as error:
            raise AnimaticError(f"{name}: {error}") from None


def classes_among(items: Sequence[Item]) -> list[str]:
    """The distinct captions, sorted."""
    return sorted({item.caption for item in items if item.caption})


class RunText:
    """The tokenizer, classes and captions of a run, which are stored in its folder `out` from its first step on."""

    def __init__(self, out: Path) -> None:
        self.out = out
        self.file = out / "data.json"
        self.resumed = any((out / "checkpoints").glob("step-*"))
        self.before: dict[str, Any] = {}
        if self.resumed and self.file.exists():
            self.before = read_json(self.file)
        if not isinstance(self.before, dict):
            raise AnimaticError(f"{self.file}: is not what a run writes; want another --out")
        self.own_tokenizer: Any = None  # where the run has trained one

    def tokenizer(self, items: Sequence[Item]) -> Any:
        """The tokenizer of the run; a new run trains one on the captions."""
        # A resumed run keeps its tokenizer: embeddings are indexed by its tokens.
        folders = (self.out / "tokenizer", self.out / "model" / "tokenizer")  # the latter of older runs
        stored = [folder for folder in folders if self.resumed and folder.is_dir()]
        if not stored:
            count = TOY_CAPTIONS if isinstance(items, ToyWorld) else len(items)
            captions = [items[i].caption or "" for i in range(count)]
            self.own_tokenizer = train_tokenizer(captions)
            return self.own_tokenizer
        try:
            self.own_tokenizer = AutoTokenizer.from_pretrained(stored[0])
        except (OSError, ValueError) as error:
            reason = str(error).splitlines()[0]
            raise AnimaticError(f"{stored[0]}: cannot be read ({reason}); want another --out") from None
        return self.own_tokenizer

    def classes(self, items: Sequence[Item]) -> list[str]:
        """The classes of the run. Raises `AnimaticError` where the items have others, which have no embedding."""
        # The embeddings of a resumed run are those it began with.
        now = classes_among(items)
        classes = self.before.get("classes") or now
        if new := sorted(set(now) - set(classes)):
            raise AnimaticError(
                f"{self.out} learns the classes {listed(classes, 8)}; new are {listed(new, 8)}; want another --out"
            )
        return classes

    def report_changes(self, mode: str, items: Sequence[Item], note: Note) -> None:
        """Note captions and clips that have changed since the last start, and words that the tokenizer has not seen.

        Raises `AnimaticError` where the text mode has changed, because the network was built for the other one.
        """
        before: dict[str, str] | None = self.before.get("captions")
        if before is None or isinstance(items, ToyWorld):
            return

        # The network was built for one mode.
        mode_before = self.before.get("text", mode)
        if mode_before != mode:
            raise AnimaticError(
                f"{self.out} learns with text {mode_before}, now it would be {mode}; want another --out"
            )

        # Captions and clips that changed.
        now = _captions(items)
        changed = [name for name, caption in now.items() if before.get(name, caption) != caption]
        added = now.keys() - before.keys()
        gone = before.keys() - now.keys()
        parts = []
        if changed:
            name = changed[0]
            old, new_caption = before[name][:40], now[name][:40]
            example = f"{name}: {old!r} is now {new_caption!r}"
            parts.append(f"{counted(len(changed), 'caption')} changed ({example})")
        for names, what in ((added, "added"), (gone, "gone")):
            if names:
                first = listed(sorted(names), 1)
                parts.append(f"{counted(len(names), 'clip')} {what} ({first})")
        if parts:
            note(f"data: since the last start {', '.join(parts)}")

        # Words that the tokenizer has not seen.
        seen = set(self.before.get("words", ()))
        new = sorted(_words(now) - seen)
        if self.own_tokenizer is not None and new:
            count = counted(len(new), "word")
            note(f"text: {count} unknown to the run's tokenizer, which spells them: {listed(new, 8)}")

    def save(self, mode: str, text: Any, items: Sequence[Item]) -> None:
        """Write what a resumed run needs; every file is written completely or not at all."""
        if self.own_tokenizer is not None and not self.resumed:
            part = self.out / ".part-tokenizer"
            final = self.out / "tokenizer"
            try:
                shutil.rmtree(part, ignore_errors=True)
                self.own_tokenizer.save_pretrained(part)
                sync_tree(part)  # on the disk before the name is
                shutil.rmtree(final, ignore_errors=True)
                part.rename(final)
            except OSError as error:
                raise AnimaticError(f"{final}: cannot be written ({error.strerror})") from None

        # The toy world has no files whose captions could change.
        if isinstance(items, ToyWorld):
            return
        captions = _captions(items)
        classes = list(text.names) if isinstance(text, Labels) else []
        words = self.before.get("words") or sorted(_words(captions))
        data = {"text": mode, "captions": captions, "classes": classes, "words": words}
        encoded = json.dumps(data, ensure_ascii=False) + "\n"
        write_atomically(self.file, encoded.encode())


def _captions(items: Sequence[Item]) -> dict[str, str]:
    return {item.name: item.caption or "" for item in items}


def _words(captions: dict[str, str]) -> set[str]:
    words: set[str] = set()
    for caption in captions.values():
        words.update(re.findall(r"\w+", caption.lower()))
    return words
