"""Words: what search takes a text apart into, what a query asks for, and where a text says it.

This is all there is to say about what search means, and it is the same for every backend: those without an index look
into each text by it, those with one hand their index these words and no text. It refuses to know where texts are kept.

A word is a run of letters, digits and the marks that belong to them. Case folds, accents fold, and so do the forms
that mean the same letter (full width, ligatures). Chinese, Japanese, Thai, Lao, Khmer and Burmese are written without
spaces, and Korean joins words to what follows them: there, each two neighbours are a word, and the last letter of a
run is one, too, so that any part of a run is found.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from functools import cache, lru_cache, partial
from hashlib import blake2b
from itertools import chain, pairwise
from typing import TYPE_CHECKING, NamedTuple, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from re import Pattern

T = TypeVar("T")
_ASCII = re.compile(r"[a-z0-9]+")
_PARTS, _SPACES = re.compile(r"\S+"), re.compile(r"\s+")
_BEYOND_ASCII = re.compile(r"[^\x00-\x7f]+")
#: Scripts whose runs are taken apart into pairs.
_UNSPACED = (
    "\u0e00-\u0eff\u1000-\u109f\u1100-\u11ff\u1780-\u17ff\u3005-\u3007\u3040-\u318f\u31f0-\u31ff\u3400-\u4dbf"
    "\u4e00-\u9fff\uac00-\ud7a3\uf900-\ufaff\U00020000-\U0003ffff"
)
_PAIRED = re.compile(f"([{_UNSPACED}]+)")
#: Marks that do not count: accents, the points of Hebrew and Arabic, and what only changes how a letter looks.
_IGNORED = re.compile(
    "[\u00ad\u0300-\u036f\u0483-\u0489\u0591-\u05c7\u0610-\u061a\u0640\u064b-\u065f\u0670\u06d6-\u06ed"
    "\u1ab0-\u1aff\u1dc0-\u1dff\u200c\u200d\u20d0-\u20ff\ufe00-\ufe0f\ufe20-\ufe2f\U000e0100-\U000e01ef]"
)
#: Letters with an accent that Unicode holds for a part of them.
_STROKES = {
    ord(a): b
    for a, b in zip("øłđħŧıæœþð", ["o", "l", "d", "h", "t", "i", "ae", "oe", "th", "d"], strict=True)
}
_QUOTES = {ord(mark): '"' for mark in "\u201c\u201d\u201e\u201f\u00ab\u00bb\uff02"}
#: A part of a query: a phrase, or what stands between spaces and quotes; a minus before it only at its beginning.
_PART = re.compile(r'(?P<minus>(?<!\S)-)?(?:"(?P<phrase>[^"]*)"(?P<star>\*)?|(?P<chunk>[^\s"]+))')
#: Characters of the parts of texts of which the words are kept, and how many.
KNOWN, MOST_KEPT = 24, 50_000
#: Characters that are looked at first for a snippet.
BEGINNING = 5_000
#: Characters of a snippet before and behind the first word found.
AROUND = 60

# ------------------------------------------------------------------------------------------------ a text


@cache
def _runs() -> re.Pattern[str]:
    """Return what finds the runs of a text that has no underscores; made when a text first is not ASCII (10 ms)."""
    marks = [chr(code) for code in range(0x300, 0x1F000) if unicodedata.category(chr(code))[0] == "M"]
    return re.compile(f"[\\w\u00ad\u200c\u200d{''.join(marks)}\U000e0100-\U000e01ef]+")


def words_of(text: str) -> list[str]:
    """Return the words of *text* as search compares them, in their order."""
    if text.isascii():
        return _ASCII.findall(text.lower())
    # A regular expression that knows every mark is slow: each part is looked at once.
    return list(chain.from_iterable(map(_WORDS.__getitem__, text.split())))


def _words(part: str) -> tuple[str, ...]:
    """Return the words of a part of a text between spaces."""
    part = part.lower()
    if part.isascii():
        return tuple(_ASCII.findall(part))
    made: list[str] = []
    for run in _runs().findall(part.replace("_", " ")):
        if run.isascii():
            made.append(run)
        else:
            made += _folds(run)
    return tuple(made)


class _Kept(dict[str, T]):
    """What *make* makes of a part of a text: what is said once is said again."""

    def __init__(self, make: Callable[[str], T]) -> None:
        super().__init__()
        self.make = make

    def __missing__(self, part: str) -> T:
        made = self.make(part)
        if len(part) <= KNOWN:
            if len(self) >= MOST_KEPT:
                self.clear()
            self[part] = made
        return made


_WORDS = _Kept(_words)


def _fold(text: str) -> str:
    """Return letters without case and accents; what was one letter may be several now, or none."""
    plain = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", text).casefold())
    return unicodedata.normalize("NFC", _IGNORED.sub("", plain).translate(_STROKES))


def _folds(run: str) -> tuple[str, ...]:
    made: list[str] = []
    for number, part in enumerate(_PAIRED.split(_fold(run))):
        if number % 2:
            made += [first + second for first, second in pairwise(part)]
            made.append(part[-1])
        elif part:
            made += _runs().findall(part)
    return tuple(made)


class Place(NamedTuple):
    """A word, and from where to where it stands in the text."""

    word: str
    start: int
    end: int


def places_of(text: str) -> list[Place]:
    """Return what `words_of` does, each with its place."""
    if text.isascii():
        return [Place(found[0], *found.span()) for found in _ASCII.finditer(text.lower())]
    made: list[Place] = []
    for found in _PARTS.finditer(text):
        part, start = found[0], found.start()
        if part.isascii() and part.isalnum():
            made.append(Place(part.lower(), start, found.end()))
        else:
            places = _PLACES[part]
            made += [Place(word, start + first, start + end) for word, first, end in places]
    return made


def _places(part: str) -> list[Place]:
    made: list[Place] = []
    for found in _runs().finditer(part.replace("_", " ")):
        run, start = found[0], found.start()
        if run.isascii():
            made.append(Place(run.lower(), start, found.end()))
        else:
            made += [Place(word, start + first, start + end) for word, first, end in _placed(run)]
    return made


_PLACES = _Kept(_places)


def _placed(run: str) -> Iterator[tuple[str, int, int]]:
    """Yield the words of *run*, each with its place, which is the whole run where letters do not fold one by one."""
    letters = _letters(run)
    folded = [_fold(letter) for letter in letters]
    words = _folds(run)
    origin: list[tuple[int, int]] = []
    at = 0
    for letter, plain in zip(letters, folded, strict=True):
        origin += [(at, at + len(letter))] * len(plain)
        at += len(letter)
    plain = "".join(folded)
    if plain != _fold(run):
        yield from ((word, 0, len(run)) for word in words)
        return
    reached = 0
    for word in words:
        start = plain.find(word, reached)
        end = start + len(word)
        yield word, origin[start][0], origin[end - 1][1]
        # Of a pair, the second letter begins the next word.
        reached = start + 1 if _PAIRED.match(word) else end


def _letters(run: str) -> list[str]:
    """Take *run* apart into letters, each with the marks behind it."""
    letters: list[str] = []
    for character in run:
        if letters and (unicodedata.category(character)[0] == "M" or _IGNORED.match(character)):
            letters[-1] += character
        else:
            letters.append(character)
    return letters


# ------------------------------------------------------------------------------------------------ a query


class Term(NamedTuple):
    """Words that stand one behind the other; where it *begins*, the last of them is only how a word begins."""

    words: tuple[str, ...]
    begins: bool = False

    def places(self, words: Sequence[str]) -> list[int]:
        """Return where in *words* this begins."""
        if len(self.words) == 1:
            [wanted] = self.words
            if self.begins:
                return [at for at, word in enumerate(words) if word.startswith(wanted)]
            return [at for at, word in enumerate(words) if word == wanted]
        *front, last = self.words
        found: list[int] = []
        size, at = len(front), -1
        while True:
            try:
                at = words.index(front[0], at + 1, len(words) - size)
            except ValueError:
                return found
            behind = words[at + size]
            ends = behind.startswith(last) if self.begins else behind == last
            if ends and list(words[at : at + size]) == front:
                found.append(at)

    def count(self, words: list[str]) -> int:
        """Return how often *words* say this."""
        if len(self.words) == 1 and not self.begins:
            return words.count(self.words[0])
        return len(self.places(words))


class Query(NamedTuple):
    """What a text must say, all of it, and what it must not."""

    wanted: tuple[Term, ...]
    unwanted: tuple[Term, ...] = ()

    def rank(self, text: str) -> float | None:
        """Return how often *text* says what is wanted, or None where this does not find it."""
        return self.ranking()(text)

    def ranking(self) -> Callable[[str], float | None]:
        """Return what ranks one text after the other, as `rank` does."""
        patterns = _patterns(self)
        return self._rank_by_words if patterns is None else partial(_rank, self, *patterns)

    def _rank_by_words(self, text: str) -> float | None:
        if text.isascii():  # most texts that do not say it are known by that
            small = text.lower()
            if any(word not in small for term in self.wanted for word in term.words):
                return None
        words = words_of(text)
        times = 0
        for term in self.wanted:
            count = term.count(words)
            if not count:
                return None
            times += count
        if any(term.count(words) for term in self.unwanted):
            return None
        return float(times)

    def snippet(self, text: str) -> tuple[str, tuple[tuple[int, int], ...]]:
        """Return the part of *text* around the first words found, on one line, and where in it words were found."""
        marked = self._first_marked(text)
        start = marked[0][0] if marked else 0
        low, high = max(0, start - AROUND), start + AROUND
        line, places, at = "\u2026" if low > 0 else "", [], low
        for first, end in marked:
            if first >= high:
                break
            line += _one_line(text[at:first], line)
            places.append((len(line), len(line) + min(end, high) - first))
            line += text[first : min(end, high)]
            at = min(end, high)
        line += _one_line(text[at:high], line)
        line = line.rstrip()
        return line + ("\u2026" if high < len(text) else ""), tuple(places)

    def _first_marked(self, text: str) -> list[tuple[int, int]]:
        """Return places of what is wanted, those around the first one and perhaps more: a text may be a book."""
        size = BEGINNING
        while True:
            cut = len(text)
            if size < cut:
                cut = next((found.end() for found in _PARTS.finditer(text, size)), cut)
            marked = _merged(self._marked(text[:cut]))
            if cut == len(text) or (marked and marked[0][0] + AROUND < cut):
                return marked
            size *= 8

    def _marked(self, text: str) -> Iterator[tuple[int, int]]:
        if text.isascii() and (patterns := _patterns(self)) is not None:
            small = text.lower()
            for _, pattern in patterns[0]:
                for said in pattern.finditer(small):
                    yield said.span()
            return
        found = places_of(text)
        words = [place.word for place in found]
        for term in self.wanted:
            last = len(term.words) - 1
            for at in term.places(words):
                for offset in range(last + 1):
                    word, start, end = found[at + offset]
                    # Of a pair that only begins with what is wanted, mark that.
                    cut = term.begins and offset == last and len(word) == 2 and end - start == 2  # noqa: PLR2004
                    yield start, start + len(term.words[last]) if cut and _PAIRED.match(word) else end


def _rank(
    query: Query, wanted: list[tuple[str, Pattern[str]]], unwanted: list[Pattern[str]], text: str
) -> float | None:
    """As `Query.rank`, of a query without phrases: an ASCII text need not be taken apart."""
    if not text.isascii():
        return query._rank_by_words(text)
    small, times = text.lower(), 0
    for word, pattern in wanted:
        if word not in small:  # most texts that do not say it are known by that
            return None
        count = len(pattern.findall(small))
        if not count:
            return None
        times += count
    for pattern in unwanted:
        if pattern.search(small):
            return None
    return float(times)


@lru_cache(64)
def _patterns(query: Query) -> tuple[list[tuple[str, Pattern[str]]], list[Pattern[str]]] | None:
    """Return what says, in small ASCII letters, each wanted word, and each unwanted one; None where one is a phrase."""
    if any(len(term.words) > 1 for term in (*query.wanted, *query.unwanted)):
        return None
    return [(term.words[0], _saying(term)) for term in query.wanted], [
        _saying(term) for term in query.unwanted
    ]


def _saying(term: Term) -> Pattern[str]:
    [word] = term.words
    return re.compile(f"(?<![a-z0-9]){re.escape(word)}" + ("[a-z0-9]*" if term.begins else "(?![a-z0-9])"))


def _merged(spans: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return *spans* in order, as few as they can be."""
    made: list[tuple[int, int]] = []
    for start, end in sorted(spans):
        if made and start < made[-1][1]:
            made[-1] = (made[-1][0], max(end, made[-1][1]))
        else:
            made.append((start, end))
    return made


