"""The messages that are measured with: seeded turns of one human and one ai message.

Knows the mix: about 200 characters from the human, about 800 from the model with usage and metadata, every
eighth turn with two tool calls, words as rare and as common as in real text, some of them not ASCII. Refuses
to know who stores them: each turn comes as messages for chatstore, and as plain values for raw drivers.
"""

from __future__ import annotations

import itertools
import random
from typing import TYPE_CHECKING, Any, NamedTuple

from chatstore.messages import AIMessage, HumanMessage

if TYPE_CHECKING:
    from collections.abc import Iterator

    from chatstore.messages import Message

SEED = 20_240
MODEL = "aurora-2-large"
_SYLLABLES = (
    "ka",
    "lo",
    "mi",
    "ren",
    "ta",
    "vos",
    "shi",
    "dur",
    "pel",
    "na",
    "gor",
    "ith",
    "zu",
    "ble",
    "cor",
)
_FOREIGN = (
    "Größe",
    "naïve",
    "café",
    "Łódź",
    "Привет",
    "мир",
    "東京",
    "対話",
    "안녕",
    "שלום",
    "مرحبا",
    "🙂",
    "🚀",
    "½",
)


class Plain(NamedTuple):
    """A message as somebody without chatstore would hold it: *rest* is what goes into the JSON column."""

    type: str
    content: str
    rest: dict[str, Any]
    model: str | None
    input_tokens: int | None
    output_tokens: int | None


class Turn(NamedTuple):
    """The same two messages twice."""

    messages: list[Message]
    plain: list[Plain]


def turns(seed: int = SEED, pool: int = 512) -> Iterator[Turn]:
    """Return an endless iterator over *pool* different turns."""
    return itertools.cycle(_pool(seed, pool))


def many(count: int, seed: int = SEED, pool: int = 512) -> Turn:
    """Return *count* messages, the turns of *pool* over and over, in one list of each form."""
    cut = list(itertools.islice(turns(seed, pool), -(-count // 2)))
    return Turn(
        [message for turn in cut for message in turn.messages][:count],
        [message for turn in cut for message in turn.plain][:count],
    )


def _pool(seed: int, size: int) -> list[Turn]:
    rng = random.Random(seed)
    words = _vocabulary(rng)
    weights = [1 / rank for rank in range(1, len(words) + 1)]
    say = iter(rng.choices(words, weights, k=size * 260)).__next__
    return [_turn(rng, number, say) for number in range(size)]


def _vocabulary(rng: random.Random, size: int = 8_000) -> list[str]:
    """Make words; the n-th is said as often as the n-th in any language."""
    made = {"".join(rng.choices(_SYLLABLES, k=rng.randint(1, 4))) for _ in range(3 * size)}
    words = sorted(made)[:size] if len(made) >= size else sorted(made)
    rng.shuffle(words)
    for place, word in enumerate(_FOREIGN):
        words.insert(5 + 40 * place, word)
    return words


def _text(rng: random.Random, mean: int, say: Any) -> str:
    length, said = rng.randint(mean // 2, mean * 3 // 2), []
    while length > 0:
        said.append(say())
        length -= len(said[-1]) + 1
    return " ".join(said)


def _tool_call(call_id: str, words: str) -> dict[str, Any]:
    return {"name": "find", "args": {"words": words, "limit": 5}, "id": call_id, "type": "tool_call"}


def _turn(rng: random.Random, number: int, say: Any) -> Turn:
    question, answer = _text(rng, 200, say), _text(rng, 800, say)
    read, written = rng.randint(50, 4_000), rng.randint(50, 900)
    rest: dict[str, Any] = {
        "response_metadata": {"model_name": MODEL, "finish_reason": "stop", "request": f"r-{number:06d}"}
    }
    if number % 8 == 0:
        rest["tool_calls"] = [_tool_call(f"call-{number}-{call}", say()) for call in range(2)]
    rest["usage_metadata"] = {"input_tokens": read, "output_tokens": written, "total_tokens": read + written}
    return Turn(
        [HumanMessage(content=question), AIMessage(content=answer, **rest)],
        [Plain("human", question, {}, None, None, None), Plain("ai", answer, rest, MODEL, read, written)],
    )
