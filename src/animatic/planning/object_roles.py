"""Noun phrases that are objects: as subject, direct object or complement of a clause."""

from __future__ import annotations

from dataclasses import replace

from . import forms, lexicon
from .account import Role
from .clause_state import Clause, ClauseState
from .lexicon import is_any
from .noun_phrases import NounPhrase


class ObjectRoles(ClauseState):
    """Gives a noun phrase that names objects its place in a clause."""

    def _object(self, k: int, following: int, phrase: NounPhrase, noun: str, tokens: list[int]) -> None:
        # "the cat on the left" is "the left cat"
        place = self.elements[following].adverbial if self._peek(following) == "adverbial" else None
        if place and place.kind == "at spot" and phrase.definite and not phrase.side:
            x, _ = place.spots[0]
            if x in (0.0, 1.0):
                phrase = replace(phrase, side="right" if x else "left")
        found = self.cast.resolve(phrase, noun)
        if not found:
            self.preposition = None
            return
        self._account_for(phrase, tokens, found)

        before = self._before(k)
        joined = before in ("and", "or", "comma")
        verb_follows = self._peek(following) == "verb"
        if self._peek(following) in ("adverb", "adverbial"):
            verb_follows = self._peek(following + 1) == "verb"
        current = self.current

        # after a preposition a complement; in a list as the one before; after a verb its object; else a subject
        if self.preposition is not None:
            if self.preposition.word == "with" and self.last_role == "medium":
                self.preposition = None
                self._begin(found)
                return
            if current is None and self.preposition.word in ("with", "of", "for"):
                self.preposition = None
                self._begin(found)
                return
            self._place_host(found, noun)
            self.last = found
            self.last_role = "complement"
        elif joined and not verb_follows and current and self.last_role == "complement" and self._extends(current):
            current.complements[-1].objects += found
            self.last = found
        elif joined and not verb_follows and self.last_role == "complement" and self.lead and self.lead[-1].objects:
            self.lead[-1].objects += found
        elif joined and current and self.last_role == "direct" and not verb_follows:
            current.direct += found
            self.last = found
        elif (
            joined
            and current
            and self.last_role == "subject"
            and current.verb is None
            and self._adjacent(k)
            and not set(found) & set(current.subjects)
        ):
            current.subjects += found
            self.last = current.subjects
        elif (
            current
            and current.verb
            and not joined
            and not current.direct
            and before != "while"
            and (not self.joins and self.last_role != "direct")
        ):
            current.direct += found
            self.last = found
            self.last_role = "direct"
        else:
            self._new_subject(found, following, phrase)

    def _extends(self, clause: Clause) -> bool:
        return bool(clause.complements and clause.complements[-1].objects)

    def _place_host(self, found: list[int], noun: str) -> None:
        """ "a man on a horse": after another noun, somebody's mount is that one's."""
        is_mount = is_any(noun, "mount") and self.preposition is not None and self.preposition.word in ("on", "in")
        hosts = [i for i in self.last if is_any(self.cast.objects[i].noun, "animate", "human")]
        complement = self._prepositional(found)
        if is_mount and hosts and self.last_role in ("direct", "complement"):
            self.clauses.append(Clause(hosts, complements=[complement]))
        else:
            self._complete(complement)

    def _new_subject(self, found: list[int], following: int, phrase: NounPhrase) -> None:
        """A clause of its own; "a man with a hat and a woman walk" has both as its subjects."""
        verb = self.elements[following].verb if self._peek(following) == "verb" else None
        before = self.current
        if verb and verb.form == "plural" and phrase.count == 1 and before and before.subjects and not before.verb:
            found = [*before.subjects, *found]
        clause = self._begin(found)
        clause.verb = self.inverted
        self.inverted = None

    def _account_for(self, phrase: NounPhrase, tokens: list[int], found: list[int]) -> None:
        """Roles of the words of a phrase: its nouns name the object, all others are attributes."""
        item = self.cast.objects[found[0]]
        names = {*item.phrase.split(), phrase.head, *phrase.noun.split()}
        for i in tokens:
            low = self.ledger.low(i)
            if low == phrase.action:
                item.action_tokens.append(i)  # a motion, if it moves: see meaning.py
                continue
            is_name = low in names and not forms.is_colour(low) and low not in lexicon.NUMBERS
            is_noun = i == tokens[-1] and phrase.noun != ""
            role = Role.OBJECT if is_name or is_noun else Role.ATTRIBUTE
            self.ledger.set(role, i)