def _one_line(text: str, before: str) -> str:
    """Return *text* with single spaces in the place of all white space, to stand behind *before*."""
    line = _SPACES.sub(" ", text)
    return line[1:] if line.startswith(" ") and (not before or before[-1] in " \u2026") else line


def parse(query: str) -> Query:
    """Read what somebody typed; every string is a query, and one that names no word finds nothing.

    ``"a phrase"`` must stand so, ``-word`` or ``-"a phrase"`` must not be there, ``begin*`` is how a word begins;
    all else is words, in any order. A minus counts where a part begins, a star where a word ends.
    """
    wanted: list[Term] = []
    unwanted: list[Term] = []
    for part in _PART.finditer(query.translate(_QUOTES)):
        phrase, chunk = part["phrase"], part["chunk"]
        without = part["minus"] is not None and (phrase is not None or _is_word(chunk[:1]))
        if phrase is not None or without:
            text = chunk if phrase is None else phrase + (part["star"] or "")
            (unwanted if without else wanted).extend(_phrase(text))
        else:
            wanted += _single_words(chunk)
    return Query(tuple(dict.fromkeys(wanted)), tuple(dict.fromkeys(unwanted)))


def _is_word(character: str) -> bool:
    return bool(words_of(character)) or unicodedata.category(character or " ")[0] == "M"


