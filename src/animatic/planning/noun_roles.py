"""Noun phrases that are no objects: places, style, what is unwanted, parts and clothes, actions as nouns."""

from __future__ import annotations

from . import forms, lexicon
from .account import Role
from .clause_state import Complement
from .elements import Element
from .lexicon import is_any
from .noun_phrases import NounPhrase
from .object_roles import ObjectRoles
from .styles import STYLISTIC

ATTACHING = frozenset("with in of on by wearing".split())  # prepositions that give a host its parts or clothes
NOT_PLACING = frozenset(("with", "between", "of", "like", "for", "about", "than"))
PATH_NOUNS = {
    "circle": "circle", "loop": "circle", "lap": "circle", "zigzag": "zigzag", "arc": "arc", "jump": "bounce",
    "hop": "bounce", "leap": "bounce",
}  # fmt: skip
VIEWERS = frozenset("camera lens viewer view".split())


class NounRoles(ObjectRoles):
    """Tells what a noun phrase is by its noun, the preposition before it and what follows."""

    def _on_noun(self, k: int, element: Element) -> int | None:
        phrase = element.noun
        assert phrase is not None
        tokens = list(element.tokens)
        following = k + 1  # the element after the whole phrase

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
        """Give a phrase its role: the first of these cases that holds, from the narrow ones to an object."""
        noun = phrase.noun or self._elided_noun(k)
        self.before = self._before(k)
        opens = self.preposition is None and self.current is None
        preposition = self.preposition.word if self.preposition is not None else ""
        compounds = lexicon.words("compound")
        is_worn = noun not in compounds and (is_any(noun, "part", "clothes") or phrase.head in lexicon.words("clothes"))
        if noun and opens and self._is_medium(phrase) and self._opens(following):
            self.ledger.set(Role.STYLE, *tokens)
            self.last_role = "medium"
        elif phrase.unwanted or (self.is_unwanted and self._is_listed(k, phrase)):
            self._unwanted(phrase, tokens)
        elif self.describes and preposition in ("with", "in", "of", "by"):
            self.ledger.set(Role.ATTRIBUTE, *tokens)
            self.preposition = None
        elif self.describes and self._before(k) in ("and", "comma") and not self._verb_after(following):
            self.ledger.set(Role.ATTRIBUTE, *tokens)
        elif preposition == "in" and self._is_colour_alone(phrase, following):
            self.ledger.set(Role.ATTRIBUTE, *tokens)  # "a player in red"
            self.preposition = None
        elif preposition == "like":
            self.ledger.set(Role.STYLE, *tokens)  # a comparison: "runs like a cheetah"
            self.preposition = None
        elif phrase.head == "background" and phrase.words != "background":
            self._place(phrase.words.removesuffix("background").strip(), tokens)
        elif noun in VIEWERS and self.preposition is None and self._verb_after(following):
            self._begin([], of="camera")
        elif self._is_place(noun, phrase, following):
            self._setting(noun, phrase, tokens, following)
        elif noun not in compounds and is_any(noun, *STYLISTIC) and not self._is_real(noun, phrase, following):
            self._style(noun, phrase, tokens, following)
        elif is_worn and phrase.owner and self._is_whole(phrase):
            self._of_owner(k, following, phrase, tokens)
        elif is_worn and self._is_attribute(phrase) and not self._is_named(phrase, noun):
            self._attribute(noun, tokens, following)
        elif is_any(noun, "frame") and self.preposition is not None:
            self._complete(self._prepositional([], place=noun))
            self.last_role = "place"
        elif noun and is_any(noun, "abstract"):
            self._abstract(tokens, noun)
        else:
            self._object(k, following, phrase, noun, tokens)

    def _elided_noun(self, k: int) -> str:
        """The noun of the next phrase: "a red and a blue car"."""
        if self._peek(k + 1) in ("and", "or", "comma") and self._peek(k + 2) == "noun":
            found = self.elements[k + 2].noun
            if found is None:
                return ""
            return found.noun or self._elided_noun(k + 2)

        # "a red car and a blue one": the noun of the last object; a number alone is taken out of a group
        phrase = self.elements[k].noun
        if phrase is None or not self.cast.objects:
            return ""
        words = phrase.words
        if words in ("other", "both", "all") or words.isdecimal() or words in lexicon.NUMBERS:
            return ""

        # of its colour, where there is one: "the red one" after "a red ball and a blue box"
        coloured = [item for item in self.cast.objects if phrase.definite and phrase.colour in item.phrase]
        return (coloured or self.cast.objects)[-1].noun

    def _is_colour_alone(self, phrase: NounPhrase, following: int) -> bool:
        is_colour = not phrase.noun and all(map(forms.is_colour, phrase.words.split()))
        is_bare = forms.is_colour(self.ledger.low(phrase.first))
        if self._peek(following) in ("and", "or") and self._peek(following + 1) == "noun":
            # "in red and a woman", but "in red and blue cars"
            is_bare &= self.ledger.low(self.elements[following + 1].tokens[0]) in lexicon.DETERMINERS
        return is_colour and is_bare

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
        if self._before(k) == "comma" and self.refused > 1:
            return False  # "no text, no watermark, single lighthouse"
        determined = self.ledger.low(phrase.first) in ("a", "an", "the", "one", "single", "lone")
        return not determined or self._before(k) in ("or", "without", "not", "of", "preposition")

    def _unwanted(self, phrase: NounPhrase, tokens: list[int]) -> None:
        self.is_unwanted = True
        self.refused += phrase.unwanted
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
        if phrase.count > 1 and not phrase.is_vague and is_any(noun, "camera"):
            return True  # "seven paper cranes"
        if self.last_role == "direct" or (self.current and self.current.verb and self.preposition is None):
            return not is_any(noun, "style", "camera")
        return bool(verb) and kind not in ("", "no path", "show") and (phrase.count == 1 or phrase.definite)

    def _is_place(self, noun: str, phrase: NounPhrase, following: int) -> bool:
        """Whether a noun is the background here, and no object: "in a park", but "a park with a dog"."""
        word = ""
        kind = ""
        if self.preposition:
            word = self.preposition.word
            kind = self.preposition.adverbial.kind if self.preposition.adverbial else word
        if kind in ("in", "at", "relation in") and self._is_proper(phrase):
            return True
        if is_any(noun, "enclosure") and not (is_any(noun, "place") or is_any(phrase.head, "place")):
            return kind in ("in", "inside", "at", "through", "within", "relation in", "across")
        if not (is_any(noun, "place") or is_any(phrase.head, "place")):
            return False

        # after a preposition
        if kind in NOT_PLACING:
            return kind == "with" and self.last_role == "place"
        if word:
            return True

        # as the object of a verb: "crosses a street"
        if self.current is not None and self.current.verb and self.last_role != "place" and self.before != "comma":
            kind = lexicon.verbs().get(self.current.verb.lemma, "")
            return not self.current.direct and kind in ("cross", "go", "come in", "leave", "arrive", "up", "down", "be")

        # as a subject: "a river winds through a valley" sets the place, "clouds drift" does not
        verb = self.elements[following].verb if self._peek(following) == "verb" else None
        kind = lexicon.verbs().get(verb.lemma, "no path") if verb else "no path"
        if noun in ("clouds", "cloud"):
            return False
        if verb and verb.lemma in ("wind", "flow", "snake", "meander", "stretch", "lead", "run", "curve"):
            return True
        return kind in ("no path", "still", "show", "aux", "sway", "place")

    def _is_proper(self, phrase: NounPhrase) -> bool:
        """Whether a phrase is a name: "Paris", "Times Square"."""
        # the first word of a prompt has a capital letter in any case
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
        # a place without a name is no background: it changes nothing
        self.ledger.set(Role.PLACE if words else Role.NOT_UNDERSTOOD, *tokens)
        if words:
            self.backgrounds.append(words)

    def _is_attribute(self, phrase: NounPhrase) -> bool:
        """Whether a part or a garment belongs to an object that was named."""
        word = self.preposition.word if self.preposition else ""
        verb = self.current.verb.lemma if self.current and self.current.verb else ""
        has_host = bool(self.last or self.cast.objects)
        if not has_host:
            return False
        if phrase.bare and self.before == "comma":
            return True  # ", eyes fixed on it"
        if word in ATTACHING or word in ("over", "around", "under", "from", "onto", "to", "through"):
            return True
        if lexicon.verbs().get(verb) in ("wear", "hold", "no path", "still", "push", "pull", "carry", "show", "bounce"):
            return self.last_role in ("subject", "direct", "attribute", "")
        return phrase.definite and not phrase.owner

    def _is_named(self, phrase: NounPhrase, noun: str) -> bool:
        """Whether a part's word names an object with the noun before it: "a treasure chest"."""
        if phrase.owner or phrase.definite or not is_any(noun, "part"):
            return False
        before = phrase.words.split()[:-1]
        modifiers = [word for word in before if not forms.is_colour(word) and word != "and"]
        return bool(modifiers)

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

        # "her hair blows": a part that does something begins a clause, in which no box moves
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

        # "takes a nap": the noun has the role of its verb, whatever that becomes
        if self.current is not None and self.preposition is None:
            self.current.extra += tokens
        if self.preposition is not None:
            self._complete(self._prepositional([]))
