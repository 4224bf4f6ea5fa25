"""The invented conversations have the size and shapes of real ones; the hostile values are what they say."""

from __future__ import annotations

import json
import unicodedata
from collections import Counter
from typing import Any

import pytest

from tests import corpus, hostile


def shapes(found: list[dict[str, Any]]) -> set[tuple[str, ...]]:
    """Return the different kinds of messages: role, keys in order, and the type of the content."""
    return {
        (message["role"], *message, type(message["content"]).__name__) for message in corpus.messages(found)
    }


def test_the_corpus_has_the_promised_size() -> None:
    """200 conversations, about 5,300 messages, about 1,160 tool calls, each with one result."""
    found = corpus.conversations()

    assert len(found) == 200
    assert len(corpus.messages(found)) == pytest.approx(5_300, rel=0.02)
    assert len(corpus.tool_calls(found)) == pytest.approx(1_160, rel=0.02)
    results = [message["tool_call_id"] for message in corpus.messages(found) if message["role"] == "tool"]
    assert results == [call["id"] for call in corpus.tool_calls(found)]
    assert len(set(results)) == len(results)
    assert all(
        isinstance(json.loads(call["function"]["arguments"]), dict) for call in corpus.tool_calls(found)
    )


def test_the_corpus_is_the_same_for_the_same_seed() -> None:
    """Equal seeds give equal conversations, other seeds others; one conversation can be told from another."""
    assert corpus.conversations() == corpus.conversations()
    assert corpus.conversations() != corpus.conversations(seed=7)
    keys = Counter((one["task_id"], one["trial"]) for one in corpus.conversations())
    assert set(keys.values()) == {1}


def test_the_corpus_has_text_of_many_scripts() -> None:
    """Letters outside ASCII, outside Latin and outside the basic plane occur."""
    text = "".join(message["content"] or "" for message in corpus.messages(corpus.conversations()))

    assert {"LATIN", "CYRILLIC", "CJK", "ARABIC"} <= {
        unicodedata.name(letter, "?").split()[0] for letter in set(text)
    }
    assert max(text) > "\uffff"


def test_the_invented_and_the_real_ones_have_the_same_shapes() -> None:
    """Where the real ones lie beside the checkout, every kind of message they have is invented too."""
    real = corpus.real_conversations()
    if real is None:
        pytest.skip(f"no real conversations at {corpus.REAL.name} beside the checkout")
    found = corpus.conversations()

    assert shapes(real) - shapes(found) == set()
    assert {tuple(one) for one in real} == {tuple(one) for one in found}
    assert len(corpus.messages(found)) == pytest.approx(len(corpus.messages(real)), rel=0.02)
    assert len(json.dumps(found)) == pytest.approx(len(json.dumps(real)), rel=0.25)


def test_distinct_ids_are_distinct_and_of_lawful_length() -> None:
    """No id occurs twice; each has 1 to 255 characters; some differ only in case or normal form."""
    ids = hostile.DISTINCT_IDS

    assert len(set(ids)) == len(ids)
    assert all(1 <= len(one) <= 255 and one == one.strip() for one in ids)
    assert len({unicodedata.normalize("NFC", one).casefold() for one in ids}) < len(ids)


@pytest.mark.parametrize("levels", [0, 1, 30, 31, 100, 101])
@pytest.mark.parametrize("lists", [False, True])
def test_nesting_has_the_levels_it_says(levels: int, lists: bool) -> None:
    """As many brackets open as levels were asked for."""
    text = json.dumps(hostile.nested(levels, lists=lists))

    assert levels == text.count("[" if lists else "{")


def test_ten_megabytes_are_ten_megabytes() -> None:
    """Counted in UTF-8, of many different words, and the same for the same seed."""
    text = hostile.ten_megabytes()

    assert len(text.encode()) == 10 * 1024 * 1024
    assert len(set(text.split())) > 100_000
    assert text == hostile.ten_megabytes()


def test_the_normal_forms_differ() -> None:
    """The composed and the decomposed text are different strings that look alike."""
    one, two = hostile.TEXTS["composed"], hostile.TEXTS["decomposed"]

    assert one != two
    assert unicodedata.normalize("NFC", two) == unicodedata.normalize("NFC", one)
