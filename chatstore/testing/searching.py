"""The contract of `search`: what is found, in which order, and what a hit says."""

from __future__ import annotations

import asyncio
import random
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from chatstore.errors import Invalid
from chatstore.history import ChatMessageHistory
from chatstore.messages import AIMessage, HumanMessage
from chatstore.testing.driver import ContractPart
from chatstore.testing.loading import record
from chatstore.testing.samples import FUTURE, HOSTILE_IDS, PAST, TEXTS, say, says
from chatstore.testing.search_corpus import ASKED, SAID

if TYPE_CHECKING:
    from chatstore.aio import AsyncRepository
    from chatstore.messages import SearchHit

TALK = [
    "The quick brown fox jumps over the lazy dog",
    "A quick fox: QUICK, quick and quicker",
    "foxes are quickly found",
    "Straße, Ölöfen und naïve Œuvres in ÅNGSTRÖM",
    "Αθήνα και Москва, קפה",
    "well-known e-mail addresses: someone@example.com, version 12.5",
    "snake_case and camelCase, 100% sure, path/to/file",
    "SELECT near matching MATCH against BOOLEAN",
]
#: Queries, and the messages of TALK they find: every word counts, whole, and nothing else does.
FINDS: dict[str, list[int]] = {
    "quick": [0, 1], "QUICK": [0, 1], "Quick Fox": [0, 1], "fox quick brown": [0], "fox dog lazy jumps": [0],
    "quic": [], "foxe": [], "quick cat": [], "foxes": [2], "quicker": [1],
    "ölöfen": [3], "ÖLÖFEN": [3], "olofen": [3], "naïve": [3], "naive": [3], "ångström": [3], "œuvres": [3], "oeuvres": [3],
    "strasse": [3], "αθήνα": [4], "αθηνα": [4], "ΜΟΣΚΒΑ": [], "МОСКВА": [4], "москва": [4], "קפה": [4],
    "well-known": [5], "known well": [5], "e-mail addresses": [5], "example.com": [5], "someone@example.com": [5],
    "snake_case": [6], "snake case": [6], "camelcase": [6], "camel": [], "path/to/file": [6], "file path": [6],
    "match": [7], "near matching": [7], "against boolean": [7], "select": [7],
}  # fmt: skip
#: What people type beside words.
TYPED: dict[str, list[int]] = {
    '"quick brown"': [0], '"brown quick"': [], '"quick fox"': [1], '"the lazy" quick': [0], "\u201cquick brown\u201d": [0],
    '"well known"': [5], '"sure path to file"': [6], '"fox"': [0, 1], '""': [], '"" fox': [0, 1],
    "fox -dog": [1], "-dog fox": [1], 'quick -"brown fox"': [1], "quick -cat": [0, 1], "quick -quick": [], "-fox": [],
    "-fox -dog": [], "match -well-known": [7], "fox - dog": [0], "fox --dog": [0], "quick -do*": [1], "mail -e-mail": [],
    "qui*": [0, 1, 2], "quick*": [0, 1, 2], "fox* -foxes": [0, 1], '"quick bro*"': [0], '"quick bro"*': [0], "naï*": [3],
    "qui* fo*": [0, 1, 2], "q*": [0, 1, 2], "*": [], "-*": [], "*ick": [], "МОС*": [4], "someo*": [5],
}  # fmt: skip
#: What some full-text engine takes for syntax: here every word is a word, and the rest separates.
SYNTAX: dict[str, list[int]] = {
    "quick OR cat": [], "quick AND brown": [], "quick NOT brown": [],
    "NEAR(quick fox)": [], "near(matching select)": [7], "^quick": [0, 1], "+quick +fox": [0, 1],
    "content:quick": [], "quick & brown": [0], "quick | brown": [0],
    "!quick": [0, 1], "quick <-> brown": [0], "quick:*": [0, 1], "quick:AB": [], "(quick": [0, 1], "quick)": [0, 1],
    "~quick": [0, 1], "<quick": [0, 1], ">quick": [0, 1], "@quick": [0, 1], "quick @ fox": [0, 1], '"quick': [0, 1],
    "'quick": [0, 1], "quick'; --": [0, 1], "{quick}": [0, 1], "quick\\": [0, 1], "%quick%": [0, 1], "qu_ck": [],
    "qu%k": [], "qu*k": [], "quick\tfox\n": [0, 1], "quick\x00fox": [0, 1], "quick\ud800fox": [0, 1],
    "quick" + " fox" * 300: [0, 1],
}  # fmt: skip
#: Texts without spaces, and what is found inside them.
UNSPACED = ["東京都は日本の首都です", "我们去公园", "ภาษาไทยไม่เว้นวรรค", "대한민국의 수도", "iPhone手机", "都"]
INSIDE: dict[str, list[int]] = {
    "東京": [0], "京都": [0], "日本": [0], "都": [0, 5], "です": [0], "す": [0], "東都": [], "東 都": [0], "公园": [1], "我们公园": [],
    "ไทย": [2], "ภาษา": [2], "민국": [3], "수도": [3], "한": [3], "iphone": [4], "手机": [4], "iphone手机": [4], "机": [4], "phone": [],
    '"京都は"': [0], "東京 -首都": [], "都 -東京": [5],
}  # fmt: skip
WORDLESS = [
    "",
    " ",
    "%",
    "_",
    "*",
    "''",
    '"',
    "--",
    "!?",
    "()",
    "\x00",
    "\ud800",
    "&|!",
    "🙂",
    "\u202e",
    "-",
    "+-",
    "\\",
]


