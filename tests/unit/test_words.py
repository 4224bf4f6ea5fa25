"""Words and queries: what a text is taken apart into, what a query asks for, and where it is found."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatstore import words
from chatstore.testing.search_corpus import ASKED, SAID
from chatstore.words import Term, parse

TEXTS = [text for texts in SAID.values() for text in texts]
#: Letters of many scripts, marks, forms, and what separates words.
LETTERS = "aZz09éßİΣςйёøﬁ½²Å東京都學はｶﾞがไทที่한국\u1112\u1161\u11abहिन्दीשָׁםمَرْ🙂𝔸\U00020000"
MIXED = st.text(st.sampled_from([*LETTERS, *'_-*" \n\u0301\u00ad\u200d\ufe0f\ud800\x00']), max_size=20)


@pytest.mark.parametrize(
    ("text", "made"),
    [
        ("Hello, hello WORLD", ["hello", "hello", "world"]),
        ("snake_case don't e-mail", ["snake", "case", "don", "t", "e", "mail"]),
        ("1.5 100% a1b2", ["1", "5", "100", "a1b2"]),
        ("Straße ÅNGSTRÖM Ünï Łódź Ørsted", ["strasse", "angstrom", "uni", "lodz", "orsted"]),
        ("Cafe\u0301 ﬁne ＡＢＣ x² ½ soft\u00adware", ["cafe", "fine", "abc", "x2", "1", "2", "software"]),
        ("ΟΔΥΣΣΕΥΣ Οδυσσεύς Ёлка шалом", ["οδυσσευσ", "οδυσσευσ", "елка", "шалом"]),
        ("שָׁלוֹם مَرْحَبًا كتـــاب", ["שלום", "مرحبا", "كتاب"]),
        ("हिन्दी தமிழ்", ["हिन्दी", "தமிழ்"]),
        ("東京都 都", ["東京", "京都", "都", "都"]),
        ("ガギ ｶﾞｷﾞ", ["ガギ", "ギ", "ガギ", "ギ"]),
        ("iPhone手机x", ["iphone", "手机", "机", "x"]),
        ("한국어", ["한국", "국어", "어"]),
        ("\"'*^()%_\\ \x00🙂👩‍💻❤️", []),
        ("", []),
    ],
)
def test_words(text: str, made: list[str]) -> None:
    """Runs of letters and digits, folded; pairs where a script has no spaces; everything else separates."""
    assert made == words.words_of(text)


def test_every_character_has_the_same_words_everywhere() -> None:
    """Words with their places are the words without, for each character there is but those of the large scripts."""
    large = [*range(0x3400, 0xA000), *range(0xAC00, 0xD800), *range(0xE000, 0xF900), *range(0x17000, 0x1D000)]
    texts = [f"a{chr(code)}B {chr(code)}" for code in sorted({*range(0x20000)} - set(large))]

    assert [] == [
        text for text in texts if words.words_of(text) != [place.word for place in words.places_of(text)]
    ]


@given(MIXED)
def test_places_are_in_the_text(text: str) -> None:
    """Each place is a part of the text, in order, and what stands there says the word by itself."""
    places = words.places_of(text)

    assert words.words_of(text) == [place.word for place in places]
    for place in places:
        assert 0 <= place.start < place.end <= len(text)
        assert words.words_of(text[place.start : place.end])


@given(st.text() | MIXED)
def test_every_string_is_a_query(text: str) -> None:
    """Nothing raises, no word of a query is syntax anywhere, and a snippet's places are inside it, apart, in order."""
    query = parse(text)
    for term in (*query.wanted, *query.unwanted):
        assert term.words
        assert not set("".join(term.words)) & set("\"'*^-+()<>~@:&|!\\%_ \x00")
    snippet, places = query.snippet(text)
    edges = [edge for place in places for edge in place]
    assert edges == sorted(edges)
    assert all(start < end <= len(snippet) for start, end in places)
    assert "\n" not in snippet


