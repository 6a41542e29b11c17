"""Elements of a prompt to clauses: who does what, where. Objects, places, style and the unwanted are told apart here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from . import forms, lexicon
from .account import Ledger, Role
from .cast import Cast
from .elements import STYLISTIC, Element, VerbGroup
from .lexicon import is_any
from .motions import Spot
from .noun_phrases import NounPhrase

ATTACHING = frozenset("with in of on by wearing".split())  # prepositions that give a host its parts or clothes
NOT_PLACING = frozenset(("with", "between", "of", "like", "for", "about", "than"))
SHOWING = frozenset("of with showing in that which where featuring shows".split())
PATH_NOUNS = {
    "circle": "circle", "loop": "circle", "lap": "circle", "zigzag": "zigzag", "arc": "arc", "jump": "bounce",
    "hop": "bounce", "leap": "bounce",
}  # fmt: skip
VIEWERS = frozenset("camera lens viewer view".split())


@dataclass
class Complement:
    """A preposition with its objects or place, a set phrase, or a particle. `tokens` are its words without the noun."""

    kind: str
    tokens: list[int]
    objects: list[int] = field(default_factory=list)
    spots: tuple[Spot, ...] = ()
    place: str = ""  # the noun, where it is a place or a part of the frame
    value: str = ""
    is_next: bool = False  # after "then"


@dataclass
class Clause:
    """What is said of `subjects`, indices of objects. `joined`: at the same time as the clause before."""

    subjects: list[int]
    verb: VerbGroup | None = None
    direct: list[int] = field(default_factory=list)
    complements: list[Complement] = field(default_factory=list)
    joined: bool = False
    of: str = ""  # "camera" or "weather" where the subject is no object
    extra: list[int] = field(default_factory=list)  # abstract direct objects: "takes a nap"


class ClauseReader:
    """Goes through the elements once; `clauses`, `background` and `negative` hold what was found."""

    def __init__(self, elements: Sequence[Element], cast: Cast, ledger: Ledger) -> None:
        self.elements = elements
        self.cast = cast
        self.ledger = ledger
        self.clauses: list[Clause] = []
        self.backgrounds: list[str] = []
        self.time = ""
        self.negative: list[str] = []
        self.current: Clause | None = None
        self.lead: list[Complement] = []  # set phrases and prepositions before the subject
        self.preposition: Element | None = None
        self.last: list[int] = []  # objects of the noun before
        self.last_role = ""  # subject, direct, complement, place or ""
        self.is_next = False
        self.before = "stop"  # the kind of the element before the noun phrase
        self.is_unwanted = False
        self.relative: list[int] | None = None
        self.joins = False  # after "while" and the like
        self.inverted: VerbGroup | None = None  # a verb whose subject comes after it
        self.describes = False  # after a participle such as "filled", "dressed": what follows is an attribute

    def read(self) -> None:
        k = 0
        while k < len(self.elements):
            element = self.elements[k]
            handler = getattr(self, f"_on_{element.kind}", None)
            k = (handler(k, element) if handler else None) or k + 1
            if element.kind not in ("and", "or", "comma", "noun", "without", "not", "adjective", "of"):
                self.is_unwanted = False
        self._end_of_sentence()

    def _peek(self, k: int) -> str:
        """The kind of the next element."""
        return self.elements[k].kind if k < len(self.elements) else "stop"

    def _before(self, k: int) -> str:
        return self.elements[k - 1].kind if k else "stop"

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
        subject = k + (1 if self.elements[k].adverbial else 2)
        named = self._peek(subject) == "noun" and self._peek(subject + 1) in ("verb", "adverb", "adverbial", "particle")
        if is_first and self.current is not None and (named or self._inverted(subject)):
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
        if found.kind.startswith("relation") and "own" not in found.kind:
            self.preposition = element
            return
        complement = Complement(found.kind, list(element.tokens), spots=found.spots, value=found.value)

        # right after another noun it says where that one is: "waves to a person on the right"
        is_its = found.kind == "at spot" or found.kind.startswith("relation own")
        if is_its and self._before(k) == "noun" and self.last_role in ("direct", "complement") and self.last:
            if found.kind == "at spot":
                self.clauses.append(Clause(list(self.last), complements=[complement]))
                return
            complement.objects = list(self.last)
        self._complete(complement)

    def _complete(self, complement: Complement) -> None:
        complement.is_next, self.is_next = self.is_next, False
        if self.current is not None:
            self.current.complements.append(complement)
        else:
            self.lead.append(complement)

    # ---- who and what

    def _on_pronoun(self, k: int, element: Element) -> None:
        before = [c for c in self.clauses if c.subjects and not c.of]
        subjects = before[-1].subjects if before else []
        if self._peek(k + 1) in ("verb", "adverb") and self.preposition is None and element.word not in ("them", "him"):
            if element.word == "they" and before:
                subjects = list(dict.fromkeys(i for c in before for i in c.subjects))
            self._begin(list(self._antecedent(element.word, subjects)))
            return
        subjects = self._antecedent(element.word, subjects)
        others = [i for i in self.last if self.current is None or i not in self.current.subjects]
        found = others or list(subjects)
        if element.word.endswith(("self", "selves")):
            return
        if self.preposition is not None and self.preposition.word == "between" and self.current is not None:
            found = [i for i in range(len(self.cast.objects)) if i not in self.current.subjects]
        if self.preposition is not None:
            self._complete(self._prepositional(found))
        elif self.current is not None and self.current.verb:
            self.current.direct += found

    def _antecedent(self, word: str, subjects: list[int]) -> list[int]:
        """ "it" is no person, "he" and "she" are; where that leaves a choice, the subject before."""
        if word not in ("it", "he", "she", "him", "her"):
            return subjects
        is_human = [is_any(item.noun, "human") for item in self.cast.objects]
        if subjects and is_human[subjects[0]] == (word != "it"):
            return subjects
        fitting = [i for i, human in enumerate(is_human) if human == (word != "it")]
        return fitting[-1:] or subjects

    def _begin(self, subjects: list[int], of: str = "") -> Clause:
        clause = Clause(subjects, complements=self.lead, joined=self.joins, of=of)
        self.lead = []
        self.joins = False

        # "Running through a field, a dog ...": the participle waits for its subject
        for waiting in reversed(self.clauses):
            if waiting.subjects or waiting.of or waiting.direct:
                break
            waiting.subjects = subjects
        self.clauses.append(clause)
        self.current = clause
        self.last, self.last_role = subjects, "subject"
        return clause

    def _prepositional(self, objects: list[int], place: str = "") -> Complement:
        element = self.preposition
        assert element is not None
        kind = element.adverbial.kind if element.adverbial else element.word
        self.preposition = None
        return Complement(kind, list(element.tokens), objects, place=place, value=element.word)

    def _on_noun(self, k: int, element: Element) -> int | None:
        phrase = element.noun
        assert phrase is not None
        tokens = list(element.tokens)
        following = k + 1

        # "a shot of a dog", "the nose of a bear", "a cup of coffee"
        while self._peek(following) == "of" and self._peek(following + 1) == "noun":
            inner = self.elements[following + 1].noun
            assert inner is not None
            inner_tokens = list(self.elements[following + 1].tokens)
            if self._is_medium(phrase):
                self.ledger.set(Role.STYLE, *tokens)
                phrase, tokens = inner, inner_tokens
            elif is_any(phrase.noun, "part", "frame", "abstract") or phrase.noun in ("glimpse", "sight"):
                self.ledger.set(Role.ATTRIBUTE, *tokens)
                phrase, tokens = inner, inner_tokens
            else:
                self.ledger.set(Role.ATTRIBUTE, *inner_tokens)
            following += 2
        self._noun(k, following, phrase, tokens)
        return following

    def _noun(self, k: int, following: int, phrase: NounPhrase, tokens: list[int]) -> None:
        noun = phrase.noun or self._elided_noun(k)
        self.before = self._before(k)
        opens = self.preposition is None and self.current is None
        if noun and opens and self._is_medium(phrase) and self._opens(following):
            self.ledger.set(Role.STYLE, *tokens)
            self.last_role = "medium"
        elif phrase.unwanted or (self.is_unwanted and self._is_listed(k, phrase)):
            self._unwanted(phrase, tokens)
        elif self.describes and self.preposition is not None and self.preposition.word in ("with", "in", "of", "by"):
            self.ledger.set(Role.ATTRIBUTE, *tokens)
            self.preposition = None
        elif self.describes and self._before(k) in ("and", "comma") and not self._verb_after(following):
            self.ledger.set(Role.ATTRIBUTE, *tokens)
        elif self.preposition is not None and self.preposition.word == "like":
            self.ledger.set(Role.STYLE, *tokens)  # a comparison: "runs like a cheetah"
            self.preposition = None
        elif phrase.head == "background" and phrase.words != "background":
            self._place(phrase.words.removesuffix("background").strip(), tokens)
        elif noun in VIEWERS and self.preposition is None and self._verb_after(following):
            self._begin([], of="camera")
        elif self._is_place(noun, phrase, following):
            self._setting(noun, phrase, tokens, following)
        elif is_any(noun, *STYLISTIC) and not self._is_real(noun, phrase, following):
            self._style(noun, phrase, tokens, following)
        elif is_any(noun, "part", "clothes") and phrase.owner and self._is_whole(phrase):
            self._of_owner(k, following, phrase, tokens)
        elif is_any(noun, "part", "clothes") and self._is_attribute(phrase) and not self._is_thing(phrase, noun):
            self._attribute(noun, tokens, following)
        elif is_any(noun, "frame") and self.preposition is not None:
            self._complete(self._prepositional([], place=noun))
            self.last_role = "place"
        elif noun and is_any(noun, "abstract"):
            self._abstract(tokens, noun)
        else:
            self._object(k, following, phrase, noun, tokens)

    def _verb_after(self, k: int) -> VerbGroup | None:
        """The verb at an element, adverbs before it left out; None where there is none."""
        while self._peek(k) == "adverb":
            k += 1
        return self.elements[k].verb if k < len(self.elements) else None

    def _elided_noun(self, k: int) -> str:
        """The noun of the next phrase: "a red and a blue car"."""
        if self._peek(k + 1) in ("and", "or", "comma") and self._peek(k + 2) == "noun":
            found = self.elements[k + 2].noun
            return (found.noun or self._elided_noun(k + 2)) if found else ""
        known = [item.noun for item in self.cast.objects]
        phrase = self.elements[k].noun
        named = phrase is not None and phrase.words not in ("other", "both", "all") and not phrase.words.isdecimal()
        return known[-1] if known and named and phrase and phrase.words not in lexicon.NUMBERS else ""

    def _is_medium(self, phrase: NounPhrase) -> bool:
        return is_any(phrase.noun, "medium", "camera") and self.preposition is None and self.current is None

    def _opens(self, following: int) -> bool:
        """Whether what follows a "photo" or the like says what it shows."""
        kind = self._peek(following)
        if kind == "verb":
            verb = self.elements[following].verb
            return verb is not None and lexicon.verbs().get(verb.lemma) == "show"
        return kind != "noun"

    def _is_listed(self, k: int, phrase: NounPhrase) -> bool:
        """Whether a phrase goes on with what is unwanted: "without people, cars or bikes", not "no people, a dog"."""
        determined = self.ledger.low(phrase.first) in ("a", "an", "the", "one")
        return not determined or self._before(k) in ("or", "without", "not", "of", "preposition")

    def _unwanted(self, phrase: NounPhrase, tokens: list[int]) -> None:
        self.is_unwanted = True
        self.preposition = None
        if phrase.noun:
            self.ledger.set(Role.UNWANTED, *tokens)
            plain = phrase.words.split()[:-1]
            self.negative.append(" ".join([*plain, phrase.head]))

    def _style(self, noun: str, phrase: NounPhrase, tokens: list[int], following: int) -> None:
        self.ledger.set(Role.STYLE, *tokens)
        if is_any(noun, "time"):
            self.time = self.time or noun
        opens = self.preposition is None and self._peek(following) == "verb"
        self.preposition = None
        if opens:
            self._begin([], of="weather")

    def _is_real(self, noun: str, phrase: NounPhrase, following: int) -> bool:
        """Whether a word of style names an object after all: "a drawing hangs", "a white light moves"."""
        verb = self.elements[following].verb if self._peek(following) == "verb" else None
        kind = lexicon.verbs().get(verb.lemma, "") if verb else ""
        if is_any(noun, "weather", "time"):
            return False
        if self.last_role == "direct" or (self.current and self.current.verb and self.preposition is None):
            return not is_any(noun, "style", "camera")
        return bool(verb) and kind not in ("", "no path", "show") and (phrase.count == 1 or phrase.definite)

    def _is_place(self, noun: str, phrase: NounPhrase, following: int) -> bool:
        word = self.preposition.word if self.preposition else ""
        kind = self.preposition.adverbial.kind if self.preposition and self.preposition.adverbial else word
        if kind in ("in", "at", "relation in") and self._is_proper(phrase):
            return True
        if is_any(noun, "enclosure") and not (is_any(noun, "place") or is_any(phrase.head, "place")):
            return kind in ("in", "inside", "at", "through", "within", "relation in", "across")
        if not (is_any(noun, "place") or is_any(phrase.head, "place")):
            return False
        if kind in NOT_PLACING:
            return kind == "with" and self.last_role == "place"
        if word:
            return True
        if self.current is not None and self.current.verb and self.last_role != "place" and self.before != "comma":
            kind = lexicon.verbs().get(self.current.verb.lemma, "")
            return not self.current.direct and kind in ("cross", "go", "come in", "leave", "arrive", "up", "down", "be")
        verb = self.elements[following].verb if self._peek(following) == "verb" else None
        kind = lexicon.verbs().get(verb.lemma, "no path") if verb else "no path"
        if noun in ("clouds", "cloud"):
            return False
        if verb and verb.lemma in ("wind", "flow", "snake", "meander", "stretch", "lead", "run", "curve"):
            return True
        return kind in ("no path", "still", "show", "aux", "sway", "place")

    def _is_proper(self, phrase: NounPhrase) -> bool:
        """Whether a phrase is a name: "Paris", "Times Square"."""
        words = [self.ledger.tokens[i].text for i in range(phrase.first, phrase.stop)]
        return all(word[0].isupper() for word in words) and phrase.first > 0

    def _setting(self, noun: str, phrase: NounPhrase, tokens: list[int], following: int) -> None:
        self._place(phrase.head if noun == phrase.head or " " not in noun else noun, tokens)
        if self.preposition is not None:
            self._complete(self._prepositional([], place=noun))
        elif self.current is not None and self.current.verb:
            self.current.complements.append(Complement("over", [], place=noun))
        elif self._peek(following) == "verb":
            self._begin([], of="place")
        self.last, self.last_role = [], "place"

    def _place(self, words: str, tokens: list[int]) -> None:
        self.ledger.set(Role.PLACE, *tokens)
        if words:
            self.backgrounds.append(words)

    def _is_attribute(self, phrase: NounPhrase) -> bool:
        """Whether a part or a garment belongs to an object that was named."""
        word = self.preposition.word if self.preposition else ""
        verb = self.current.verb.lemma if self.current and self.current.verb else ""
        has_host = bool(self.last or self.cast.objects)
        if word in ATTACHING or word in ("over", "around", "under", "from", "onto", "to", "through"):
            return has_host
        if lexicon.verbs().get(verb) in ("wear", "hold", "no path", "still", "push", "pull", "carry", "show", "bounce"):
            return has_host and self.last_role in ("subject", "direct", "attribute", "")
        return has_host and not phrase.owner and phrase.definite

    def _is_thing(self, phrase: NounPhrase, noun: str) -> bool:
        """Whether a part's word names an object with the noun before it: "a treasure chest"."""
        modifiers = [word for word in phrase.words.split()[:-1] if not forms.is_colour(word) and word != "and"]
        return bool(modifiers) and not phrase.owner and is_any(noun, "part") and not phrase.definite

    def _is_whole(self, phrase: NounPhrase) -> bool:
        """Whether something happens at somebody's part: "around a girl's head"."""
        return self.preposition is not None or (self.current is not None and self.current.verb is not None)

    def _of_owner(self, k: int, following: int, phrase: NounPhrase, tokens: list[int]) -> None:
        owner = phrase.owner[-1]
        noun = self.ledger.low(owner)
        self.ledger.set(Role.ATTRIBUTE, *[i for i in tokens if i > owner])
        whole = NounPhrase(phrase.first, owner + 1, noun, noun, noun, 1, definite=True)
        self._object(k, following, whole, noun, list(range(phrase.first, owner + 1)))

    def _attribute(self, noun: str, tokens: list[int], following: int) -> None:
        self.ledger.set(Role.ATTRIBUTE, *tokens)
        if self.current and self.current.verb and lexicon.verbs().get(self.current.verb.lemma) == "wear":
            self.ledger.set(Role.ATTRIBUTE, *range(self.current.verb.first, self.current.verb.stop))
        verb = self._verb_after(following)
        is_free = self.current is None or self.current.verb is not None
        opens = self.preposition is None and is_free and verb is not None and verb.form != "ing"
        self.preposition = None
        if opens:
            self._begin([], of="part")
        if self.last_role != "subject":
            self.last_role = "attribute"

    def _abstract(self, tokens: list[int], noun: str) -> None:
        """An action as a noun: "makes a full circle" goes in one, all others show in no box."""
        if self.current is not None and self.current.verb and self.preposition is None and noun in PATH_NOUNS:
            verb = self.current.verb
            self._complete(Complement(f"path {PATH_NOUNS[noun]}", [*range(verb.first, verb.stop), *tokens]))
            return
        if self.current is not None and self.preposition is None:
            self.current.extra += tokens
        if self.preposition is not None:
            self._complete(self._prepositional([]))

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

    def _place_host(self, found: list[int], noun: str) -> None:
        """ "a man on a horse": after another noun, somebody's mount is that one's."""
        is_mount = is_any(noun, "mount") and self.preposition is not None and self.preposition.word in ("on", "in")
        hosts = [i for i in self.last if is_any(self.cast.objects[i].noun, "animate", "human")]
        complement = self._prepositional(found)
        if is_mount and hosts and self.last_role in ("direct", "complement"):
            self.clauses.append(Clause(hosts, complements=[complement]))
        else:
            self._complete(complement)

    def _adjacent(self, k: int) -> bool:
        """Whether nothing but "and" or a comma stands between a noun phrase and the one before."""
        while k and self.elements[k - 1].kind in ("and", "or", "comma"):
            k -= 1
        return self._before(k) == "noun"

    def _extends(self, clause: Clause) -> bool:
        return bool(clause.complements and clause.complements[-1].objects)

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
            self.ledger.set(Role.OBJECT if is_name or i == tokens[-1] and phrase.noun else Role.ATTRIBUTE, i)
        self.cast.objects[found[0]].action_tokens += [i for i in tokens if self.ledger.low(i) == phrase.action]

    # ---- what happens

    def _agrees(self, verb: VerbGroup) -> bool:
        """Whether the noun right before may be the verb's subject: not in "ducks followed by a swan swim"."""
        current = self.current
        kind = lexicon.verbs().get(verb.lemma, "no path")
        if verb.form == "ing" and self.last and current is not None and current.subjects:
            subject, last = (self.cast.objects[indices[0]].noun for indices in (current.subjects, self.last))
            is_done = kind in ("carry", "hold", "wear", "throw", "push", "pull", "chase", "ride")
            if is_done and is_any(subject, "animate", "human") and not is_any(last, "animate", "human"):
                return False
        if verb.form == "finite" and current is not None and current.verb and current.verb.form != "finite":
            return False  # "an apple hanging from a branch falls"
        if verb.form != "plural" or not self.last or current is None or not current.subjects:
            return bool(self.last)
        several = len(self.last) > 1 or self.cast.objects[self.last[0]].count > 1
        before = len(current.subjects) > 1 or self.cast.objects[current.subjects[0]].count > 1
        return several or not before

    def _on_verb(self, k: int, element: Element) -> None:
        verb = element.verb
        assert verb is not None
        self.preposition = None if self.preposition and self.preposition.word not in ("by",) else self.preposition
        self.preposition = None
        current = self.current
        before = self._before(k)
        attached = before in ("noun", "adverb", "adjective")
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
            placed = any(complement.objects or complement.spots or complement.place for complement in self.lead)
            if placed and verb.form == "finite" and self._peek(k + 1) == "noun":
                self.inverted = verb
                return
            subjects = [] if verb.form == "ing" or not self.clauses else list(self.clauses[-1].subjects)
            if lexicon.verbs().get(verb.lemma) == "show" and not subjects:
                self.ledger.set(Role.STYLE, *element.tokens)
                return
            self._begin(subjects).verb = verb
        elif current.verb is None and (self.last_role != "complement" or verb.form in ("finite", "plural")):
            current.verb = verb
        elif current.verb is None and not (attached and self.last):
            current.verb = verb
        elif attached and before == "noun" and self.last_role in ("direct", "complement") and self._agrees(verb):
            self._begin(list(self.last)).verb = verb
        else:
            joined = (verb.form == "ing" and before != "then") or self.joins
            clause = self._begin(list(current.subjects), of=current.of)
            clause.verb = verb
            clause.joined = joined
        self.last_role = "subject" if self.current and self.current.verb is verb else self.last_role
        if before in ("not", "without") and self.current and self.current.verb is verb:
            self.current.verb = VerbGroup(
                verb.first, verb.stop, verb.lemma, verb.form, verb.passive, True, verb.particle, verb.chain
            )
