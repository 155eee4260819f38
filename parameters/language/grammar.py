"""From tokens to what a prompt says: pictures, words, parameters, in this order.

A parameter is white space, `--`, an em dash or an en dash, and the name of one right behind it. Where a dash is no
parameter it is a dash; what is nearly one is refused with the correction, so that no parameter is drawn as words.
"""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches
from types import MappingProxyType
from typing import Any, Final, NoReturn

from ...errors import SalonError
from ..errors import PromptRefused, refused
from ..kinds import Switch, Words
from ..known import Flag, flags, parameters
from ..pictures import Named, named
from .prompt import Prompt, Said
from .terms import terms_of
from .tokens import PLAIN_DASHES, Kind, Token
from .words import Name, Word, introduces, name_in, names_within, suits, words_of

CLOSING: Final = ("—", "–")


def read(prompt: str, tokens: Sequence[Token]) -> Prompt:
    """Return what the tokens of a prompt without permutations say.

    Args:
        prompt: that they are of, for messages.
        tokens: of it.

    Raises:
        PromptRefused: see this module and docs/parameters.md; it knows the place.
    """
    return _Reader(prompt, tokens).read()


class _Reader:
    def __init__(self, prompt: str, tokens: Sequence[Token]) -> None:
        self.prompt, self.tokens = prompt, tokens
        self.words = list(words_of(tokens))

    def read(self) -> Prompt:
        pictures = self._pictures()
        first = len(pictures)
        at = first
        while at < len(self.words) and not self._is_flag(at):
            self._check_words(at)
            at += 1
        begin = self.words[first].first if first < at else 0
        end = self.words[at - 1].end if first < at else 0
        terms = terms_of(self.prompt, self.tokens[begin:end])
        said: dict[str, Said] = {}
        while at < len(self.words):
            if not self._is_flag(at):
                self._refuse_words(at)
            one, at = self._said(at)
            if (before := said.get(one.name)) is not None:
                raise twice(self.prompt, before, one)
            said[one.name] = one
        check_conflicts(self.prompt, said)
        return Prompt(terms, MappingProxyType(said), pictures, self.prompt)

    # ---- before the parameters ---------------------------------------------------------------------------------------

    def _pictures(self) -> tuple[Named, ...]:
        found: list[Named] = []
        for word in self.words:
            raw = word.raw
            picture = named(raw) if word.is_plain else None
            if picture is None:
                if word.is_plain and "::" in raw and "[" not in raw and named(raw.partition("::")[0]) is not None:
                    remedy = "leave it out; --iw weighs all pictures"
                    raise self._refuse(word.start, "prompt", f"{_short(raw)}, a weight of one picture", "none", remedy)
                break
            found.append(picture)
        return tuple(found)

    def _is_flag(self, at: int) -> bool:
        name = name_in(self.words[at])
        if name is None:
            return False
        if introduces(name):
            return True
        if name.known is not None and name.is_letter and not name.rest and suits(name.known, self._word(at + 1)):
            raise self._nearly(name.start, f"{name.dash}{name.flag[2:]}", name.flag)
        return False

    def _check_words(self, at: int) -> None:
        """Refuse what is nearly a parameter, or a picture, among the words."""
        word, following = self.words[at], self._word(at + 1)
        if word.is_dash and following is not None and following.tokens[0].kind is Kind.WORD and following.is_plain:
            dash = word.tokens[0].text
            typed, _, joined = following.raw.partition("=")
            known = flags().get(f"--{typed}")
            if known is not None and (dash in PLAIN_DASHES or len(typed) > 1):
                value = self._word(at + 2)
                if joined or suits(known, value):
                    raise self._nearly(word.start, f"{dash} {typed}", f"--{typed}")
        for name in names_within(word):
            assert name.known is not None
            free = isinstance(name.known.parameter.kind, Words) and not name.joined
            if not free and (name.joined or suits(name.known, following)):
                got = f"{name.flag} without white space before it"
                raise self._nearly(name.start, got, f"a space before {name.flag}")
        if word.is_plain and word.raw.startswith(("http://", "https://")):
            got, remedy = f"the link {_short(word.raw)} among the words", "put it first, or write \\ before it"
            raise self._refuse(word.start, "prompt", got, "links of pictures before the words", remedy)

    def _nearly(self, position: int, got: str, correct: str) -> PromptRefused:
        remedy = f"write {correct}, or \\ before the dash for words"
        return self._refuse(position, "prompt", f"{got}, nearly a parameter", "parameters or words", remedy)

    # ---- parameters --------------------------------------------------------------------------------------------------

    def _said(self, at: int) -> tuple[Said, int]:
        """Return the parameter at a word, and where the next one is."""
        name = name_in(self.words[at])
        assert name is not None
        flag = name.known
        if flag is None:
            raise self._unknown(name)
        if name.rest and not name.joined:
            got, remedy = f"{_short(name.rest)} right behind it", "write a space there"
            raise self._refuse(name.start, name.flag, got, "white space", remedy)
        end = at + 1
        while end < len(self.words) and not self._is_flag(end):
            end += 1
        value, used = self._value(name, flag, at, end)
        if used < end:
            self._refuse_words(used)
        position = name.start if used == at + 1 else self.words[at + 1].start
        return Said(flag.parameter.name, name.flag, value, name.start, position), end

    def _value(self, name: Name, flag: Flag, at: int, end: int) -> tuple[Any, int]:
        """Return the value of a parameter at word `at`, whose words end before `end`, and where those used end."""
        kind, remedy = flag.parameter.kind, flag.parameter.remedy
        if flag.spelling is not None or isinstance(kind, Switch):
            word = flag.spelling.word if flag.spelling is not None else ""
            if name.joined and not word:
                raise self._refuse(name.start, name.flag, _short(name.rest), "no value", f"write {name.flag} alone")
            if word and (given := name.rest if name.joined else self._text(at + 1, end)) != word:
                raise self._refuse(name.start, name.flag, repr(given), word, f"write {name.flag} {word}, or drop it")
            value = True if flag.spelling is None else flag.spelling.value
            return value, at + 1 + bool(word and not name.joined)
        if isinstance(kind, Words) and kind.to_end:
            return self._words(name, flag, at, end), end
        found = [self._joined(self.words[at])] if name.joined else []
        starts = [name.start] if name.joined else []
        last = end if kind.many else min(end, at + 1 + (not name.joined))
        for each in self.words[at + 1 : last]:
            self._check_hole(name, each)
            found.append(each.value)
            starts.append(each.start)
        if not found and not getattr(kind, "none", False):
            one = "one value or more" if kind.many else "one value"
            remedy = f"write it, or drop {name.flag}"
            raise self._refuse(name.start, name.flag, "nothing after it", one, remedy)
        values = []
        for text, start in zip(found, starts, strict=True):
            try:
                values.append(kind.read(name.flag, text, remedy))
            except SalonError as error:
                raise PromptRefused(str(error), self.prompt, start) from error
        return tuple(values) if kind.many else values[0], last

    def _words(self, name: Name, flag: Flag, at: int, end: int) -> str:
        """Return the value of a parameter that takes all words up to the next one."""
        for i in range(at + 1, end):
            self._check_words(i)
        first = self.words[at]
        tokens = list(self.tokens[first.end : self.words[end - 1].end])
        lead = self._joined(first, quoted=True) if name.joined else ""
        for token in tokens:
            if token.kind is Kind.COLONS:
                got, remedy = ":: in it", "write words:: other::-0.5 in the text in place of it"
                raise self._refuse(token.start, name.flag, got, "words without weights", remedy)
            if name.dash in CLOSING and (token.kind is Kind.DASHES or token.text in CLOSING):
                got = f"a second {token.text} behind {name.dash}{name.flag[2:]}"
                remedy = f"write {name.flag} and no dash behind it, or a space behind the first for words"
                raise self._refuse(name.start, "prompt", got, "a parameter or words between dashes", remedy)
            if token.kind is Kind.HOLE:
                raise self._hole(name, token)
        text = (lead + "".join(token.plain for token in tokens)).strip()
        if not text:
            remedy = f"write it, or drop {name.flag}"
            raise self._refuse(name.start, name.flag, "nothing after it", "words", remedy)
        try:
            read: str = flag.parameter.kind.read(name.flag, text, flag.parameter.remedy)
        except SalonError as error:
            raise PromptRefused(str(error), self.prompt, name.start) from error
        return read

    def _joined(self, word: Word, *, quoted: bool = False) -> str:
        """Return what stands behind the equals sign of a word."""
        rest, past = [], False
        for token in word.tokens[1:]:
            text = token.plain[1:-1] if token.kind is Kind.QUOTED and not quoted else token.plain
            if not past:
                past, text = "=" in text, text.partition("=")[2]
            rest.append(text)
        return "".join(rest)

    def _check_hole(self, name: Name, word: Word) -> None:
        for token in word.tokens:
            if token.kind is Kind.HOLE:
                raise self._hole(name, token)

    def _hole(self, name: Name, token: Token) -> PromptRefused:
        got, remedy = f"{_short(token.text)}, a word of a list", "write the value"
        return self._refuse(token.start, name.flag, got, "such words in the text only", remedy)

    def _unknown(self, name: Name) -> PromptRefused:
        known = flags()
        for cut in range(3, min(len(name.flag), 24)):  # --s250
            if name.flag[cut:].isdigit() and name.flag[:cut] in known:
                remedy = f"write {name.flag[:cut]} {name.flag[cut:]}"
                return self._refuse(name.start, name.flag, "no space before the value", "one", remedy)
        near = get_close_matches(name.flag[:40].lower(), list(known), 1, 0.6)
        remedy = f"did you mean {near[0]}?" if near else "see docs/parameters.md"
        remedy += " For words, write \\ before the dashes"
        return self._refuse(name.start, _short(name.flag), "a name that no parameter has", "those of the list", remedy)

    def _refuse_words(self, at: int) -> NoReturn:
        """Refuse words behind parameters."""
        self._check_words(at)
        word = self.words[at]
        got = f"{_short(word.raw)} behind a parameter"
        raise self._refuse(word.start, "prompt", got, "all words before the parameters", "move it, or put it in quotes")

    # ---- inside ------------------------------------------------------------------------------------------------------

    def _word(self, at: int) -> Word | None:
        return self.words[at] if at < len(self.words) else None

    def _text(self, at: int, end: int) -> str:
        return self.words[at].value if at < end else ""

    def _refuse(self, position: int, what: str, got: str, allowed: str, remedy: str) -> PromptRefused:
        return refused(self.prompt, position, what, got, allowed, remedy)


def twice(prompt: str, before: Said, after: Said) -> PromptRefused:
    """Return the error for a parameter that is said two times, perhaps by two of its names."""
    if before.flag == after.flag:
        return refused(prompt, after.position, after.flag, "it twice", "it once", "drop one")
    return refused(prompt, after.position, after.flag, f"it beside {before.flag}", "one of them", "drop one")


def check_conflicts(prompt: str, said: dict[str, Said]) -> None:
    """Raise PromptRefused for two parameters that may not be said together."""
    known = parameters()
    for one in said.values():
        for other in known[one.name].conflicts:
            if other in said:
                first, second = sorted((one, said[other]), key=lambda each: each.position)
                raise twice(prompt, first, second)
    leave_out, guidance = said.get("no"), said.get("guidance_scale")
    if leave_out is not None and guidance is not None and guidance.value == 0:
        got, remedy = f"it with {guidance.flag} 0", f"raise {guidance.flag} or drop {leave_out.flag}"
        raise refused(prompt, leave_out.position, leave_out.flag, got, "with guidance", remedy)


def _short(text: str) -> str:
    return repr(text if len(text) <= 40 else text[:40] + "...")