@given(MIXED)
def test_a_text_finds_itself(text: str) -> None:
    """A text without syntax is found by itself, and marked."""
    plain = re.sub(r'["*-]', " ", text)
    query = parse(plain)
    if query.wanted:
        assert query.rank(plain) is not None
        assert query.snippet(plain)[1]


@pytest.mark.parametrize(
    ("typed", "wanted", "unwanted"),
    [
        ("a b", ["a", "b"], []),
        ("a a", ["a"], []),
        ('"a b" c', ["a b", "c"], []),
        ("\u201ca b\u201d", ["a b"], []),
        ("a -b", ["a"], ["b"]),
        ('a -"b c"', ["a"], ["b c"]),
        ("a -b-c", ["a"], ["b c"]),
        ("a - b --c", ["a", "b", "c"], []),
        ("a-b", ["a", "b"], []),
        ("a* b", ["a*", "b"], []),
        ('"a b*" "c d"*', ["a b*", "c d*"], []),
        ("a*b *c d:*", ["a", "b", "c", "d"], []),
        ("-a*", [], ["a*"]),
        ('"a', ["a"], []),
        ("京", ["京*"], []),
        ("東京都 x", ["東京 京都", "x"], []),
        ('"都 x"', ["都 x"], []),
        ("cafe\u0301*", ["cafe*"], []),
        ("", [], []),
    ],
)
def test_what_a_query_asks_for(typed: str, wanted: list[str], unwanted: list[str]) -> None:
    """Phrases, exclusions and beginnings are told from words."""

    def shown(terms: tuple[Term, ...]) -> list[str]:
        return [" ".join(term.words) + "*" * term.begins for term in terms]

    query = parse(typed)

    assert (wanted, unwanted) == (shown(query.wanted), shown(query.unwanted))


@pytest.mark.parametrize("text", TEXTS)
def test_an_index_says_the_same_as_the_text(text: str) -> None:
    """What the coded words of a text say of a query is what the words say: to each word its own code, and no other."""
    coded = words.indexed(text).split(" ") if words.indexed(text) else []
    assert all(re.fullmatch("q[a-z0-9]+", word) for word in coded)
    for query in map(parse, ASKED):
        for term in (*query.wanted, *query.unwanted):
            assert bool(term.count(words.words_of(text))) is bool(words.in_index(term).count(coded)), term


def test_an_index_gets_no_more_than_it_takes() -> None:
    """Long words, many words and many repetitions are cut, and what was cut is said."""
    long, wide = words.indexed("x" * 1000), words.indexed("\U00020000" * 1000 + " " + "Ж" * 100)
    many = words.indexed(" ".join(f"{number}ж" * 5 for number in range(50_000)))
    often = words.indexed("a " * 300)

    assert long == "qw" + "x" * 80
    assert {True} == {len(word) <= words.LONGEST for word in (wide + " " + many).split(" ")}
    assert len(many) < 250_000
    for text, said in ((long, False), (many, True), (often, True), (words.indexed("a " * 200), False)):
        assert said is (words.MORE in text)


def test_marks_are_no_words() -> None:
    """What stands for an owner or a session is no code of a word, and differs by kind and name."""
    marks = {words.mark(kind, name) for kind in "stu" for name in ("a", "A", "", "\ud800", "x" * 255)}

    assert len(marks) == 15
    assert not [
        mark for mark in marks if mark.startswith(words.WORD) or not re.fullmatch("q[a-z0-9]{17}", mark)
    ]


def test_the_snippet_of_a_book() -> None:
    """However far behind the first words found stand, the snippet is what it is in a short text."""
    for before in (10, 4_990, 5_100, 100_000):
        text = "x" * before + " needle in " + "y" * 100_000

        snippet, [place] = parse("needle").snippet(text)

        assert ("needle", before) == (snippet[slice(*place)], before)
        assert snippet.endswith("y…")
