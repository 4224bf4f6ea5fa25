"""The conversations of ``chatstore demo``: two customers of a bicycle workshop and its assistant.

This module knows what was said and when; it refuses to know where it is stored. Times, ids and texts are
fixed, so that whoever shows the samples (the demo, the documentation) can say what comes out.
"""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from chatstore.errors import SessionExists
from chatstore.messages import AIMessage, HumanMessage, MessageRecord, SystemMessage, ToolMessage

if TYPE_CHECKING:
    from collections.abc import Iterator

    from chatstore.messages import Message
    from chatstore.repository import Repository

TENANT: Final = "wheelhouse"
#: Seconds between one message of a sample and the next.
PACE: Final = 20


class Sample(NamedTuple):
    """One sample session: *begun* is when its first message came, each next one `PACE` seconds later."""

    session_id: str
    user_id: str
    title: str
    begun: datetime
    metadata: dict[str, Any]
    messages: list[Message]


def store(repository: Repository) -> int:
    """Store the samples; return how many messages were new (a second time: 0)."""
    stored = 0
    for sample in samples():
        with suppress(SessionExists):  # an earlier demo's: what it has already is not stored again
            repository.create_session(
                sample.session_id,
                tenant_id=TENANT,
                user_id=sample.user_id,
                title=sample.title,
                metadata=sample.metadata,
            )
        stored += repository.load_records(sample.session_id, records(sample))
    return stored


def records(sample: Sample) -> Iterator[MessageRecord]:
    """Yield the messages of *sample* as records, with ids made from their place."""
    for position, message in enumerate(sample.messages, 1):
        created_at = sample.begun + timedelta(seconds=PACE * (position - 1))
        yield MessageRecord(message, position, f"demo-{position}", created_at, sample.session_id)


def samples() -> list[Sample]:
    """Return the samples, oldest first."""
    return [_brakes(), _touring(), _lights(), _invoice(), _chain()]


def _said(
    text: str, tokens: tuple[int, int], model: str = "wheel-1", *, cached: int = 0, **fields: Any
) -> AIMessage:
    usage: dict[str, Any] = {
        "input_tokens": tokens[0],
        "output_tokens": tokens[1],
        "total_tokens": sum(tokens),
    }
    if cached:
        usage["input_token_details"] = {"cache_read": cached}
    return AIMessage(text, response_metadata={"model_name": model}, usage_metadata=usage, **fields)


def _call(call_id: str, name: str, **args: Any) -> dict[str, Any]:
    return {"name": name, "args": args, "id": call_id, "type": "tool_call"}


def _brakes() -> Sample:
    return Sample(
        "ada-brakes",
        "ada",
        "Squeaking brakes",
        datetime(2026, 3, 2, 9, 15, tzinfo=UTC),
        {"channel": "web", "bike": "city"},
        [
            SystemMessage("You are the assistant of a bicycle workshop. Be brief."),
            HumanMessage("My front brake squeaks when it rains. Is that dangerous?"),
            _said(
                "Usually not: water on the rim makes rim brakes squeak. Are the pads thinner than 3 mm?",
                (48, 23),
            ),
            HumanMessage("About 2 mm, I'd say 😬"),
            _said(
                "Then they are due. Let me see what is in stock.",
                (90, 31),
                tool_calls=[_call("call_1", "find_part", kind="brake pads", wheel="front")],
            ),
            ToolMessage(
                '{"sku": "BP-20", "price_eur": 12.5, "in_stock": 7}', tool_call_id="call_1", name="find_part"
            ),
            _said(
                "We have brake pads in stock for 12.50 €. Shall I book a fitting for Tuesday at 10:00?",
                (140, 26),
                cached=64,
            ),
            HumanMessage("Tuesday is fine, thanks!"),
            _said(
                "",
                (172, 19),
                cached=128,
                tool_calls=[
                    _call("call_2", "book", service="fit brake pads", day="2026-03-03", time="10:00")
                ],
            ),
            ToolMessage('{"booking": "W-1041"}', tool_call_id="call_2", name="book"),
            _said("Booked: Tuesday at 10:00, number W-1041.", (201, 14), cached=128),
        ],
    )


def _touring() -> Sample:
    return Sample(
        "kenji-touring",
        "kenji",
        "しまなみ海道の準備",
        datetime(2026, 3, 2, 13, 40, tzinfo=UTC),
        {"channel": "app", "language": "ja"},
        [
            HumanMessage("来月、しまなみ海道を走ります。出発前に何を点検すればいいですか？🚲"),
            _said("ブレーキ、タイヤ、チェーン、ライトの四つです。予備のチューブもお持ちください。", (39, 44)),
            HumanMessage("風はどうですか？"),
            _said(
                "調べてみます。",
                (95, 25),
                tool_calls=[_call("call_1", "wind", place="今治", month=4)],
            ),
            ToolMessage('{"mean_ms": 3.4, "from": "西"}', tool_call_id="call_1", name="wind"),
            _said("四月の今治は西の風、平均 3.4 m/s です。西から東へ走ると楽です。", (131, 30), cached=64),
        ],
    )


def _lights() -> Sample:
    photo = {"type": "image_url", "image_url": {"url": "https://wheelhouse.example/photos/lamp.jpg"}}
    return Sample(
        "ada-lights",
        "ada",
        "Which lamp is this?",
        datetime(2026, 3, 3, 18, 5, tzinfo=UTC),
        {"channel": "web", "bike": "city"},
        [
            HumanMessage([{"type": "text", "text": "Which lamp is this, and do you stock the bulb?"}, photo]),
            _said(
                "",
                (310, 24),
                model="wheel-1-vision",
                tool_calls=[
                    _call("call_1", "find_part", kind="bulb", socket="PX13.5s"),
                    _call("call_2", "find_part", kind="LED lamp", mount="fork"),
                ],
            ),
            ToolMessage("no part of this kind", tool_call_id="call_1", name="find_part", status="error"),
            ToolMessage('{"sku": "LL-3", "price_eur": 29.9}', tool_call_id="call_2", name="find_part"),
            _said(
                "A halogen lamp. Its bulb is no longer made; an LED lamp for the fork costs 29.90 €.",
                (395, 33),
                model="wheel-1-vision",
            ),
        ],
    )


def _invoice() -> Sample:
    return Sample(
        "kenji-invoice",
        "kenji",
        "Invoice to Zürich",
        datetime(2026, 3, 4, 8, 30, tzinfo=UTC),
        {"channel": "app", "language": "en"},
        [
            HumanMessage("Please send the invoice to Müller & Söhne, Zürich. Their memo says: שלום."),
            _said("Done: invoice W-1044 goes to Müller & Söhne, Zürich, with the memo “שלום”.", (51, 25)),
            HumanMessage("And how much was the chain?"),
            _said("34.00 €, fitted.", (88, 8)),
        ],
    )


def _chain() -> Sample:
    return Sample(
        "ada-chain",
        "ada",
        "How often to oil a chain",
        datetime(2026, 3, 4, 17, 20, tzinfo=UTC),
        {"channel": "web", "bike": "gravel"},
        [
            HumanMessage("How often should I oil the chain?"),
            _said(
                "Every 200 km, and after each ride in the rain. Wipe it first: oil on dirt grinds the chain.",
                (22, 27),
            ),
            HumanMessage("Got it 👍"),
        ],
    )
