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
        said = self.elements[following].adverbial if self._peek(following) == "adverbial" else None
        if said and said.kind == "at spot" and phrase.definite and not phrase.side and said.spots[0][0] in (0.0, 1.0):
            phrase = replace(phrase, side="right" if said.spots[0][0] else "left")
        found = self.cast.resolve(phrase, noun)
        if not found:
            self.preposition = None
            return
        self._account_for(phrase, tokens, found)

        before = self._before(k)
        joined = before in ("and", "or", "comma")
        verb_follows = self._peek(following) == "verb" or (
            self._peek(following) in ("adverb", "adverbial") and self._peek(following + 1) == "verb"
        )
        current = self.current
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
            self.last, self.last_role = found, "complement"
        elif joined and not verb_follows and current and self.last_role == "complement" and self._extends(current):
            current.complements[-1].objects += found
            self.last = found
        elif joined and not verb_follows and self.last_role == "complement" and self.lead and self.lead[-1].objects:
            self.lead[-1].objects += found
        elif joined and current and self.last_role == "direct" and not verb_follows:
            current.direct += found
            self.last = found
        elif joined and current and self.last_role == "subject" and current.verb is None and self._adjacent(k):
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
            self.last, self.last_role = found, "direct"
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
        clause.verb, self.inverted = self.inverted, None

    def _account_for(self, phrase: NounPhrase, tokens: list[int], found: list[int]) -> None:
        """Roles of the words of a phrase: its nouns name the object, all others are attributes."""
        names = set(self.cast.objects[found[0]].phrase.split()) | {phrase.head, *phrase.noun.split()}
        for i in tokens:
            low = self.ledger.low(i)
            is_name = low in names and not forms.is_colour(low) and low not in lexicon.NUMBERS
            if low == phrase.action:
                continue  # a motion, if it moves: see meaning.py
            self.ledger.set(Role.OBJECT if is_name or (i == tokens[-1] and phrase.noun) else Role.ATTRIBUTE, i)
        self.cast.objects[found[0]].action_tokens += [i for i in tokens if self.ledger.low(i) == phrase.action]
