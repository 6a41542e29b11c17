"""Elements of a prompt to clauses: who does what, where."""

from __future__ import annotations

from dataclasses import replace

from . import forms, lexicon
from .account import Role
from .clause_state import Clause, Complement
from .elements import Element
from .lexicon import is_any
from .noun_roles import NounRoles
from .verb_groups import VerbGroup

_ON_FOOT = frozenset(
    ("walk", "walk away", "walk off", "run", "run away", "run off", "stroll", "march", "jog", "dance", "hike", "sneak")
)  # what no thing does


class ClauseReader(NounRoles):
    """Goes through the elements once; each kind of element has a method of its own."""

    def read(self) -> None:
        k = 0
        while k < len(self.elements):
            element = self.elements[k]
            handler = getattr(self, f"_on_{element.kind}", None)
            k = (handler(k, element) if handler else None) or k + 1
            if element.kind not in ("and", "or", "comma", "noun", "without", "not", "adjective", "of"):
                self.is_unwanted = False
        self._end_of_sentence()

    # ---- what separates

    def _on_stop(self, k: int, element: Element) -> None:
        self._end_of_sentence()

    def _end_of_sentence(self) -> None:
        # "bear. walks. left.": a place alone belongs to what was said before
        if self.lead and self.clauses:
            target = next((c for c in reversed(self.clauses) if c.verb and not c.of), self.clauses[-1])
            target.complements += self.lead
        self.lead = []
        self.current = None
        self.preposition = None
        self.last_role = ""
        self.relative = None
        self.joins = False
        self.describes = False

    def _on_exists(self, k: int, element: Element) -> None:
        """ "There is": a subject follows."""
        self.current = None
        self.last_role = ""

    def _on_comma(self, k: int, element: Element) -> None:
        self.describes = False
        self.preposition = None
        if element.word == ":" or self.is_replaced:
            self.is_unwanted = False  # "without people: a dog", "instead of a cat, two dogs"
        self.is_replaced = False

    def _on_while(self, k: int, element: Element) -> None:
        self.joins = True
        self.preposition = None

    def _on_then(self, k: int, element: Element) -> None:
        self.preposition = None
        self.is_next = self._peek(k + 1) in ("adverbial", "particle", "preposition")

    def _on_not(self, k: int, element: Element) -> None:
        self.is_unwanted = True

    def _on_without(self, k: int, element: Element) -> None:
        self.is_unwanted = True
        self.is_replaced = element.word in ("instead", "rather")
        if self.is_replaced:
            self.ledger.set(Role.UNWANTED, *element.tokens)

    def _on_but(self, k: int, element: Element) -> None:
        self.preposition = None

    def _on_relative(self, k: int, element: Element) -> None:
        self.relative = list(self.last)

    def _on_adverb(self, k: int, element: Element) -> None:
        if element.word not in ("twice", "thrice") and forms.is_adverb(element.word):
            self.ledger.set(Role.STYLE, *element.tokens)

    def _on_adjective(self, k: int, element: Element) -> None:
        if self.last:
            self.ledger.set(Role.ATTRIBUTE, *element.tokens)

    # ---- where

    def _leads(self, k: int) -> None:
        """ "..., on the right a dog runs": what stands between a comma and a subject belongs to that one."""
        is_first = self._before(k) in ("comma", "and", "while", "but", "then")
        if not is_first or self.current is None:
            return

        # a set phrase is one element, a preposition has a noun of its own
        subject = k + 1 if self.elements[k].adverbial else k + 2
        acts = self._peek(subject + 1) in ("verb", "adverb", "adverbial", "particle")
        if (self._peek(subject) == "noun" and acts) or self._inverted(subject):
            self.current = None

    def _inverted(self, k: int) -> bool:
        """Whether "is a dog" stands at an element."""
        verb = self.elements[k].verb if k < len(self.elements) else None
        return verb is not None and verb.lemma == "be" and self._peek(k + 1) == "noun"

    def _on_preposition(self, k: int, element: Element) -> None:
        if element.word == "of" and self.current is None and not self.lead:
            return  # after a style: "close-up of a cat"
        self._leads(k)
        self.preposition = element

    def _on_particle(self, k: int, element: Element) -> None:
        self._complete(Complement("particle", list(element.tokens), value=element.word))

    def _on_adverbial(self, k: int, element: Element) -> None:
        found = element.adverbial
        assert found is not None
        self._leads(k)
        self.is_next |= self._before(k) == "and" and found.value.startswith("back ")  # "flies up and back down"
        if found.kind.startswith("relation") and "own" not in found.kind:
            if found.kind in ("relation left", "relation right", "relation sides") and self._is_with():
                self._begin(list(self.last))  # "with a chair on either side of the table"
            self.preposition = element
            return
        complement = Complement(found.kind, list(element.tokens), spots=found.spots, value=found.value)

        # right after another noun it says where that one is: "waves to a person on the right"
        is_its = found.kind == "at spot" or found.kind.startswith("relation own")
        if is_its and self._before(k) == "noun" and self.last_role in ("direct", "complement") and self.last:
            if found.kind == "at spot":
                # first, for the motion may lead there
                own = Clause(list(self.last), complements=[complement])
                last = bool(self.clauses) and self.clauses[-1] is self.current
                self.clauses.insert(len(self.clauses) - last, own)
                return
            complement.objects = list(self.last)
        self._complete(complement)

    def _meets_others(self, k: int) -> bool:
        """Whether a preposition and "them" stand at an element."""
        return self._peek(k) == "preposition" and self._peek(k + 1) == "pronoun" and self.elements[k + 1].word == "them"

    def _is_with(self) -> bool:
        """Whether the noun before was named after "with"."""
        complements = self.current.complements if self.current is not None else []
        return bool(complements and self.last) and complements[-1].kind == "with" and self.last_role == "complement"

    # ---- who, and what happens

    def _on_pronoun(self, k: int, element: Element) -> None:
        before = [c for c in self.clauses if c.subjects and not c.of]
        subjects = before[-1].subjects if before else []

        # as a subject; "they" are all that were subjects so far
        if self._peek(k + 1) in ("verb", "adverb") and self.preposition is None and element.word not in ("them", "him"):
            if element.word == "they" and before:
                subjects = list(dict.fromkeys(i for c in before for i in c.subjects))
            self._begin(list(self._antecedent(element.word, subjects)))
            return

        # as an object it means somebody else than the subject: "a dog sees a cat and chases it"
        subjects = self._antecedent(element.word, subjects)
        others = [i for i in self.last if self.current is None or i not in self.current.subjects]
        found = others or list(subjects)
        if element.word.endswith(("self", "selves")):
            return
        if self.preposition is not None and self.preposition.word == "between" and self.current is not None:
            found = [i for i in range(len(self.cast.objects)) if i not in self.current.subjects]
        if self.current is not None and element.word in ("her", "him"):
            persons = [i for c in reversed(before) for i in c.subjects if i not in self.current.subjects]
            found = found if any(is_any(self.cast.objects[i].noun, "human") for i in found) else persons[:1] or found
        if self.current is not None and set(found) <= set(self.current.subjects):
            found = [i for i in range(len(self.cast.objects)) if i not in self.current.subjects][-1:] or found
        if self.preposition is not None:
            self._complete(self._prepositional(found))
        elif self.current is not None and self.current.verb:
            self.current.direct += found

    def _is_carried(self) -> bool:
        """Whether the noun before is somebody's thing: "a girl with an umbrella"."""
        current = self.current
        if not self._is_with() or current is None or not current.subjects:
            return False
        subject = self.cast.objects[current.subjects[0]]
        own = self.cast.objects[self.last[0]]
        is_alive = is_any(own.noun, "animate", "human", "mount", "flyer")
        return is_any(subject.noun, "animate", "human") and not is_alive

    def _agrees(self, verb: VerbGroup) -> bool:
        """Whether the noun right before may be the verb's subject: not in "ducks followed by a swan swim"."""
        current = self.current
        if not self.last:
            return False
        if current is None:
            return True
        last = self.cast.objects[self.last[0]]
        subject = self.cast.objects[current.subjects[0]] if current.subjects else None

        # "a man with a ball throwing it": what only somebody can do, an object does not
        kind = lexicon.verbs().get(verb.lemma, "no path")
        if verb.form == "ing" and subject is not None:
            is_done = kind in ("carry", "hold", "wear", "throw", "push", "pull", "chase", "ride")
            if is_done and is_any(subject.noun, "animate", "human") and not is_any(last.noun, "animate", "human"):
                return False
        if verb.form == "finite" and current.verb and current.verb.form != "finite":
            return False  # "an apple hanging from a branch falls"
        if verb.form != "plural" or subject is None:
            return True

        # a verb in the plural is of whichever of the two is several
        last_is_several = len(self.last) > 1 or last.count > 1
        subject_is_several = len(current.subjects) > 1 or subject.count > 1
        return last_is_several or not subject_is_several

    def _on_verb(self, k: int, element: Element) -> None:
        verb = element.verb
        assert verb is not None
        self.preposition = None
        current = self.current
        before = self._before(k)
        attached = before in ("noun", "adverb", "adjective")

        # "a cat on a sofa sleeps" is about the cat, "a street with a dog crossing" about the dog
        modifies = bool(attached and self.last) and self.last_role == "complement"
        modifies &= verb.form not in ("finite", "plural")

        # "a bulldog on a surfboard riding a wave": a mount does not ride
        rides = lexicon.verbs().get(verb.lemma) == "ride"
        modifies &= not (rides and self.last and is_any(self.cast.objects[self.last[0]].noun, "mount"))
        modifies &= not (verb.lemma in _ON_FOOT and self._is_carried())
        kind = lexicon.verbs().get(verb.lemma, "no path")
        self.describes = verb.form == "past" and kind in ("no path", "wear") and before in ("noun", "comma", "adverb")
        if self.describes and self._peek(k + 1) == "preposition":
            self.ledger.set(Role.ATTRIBUTE, *element.tokens)
            if current is not None or self.last_role == "place":
                return
        if self.relative is not None:
            self._begin(self.relative).verb = verb
            self.relative = None
        elif current is None:
            # "On the left is a monkey": the subject comes later; "Walks left": it came before
            if verb.lemma == "be" and self._peek(k + 1) in ("noun", "adjective"):
                return

            # "Behind a tree stands a man"
            placed = any(complement.objects or complement.spots or complement.place for complement in self.lead)
            if placed and verb.form == "finite" and self._peek(k + 1) == "noun":
                self.inverted = verb
                return

            # the subject of the sentence before goes on; a participle gets one that follows
            subjects: list[int] = []
            if verb.form != "ing" and self.clauses:
                subjects = list(self.clauses[-1].subjects)
            if lexicon.verbs().get(verb.lemma) == "show" and not subjects:
                self.ledger.set(Role.STYLE, *element.tokens)
                return
            self._begin(subjects).verb = verb
        elif current.verb is None and not modifies:
            # "ten pins and a ball rolling towards them": the last of the subjects alone
            if len(current.subjects) > 1 and verb.form == "ing" and self._meets_others(k + 1):
                self._begin([current.subjects.pop()]).verb = verb
            current.verb = current.verb or (verb if self.current is current else None)
        elif attached and before == "noun" and self.last_role in ("direct", "complement") and self._agrees(verb):
            self._begin(list(self.last)).verb = verb
        else:
            joined = (verb.form == "ing" and before != "then") or self.joins
            clause = self._begin(list(current.subjects), of=current.of)
            clause.verb = verb
            clause.joined = joined

        # the verb may have become that of another clause, or of none
        if self.current is None or self.current.verb is not verb:
            return
        self.last_role = "subject"
        if before in ("not", "without"):
            self.current.verb = replace(verb, negated=True)