def found(hits: list[SearchHit]) -> list[int]:
    """Return the places in TALK of what a search found."""
    return sorted(hit.position - 1 for hit in hits)


def odd_strings(count: int) -> list[str]:
    """Return strings of everything that breaks query parsers, mixed by a seeded generator."""
    draw = random.Random(7)
    pieces = [*"\"'*^-+()<>~@:&|!\\%_{}[]?.,;=#$/\x00\x1f\ud800\u202e🙂", " ", " ", "quick", "fox", "OR", "AND", "NOT", "NEAR",
              "NEAR/2", "content:", "é", "e\u0301", "İ", "ß", "中文", "0", "1e5", "null", "https://x.y/?z"]  # fmt: skip
    return ["".join(draw.choices(pieces, k=draw.randint(1, 9))) for _ in range(count)]


class SearchContract(ContractPart):
    """What holds for searches."""

    async def test_hits_say_whose_session_they_are_in(self, store: AsyncRepository) -> None:
        """A list of hits can be shown without asking for each session."""
        await store.create_session("s", user_id="ada", tenant_id="t", title="Roses")
        await store.add_messages("s", [HumanMessage("When do I prune them?")])
        hits = await store.search("prune")
        assert [("Roses", "ada", "t")] == [(hit.title, hit.user_id, hit.tenant_id) for hit in hits]

    async def test_every_word_counts(self, store: AsyncRepository) -> None:
        """A message is found if it holds all words, as whole words, in any order, whatever their case and accents."""
        await store.add_messages("s", says(*TALK))

        assert FINDS == {query: found(await store.search(query)) for query in FINDS}

    async def test_phrases_exclusions_and_beginnings(self, store: AsyncRepository) -> None:
        """``"A phrase"`` stands so, ``-without`` must not be there, ``begin*`` is how a word begins, in any mixture."""
        await store.add_messages("s", says(*TALK))

        assert TYPED == {query: found(await store.search(query)) for query in TYPED}

    async def test_a_query_is_always_literal(self, store: AsyncRepository) -> None:
        """Other engines' operators mean nothing: words are words, the rest only separates them."""
        await store.add_messages("s", says(*TALK))

        assert SYNTAX == {query: found(await store.search(query)) for query in SYNTAX}

    async def test_words_inside_of_texts_without_spaces(self, store: AsyncRepository) -> None:
        """In Chinese, Japanese, Thai and Korean, any part of a run of letters is found, and only what stands so."""
        await store.add_messages("s", says(*UNSPACED))

        assert INSIDE == {query: found(await store.search(query)) for query in INSIDE}

    async def test_the_same_answers_as_in_memory(self, store: AsyncRepository) -> None:
        """Hundreds of queries in ten scripts and more are answered as memory answers them, in both orders, all of it."""
        memory = ChatMessageHistory().repository  # how this layer comes to a store in memory
        for number, (script, texts) in enumerate(SAID.items()):
            loaded = [record(number * 100 + position, said) for position, said in enumerate(texts, 1)]
            await store.create_session(script, title=f"about {script}", user_id="u")
            await store.load_records(script, loaded)
            memory.create_session(script, title=f"about {script}", user_id="u")
            memory.load_records(script, loaded)

        wrong = [
            (query, order, ours, due)
            for order in ("newest", "best")
            for query in ASKED
            if (ours := await store.search(query, order=order, limit=100))
            != (due := memory.search(query, order=order, limit=100))
        ]

        assert [] == wrong
        assert len(set(ASKED)) >= 200

    async def test_a_query_without_words_finds_nothing(self, store: AsyncRepository) -> None:
        """Punctuation alone is no word, and finds nothing."""
        await store.add_messages("s", says(*TALK, *WORDLESS))

        assert [] == [query for query in WORDLESS if await store.search(query)]

    async def test_no_query_can_raise(self, store: AsyncRepository) -> None:
        """Three hundred odd strings and every hostile value are searched for without an error."""
        await store.add_messages("s", says(*TALK))

        for query in [*odd_strings(300), *TEXTS[:-1], *HOSTILE_IDS[:40]]:
            assert len(await store.search(query)) <= len(TALK), query

    async def test_short_and_frequent_words(self, store: AsyncRepository) -> None:
        """Words of one letter, and words that engines leave out because everybody says them, are words."""
        await store.add_messages("s", says("x is 7 and ok", "the it of an www com"))

        finds = {
            "x": [0],
            "7": [0],
            "ok x": [0],
            "it": [1],
            "of the": [1],
            "www": [1],
            '"www com"': [1],
            "th*": [1],
        }
        assert finds == {query: found(await store.search(query)) for query in finds}

    async def test_long_texts_and_long_words(self, store: AsyncRepository) -> None:
        """A word is found, however long it is, and wherever it stands in a text of any length."""
        long = "".join(f"{number}x" for number in range(60))
        many = " ".join(f"word{number}" for number in range(20_000))
        await store.add_messages(
            "s", says(f"a {long}y", f"b {long}z", f"{many} needle", "again and " * 400 + "and the end")
        )

        finds = {
            f"{long}y": [0], f"{long}*": [0, 1], f"a* -{long}y": [3], "needle": [2], "word19999 needle": [2],
            '"word19999 needle"': [2], '"word3 needle"': [], "word7 -needle": [], "word7 -hay": [2], '"the end"': [3],
            '"again and and"': [3], "again -end": [],
        }  # fmt: skip
        late = any("InnoDB" in note for note in store.capabilities.notes)
        for query, expected in finds.items():
            places = found(await store.search(query))
            for _ in range(100 if late else 0):
                if expected != places:
                    await asyncio.sleep(0.05)
                    places = found(await store.search(query))
            assert expected == places, query

    async def test_a_hit_says_where_it_is(self, store: AsyncRepository) -> None:
        """A hit has the message's place, id, type, time and text, and a snippet with the word."""
        await store.add_messages("s", says("nothing"))
        [stored] = await store.add_messages(
            "s", [say("before " * 80 + "the needle " + "after " * 80, id="m1")]
        )

        [hit] = await store.search("NEEDLE")

        assert ("s", 2, "m1", "human", stored.created_at) == (
            hit.session_id, hit.position, hit.message_id, hit.type, hit.created_at
        )  # fmt: skip
        assert stored.message.content == hit.content
        assert ["needle"] == [hit.snippet[start:end] for start, end in hit.highlights]
        assert len(hit.snippet) < 400

    async def test_a_hit_says_whose_it_is(self, store: AsyncRepository) -> None:
        """A hit has the title and the owner of its session, as they are now."""
        await store.create_session("s", tenant_id="t", user_id="u", title="About plums")
        await store.add_messages("s", says("plum"))
        await store.update_session("s", title="Plums", user_id="v")

        [hit] = await store.search("plum")

        assert ("Plums", "t", "v") == (hit.title, hit.tenant_id, hit.user_id)

    async def test_a_snippet_marks_what_was_found(self, store: AsyncRepository) -> None:
        """The snippet is one line; its places are the words that were found, as they are written there."""
        await store.add_messages(
            "s", says("Le\n\n  Café   au lait,\tcafe\u0301s: 東京都", "the end of the of the")
        )

        marked = {
            query: [
                hit.snippet[start:end] for hit in await store.search(query) for start, end in hit.highlights
            ]
            for query in ("cafe", "caf* lait", "京都", "京", '"of the"', "missing")
        }

        assert marked == {
            "cafe": ["Café"], "caf* lait": ["Café", "lait", "cafe\u0301s"], "京都": ["京都"], "京": ["京"],
            '"of the"': ["of", "the", "of", "the"], "missing": [],
        }  # fmt: skip
        assert "Le Café au lait, cafe\u0301s: 東京都" == (await store.search("cafe"))[0].snippet

    async def test_newest_or_best_first(self, store: AsyncRepository) -> None:
        """``order`` decides which come first, and which are left out at the limit."""
        await store.add_messages("s", says("fig fig fig", "fig", "fig fig"))
        await store.load_records("old", [record(1, "fig " * 9)])

        newest = [(hit.session_id, hit.position) for hit in await store.search("fig", order="newest")]
        best = [(hit.session_id, hit.position) for hit in await store.search("fig", order="best")]

        assert [("s", 3), ("s", 2), ("s", 1), ("old", 1)] == newest
        assert [("old", 1), ("s", 1), ("s", 3), ("s", 2)] == best
        assert [3, 2] == [hit.position for hit in await store.search("fig", order="newest", limit=2)]

    async def test_better_hits_come_first(self, store: AsyncRepository) -> None:
        """Hits come in the order of their rank, highest first, at most ``limit`` of them."""
        await store.add_messages(
            "s", says("apple once in a long line of other words", "apple apple apple", *["apple pear"] * 5)
        )

        hits = await store.search("apple")

        assert 7 == len(hits)
        assert sorted((hit.rank for hit in hits), reverse=True) == [hit.rank for hit in hits]
        for limit in (0, 1, 3, 7, 1000):
            assert min(limit, 7) == len(await store.search("apple", limit=limit))

    async def test_filters_of_a_search(self, store: AsyncRepository) -> None:
        """Session, owner and types narrow a search, and join with AND."""
        await store.create_session("a", tenant_id="t", user_id="u")
        await store.create_session("b", user_id="U")
        for name in "abc":
            await store.add_messages(name, [say("kiwi"), AIMessage(content="green kiwi")])

        async def sessions(**filters: Any) -> str:
            return "".join(sorted({hit.session_id for hit in await store.search("kiwi", **filters)}))

        assert "abc" == await sessions()
        assert "a" == await sessions(session_id="a")
        assert "a" == await sessions(user_id="u")
        assert "a" == await sessions(tenant_id="t", user_id="u")
        assert "" == await sessions(tenant_id="t", user_id="U")
        assert "" == await sessions(session_id="b", user_id="u")
        assert "abc" == await sessions(types=["tool", "ai"])
        assert "" == await sessions(types=["tool"])
        assert {"ai"} == {hit.type for hit in await store.search("kiwi", types=["ai"])}
        assert "" == await sessions(types=[])
        assert "" == await sessions(session_id="missing")
        assert 2 == len(await store.scope(user_id="u").search("kiwi"))

    async def test_times(self, store: AsyncRepository) -> None:
        """``since`` is inclusive, ``until`` exclusive."""
        await store.load_records("s", [record(position, "melon") for position in (1, 2, 3)])
        at = [PAST + timedelta(seconds=position) for position in range(5)]

        assert [0, 1, 2] == found(await store.search("melon", since=at[1]))
        assert [1, 2] == found(await store.search("melon", since=at[1] + timedelta(microseconds=1)))
        assert [1] == found(await store.search("melon", since=at[2], until=at[3]))
        assert [] == found(await store.search("melon", since=FUTURE))

    async def test_a_search_sees_what_is_there_now(self, store: AsyncRepository) -> None:
        """Edited, removed and archived messages are found as they are now; content blocks by their text."""
        await store.add_messages(
            "s", [say("first plum"), say("second plum"), say("third plum"), say("fourth plum")]
        )
        await store.update_message("s", 1, say("peach"))
        await store.delete_message("s", 2)
        await store.pop_message("s")
        await store.add_messages(
            "t",
            [
                HumanMessage(
                    content=["see", {"type": "text", "text": "the plum"}, {"type": "image", "plumage": "x"}]
                )
            ],
        )
        await store.update_session("t", archived=True)

        assert [("s", 3), ("t", 1)] == sorted(
            (hit.session_id, hit.position) for hit in await store.search("plum")
        )
        assert [("s", 1)] == [(hit.session_id, hit.position) for hit in await store.search("peach")]
        await store.clear("s")
        await store.delete_session("t")
        assert [] == await store.search("plum")
        await store.replace_messages("s", says("plum again"))
        await store.fork_session("s", "f")
        assert ["f", "s"] == sorted(hit.session_id for hit in await store.search("plum"))

    async def test_every_change_is_searched(self, store: AsyncRepository) -> None:
        """After each kind of change, what is found is what is there, however often it was searched before."""

        async def places(query: str, **owner: Any) -> list[tuple[str, int]]:
            return sorted((hit.session_id, hit.position) for hit in await store.search(query, **owner))

        await store.create_session("s", user_id="ada")
        await store.add_messages("s", says("lemon", "lemon lime", "lime"))
        assert [("s", 1), ("s", 2)] == await places("lemon", user_id="ada")
        await store.update_message("s", 1, say("orange"))
        assert ([("s", 2)], [("s", 1)]) == (await places("lemon"), await places("orange"))
        assert [("s", 3)] == await places("lime -lemon")
        await store.update_message("s", 2, say("lime"))
        assert [("s", 2), ("s", 3)] == await places("lime -lemon", user_id="ada")
        await store.update_session("s", user_id="bob")
        assert ([], [("s", 1)]) == (
            await places("orange", user_id="ada"),
            await places("orange", user_id="bob"),
        )
        assert [] == await store.scope(user_id="ada").search("orange")
        await store.truncate("s", after=2)
        assert [("s", 2)] == await places("lime")
        await store.pop_message("s")
        await store.add_messages("s", says("mango"))
        assert ([], [("s", 4)]) == (await places("lime"), await places("mango"))
        await store.fork_session("s", "f", through=1)
        assert [("f", 1), ("s", 1)] == await places("orange")
        await store.replace_messages("s", says("papaya"))
        assert ([("f", 1)], [("s", 5)]) == (await places("orange"), await places("papaya"))
        await store.delete_session("s")
        await store.add_messages("s", says("orange"))
        assert ([("f", 1), ("s", 1)], []) == (await places("orange"), await places("papaya"))

    @pytest.mark.parametrize(
        "wrong",
        [
            {"limit": -1}, {"limit": 1001}, {"limit": "5"}, {"types": "human"}, {"user_id": ""}, {"tenant_id": 5},
            {"session_id": ""}, {"order": "oldest"}, {"order": None}, {"since": datetime(2024, 1, 1)}, {"until": datetime(2024, 1, 1)}, {"query": None},  # noqa: DTZ001
            {"query": b"x"},
        ],
        ids=repr,
    )  # fmt: skip
    async def test_bad_filters_of_a_search_are_refused(
        self, store: AsyncRepository, wrong: dict[str, Any]
    ) -> None:
        """A filter that cannot be meant raises `Invalid`."""
        with pytest.raises(Invalid):
            await store.search(**{"query": "x", **wrong})