def _phrase(text: str) -> list[Term]:
    """Return the term of words in a row, if there are any."""
    text = text.rstrip()
    star = text.endswith("*") and _is_word(text[-2:-1])
    words = words_of(text)
    if not words:
        return []
    return [_open(words, begins=star)]


def _single_words(chunk: str) -> Iterator[Term]:
    """Yield a term for each word, and one for each run of a script without spaces."""
    parts = chunk.split("*")
    for number, part in enumerate(parts):
        behind = parts[number + 1] if number + 1 < len(parts) else None
        star = behind is not None and _is_word(part[-1:]) and not _is_word(behind[:1])
        groups = list(_groups(words_of(part)))
        for words in groups:
            yield _open(words, begins=star and words is groups[-1])


def _groups(words: Sequence[str]) -> Iterator[list[str]]:
    """Put the pairs of a run together; any other word stands alone."""
    run: list[str] = []
    for word in words:
        if not _PAIRED.match(word):
            yield [word]
            continue
        run.append(word)
        if len(word) == 1:
            yield run
            run = []


def _open(words: Sequence[str], *, begins: bool) -> Term:
    """Return the term of *words*, of which the last may go on where its script has no spaces."""
    last = words[-1]
    if not _PAIRED.match(last):
        return Term(tuple(words), begins)
    if len(words) > 1 and len(words[-2]) == 2 and words[-2][1] == last:  # noqa: PLR2004
        return Term(tuple(words[:-1]))
    return Term(tuple(words), begins=True)


