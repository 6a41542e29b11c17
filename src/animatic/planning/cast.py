"""The objects of a prompt, in the order they are named: which phrase names a new one, and which an earlier one."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from .motions import Spot
from .noun_phrases import NounPhrase
from .scene_objects import SceneObject

STARTS: dict[str, Spot] = {"left": (0.0, None), "right": (1.0, None), "top": (None, 0.0), "bottom": (None, 1.0)}


@dataclass
class Cast:
    """Objects named so far. A phrase of several alike is one object with a count, until it has to be split."""

    objects: list[SceneObject] = field(default_factory=list)
    _rest: list[int] = field(default_factory=list)  # what "the other" means
    _latest: list[int] = field(default_factory=list)

    def resolve(self, phrase: NounPhrase, noun: str) -> list[int]:
        """Indices of the objects that a phrase names, new ones added; empty where it names none.

        `noun` is the phrase's own, or that of the phrase after it where its own is elided.
        """
        if not noun:
            found = self._out_of_group(phrase)
        else:
            found = self._named_before(phrase, noun) or [self._add(phrase, noun)]
            if phrase.part and self.objects[found[0]].count > phrase.part:
                found = [self.split(found[0], phrase.part)]
        self._latest = found or self._latest
        return found

    def split(self, index: int, number: int = 1) -> int:
        """Take `number` out of an object that stands for several; returns the index of the new object."""
        group = self.objects[index]
        group.count -= number
        taken = replace(group, count=number, moves=list(group.moves), is_vague=False)
        self.objects.append(taken)
        self._rest = [index]
        return len(self.objects) - 1

    def halves(self, indices: list[int]) -> tuple[list[int], list[int]]:
        """Two groups of about equal size out of some objects; the second is empty where there is one object alone."""
        if len(indices) > 1:
            return indices[:1], indices[1:]
        (index,) = indices
        count = self.objects[index].count
        if count < 2:
            return indices, []
        half = self.split(index, (count + 1) // 2)
        return [half], indices

    def _add(self, phrase: NounPhrase, noun: str) -> int:
        """A new object; returns its index."""
        words = phrase.words.split()
        if not phrase.noun:
            words += noun.split()
        name = " ".join(dict.fromkeys(words)) or noun

        start = STARTS.get(phrase.side, (None, None))
        item = SceneObject(name, noun, phrase.count, phrase.size, phrase.action, start)
        item.is_vague = phrase.is_vague
        item.side = phrase.side
        self.objects.append(item)
        return len(self.objects) - 1

    def _named_before(self, phrase: NounPhrase, noun: str) -> list[int]:
        """Indices of the objects that "the car" may name, empty where it names a new one."""
        if not phrase.definite and not (phrase.bare and phrase.count == 1):
            return []
        same = [i for i, item in enumerate(self.objects) if item.noun == noun and phrase.colour in item.phrase]
        sized = [i for i in same if self.objects[i].size == phrase.size]
        if phrase.size != 1.0 and sized:
            same = sized  # "the small one", of a big ball and a small one
        if phrase.side:
            exact = [i for i in same if self.objects[i].side == phrase.side]
            groups = [i for i in same if self.objects[i].count > 1]
            if exact:
                return exact

            # "two cars. The left car ...": one of them gets a side of its own
            if groups:
                index = self.split(groups[0])
                taken = self.objects[index]
                taken.side = phrase.side
                taken.start = (0.0 if phrase.side == "left" else 1.0, None)
                return [index]

            # "... the right car ...": what is left of them
            if len(same) == 1 and self._rest == same and not self.objects[same[0]].side:
                self.objects[same[0]].side = phrase.side
                return same
            return []
        return same if phrase.count > 1 else same[:1]

    def _out_of_group(self, phrase: NounPhrase) -> list[int]:
        """ "one", "the other", "both": out of what was named last."""
        if "other" in phrase.words:
            if self._rest:
                return self._rest
            if not self._latest:
                return []

            # "from one tree to another"
            latest = self.objects[self._latest[-1]]
            alike = [i for i, item in enumerate(self.objects) if i not in self._latest and item.noun == latest.noun]
            self.objects.append(replace(latest, count=1, moves=[], start=(None, None)))
            return alike[:1] or [len(self.objects) - 1]
        groups = [i for i, item in enumerate(self.objects) if item.count > 1]
        if phrase.words in ("both", "all"):
            return groups[-1:] or list(range(len(self.objects)))
        if phrase.count == 1 and groups:
            return [self.split(groups[-1])]
        return []
