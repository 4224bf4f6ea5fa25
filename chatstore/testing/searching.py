"""The contract of `search`: all words, without case, always literal."""

from __future__ import annotations

import random
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from chatstore.errors import Invalid
from chatstore.messages import AIMessage, HumanMessage
from chatstore.testing.driver import ContractPart
from chatstore.testing.loading import record
from chatstore.testing.samples import FUTURE, HOSTILE_IDS, PAST, TEXTS, say, says

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
    "ölöfen": [3], "ÖLÖFEN": [3], "olofen": [], "naïve": [3], "naive": [], "ångström": [3], "œuvres": [3],
    "αθήνα": [4], "ΜΟΣΚΒΑ": [], "МОСКВА": [4], "москва": [4], "קפה": [4],
    "well-known": [5], "known well": [5], "e-mail addresses": [5], "example.com": [5], "someone@example.com": [5],
    "snake_case": [6], "snake case": [6], "camelcase": [6], "camel": [], "path/to/file": [6], "file path": [6],
    "match": [7], "near matching": [7], "against boolean": [7], "select": [7],
}  # fmt: skip
#: What some full-text engine takes for syntax: here every word is a word, and the rest separates.
SYNTAX: dict[str, list[int]] = {
    '"quick brown"': [0], '"brown quick"': [0], "quick OR cat": [], "quick AND brown": [], "quick NOT brown": [],
    "NEAR(quick fox)": [], "near(matching select)": [7], "quick*": [0, 1], "qui*": [], "^quick": [0, 1], "-quick": [0, 1],
    "+quick -fox": [0, 1], "fox -dog": [0], "content:quick": [], "quick & brown": [0], "quick | brown": [0],
    "!quick": [0, 1], "quick <-> brown": [0], "quick:*": [0, 1], "quick:AB": [], "(quick": [0, 1], "quick)": [0, 1],
    "~quick": [0, 1], "<quick": [0, 1], ">quick": [0, 1], "@quick": [0, 1], "quick @ fox": [0, 1], '"quick': [0, 1],
    "'quick": [0, 1], "quick'; --": [0, 1], "{quick}": [0, 1], "quick\\": [0, 1], "%quick%": [0, 1], "qu_ck": [],
    "qu%k": [], "q*": [], "quick\tfox\n": [0, 1], "quick\x00fox": [0, 1], "quick\ud800fox": [0, 1],
    "quick" + " fox" * 300: [0, 1],
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

    async def test_every_word_counts(self, store: AsyncRepository) -> None:
        """A message is found if it holds all words, as whole words, in any order, whatever their case."""
        await store.add_messages("s", says(*TALK))

        joined = any("snake_case" in note for note in store.capabilities.notes)
        finds = {query: places for query, places in FINDS.items() if not joined or "snake" not in query}
        assert finds == {query: found(await store.search(query)) for query in finds}

    async def test_a_query_is_always_literal(self, store: AsyncRepository) -> None:
        """Operators, quotes and wildcards of any engine mean nothing: words are words, the rest only separates them."""
        await store.add_messages("s", says(*TALK))

        assert SYNTAX == {query: found(await store.search(query)) for query in SYNTAX}

    async def test_a_query_without_words_finds_nothing(self, store: AsyncRepository) -> None:
        """Punctuation alone is no word, and finds nothing."""
        await store.add_messages("s", says(*TALK, *WORDLESS))

        assert [] == [query for query in WORDLESS if await store.search(query)]

    async def test_no_query_can_raise(self, store: AsyncRepository) -> None:
        """Three hundred odd strings and every hostile value are searched for without an error."""
        await store.add_messages("s", says(*TALK))

        for query in [*odd_strings(300), *TEXTS[:-1], *HOSTILE_IDS[:40]]:
            assert len(await store.search(query)) <= len(TALK), query

    async def test_short_words(self, store: AsyncRepository) -> None:
        """Words of one or two letters are words, unless `capabilities.notes` says that short words are missed."""
        await store.add_messages("s", says("x is 7 and ok", "the it of an"))
        missed = any("short" in note for note in store.capabilities.notes)

        for query, places in {"x": [0], "7": [0], "ok x": [0], "it": [1], "of the": [1]}.items():
            assert found(await store.search(query)) in ([places, []] if missed else [places]), query

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
        assert "needle" in hit.snippet
        assert len(hit.snippet) < 400

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

    @pytest.mark.parametrize(
        "wrong",
        [
            {"limit": -1}, {"limit": 1001}, {"limit": "5"}, {"types": "human"}, {"user_id": ""}, {"tenant_id": 5},
            {"session_id": ""}, {"since": datetime(2024, 1, 1)}, {"until": datetime(2024, 1, 1)}, {"query": None},  # noqa: DTZ001
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