# ------------------------------------------------------------------------------------------------ an index

#: Letters before a word in an index: they keep words apart from marks, and out of any database's list of stop words.
WORD, LONGEST = "qw", 82
#: What stands for all words behind the last one that is indexed, or for more repetitions than a database counts.
MORE = "qmore"
#: Words of one text in an index, characters of them, and how often one may be said.
MOST, MOST_CHARACTERS, MOST_TIMES = 16_000, 200_000, 255


def indexed(text: str) -> str:
    """Return the words of *text* for an index: between spaces, in ASCII letters and digits only.

    A ``z`` doubles, and each UTF-16 unit beyond ASCII is a ``z`` with four hexadecimal digits, so that words begin with
    each other as they did. What a database might not take is left out, and `MORE` put there.
    """
    written = " ".join(filter(None, map(_CODES.__getitem__, text.split())))
    if written.count(" ") < MOST_TIMES:
        return written
    coded = written.split(" ")
    more = len(coded) > MOST or max(Counter(coded).values()) > MOST_TIMES
    coded = coded[:MOST]
    while len(coded) * LONGEST > MOST_CHARACTERS and sum(map(len, coded)) > MOST_CHARACTERS:
        coded, more = coded[: len(coded) // 2], True
    return " ".join([*coded, MORE] if more else coded)


def _codes(part: str) -> str:
    return " ".join((WORD + _code(word))[:LONGEST] for word in _words(part))


_CODES = _Kept(_codes)


def _code(word: str) -> str:
    plain = word.replace("z", "zz")
    return plain if plain.isascii() else _BEYOND_ASCII.sub(lambda found: _escaped(found[0]), plain)


def _escaped(letters: str) -> str:
    units = letters.encode("utf-16-be").hex()
    return "z" + "z".join(units[at : at + 4] for at in range(0, len(units), 4))


def mark(kind: str, name: str) -> str:
    """Return what stands for a tenant (``t``), user (``u``) or session (``s``) of this name in an index."""
    return f"q{kind}{blake2b(name.encode('utf-8', 'surrogatepass'), digest_size=8).hexdigest()}"


def is_exact(term: Term) -> bool:
    """Tell whether an index knows all of each word, so that what it says of *term* is so."""
    return all(len(WORD) + len(_code(word)) < LONGEST for word in term.words)


def in_index(term: Term) -> Term:
    """Return *term* as an index knows it."""
    coded = [WORD + _code(word) for word in term.words]
    cut = [word[:LONGEST] for word in coded]
    return Term(tuple(cut), term.begins and len(coded[-1]) < LONGEST)
