"""A month in a bicycle workshop: what the tests read, and what the pictures of the documentation show.

Everything is made from one seed, so that a picture changes only where the viewer does.
"""

from __future__ import annotations

import random
import struct
import zlib
from base64 import b64encode
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from unittest import mock

from chatstore.cli import samples
from chatstore.messages import AIMessage, HumanMessage, MessageRecord, SystemMessage, ToolMessage

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from chatstore.messages import Message
    from chatstore.repository import Repository

SEED: Final = 20261130
BEGIN: Final = datetime(2026, 3, 1, 7, 0, tzinfo=UTC)
#: The days that the numbers are shown for.
MONTH: Final = "since=2026-03-01&until=2026-03-31"
TENANT: Final = samples.TENANT
USERS: Final = (
    "ada", "kenji", "leila", "marta", "noor", "oskar", "priya", "quentin", "rosa", "samir", "tove", "yusuf",
)  # fmt: skip
#: A title, what the user asks, what the assistant says.
TALKS: Final = (
    (
        "Gears slip under load",
        "My rear derailleur slips when I climb. Is the chain worn?",
        "Measure it first: at **0.75 %** the chain is done, and takes the cassette with it.",
    ),
    (
        "Tubeless or tubes",
        "Should I go tubeless for a commute of 12 km?",
        "For a commute, tubes in a puncture-proof tyre are less work.",
    ),
    (
        "Bent derailleur hanger",
        "I fell on the right side, and now the lowest gear ticks.",
        "That is the hanger. We straighten it while you wait; a new one is 24.00 €.",
    ),
    (
        "Winter tyres",
        "Do I need studded tyres in a city that salts its roads?",
        "Then you rarely need studs. A soft winter compound grips better on wet salt.",
    ),
    (
        "VAT number on the invoice",
        "My company needs the invoice with its VAT number on it.",
        "Done: the invoice has the number now, and is on its way to you.",
    ),
    (
        "Child seat on a carbon frame",
        "May I mount a child seat on a carbon frame?",
        "Not with a clamp on the seat tube. A seat on the rack is fine, if the frame has eyelets.",
    ),
    (
        "Creaking bottom bracket",
        "It creaks on every left pedal stroke, more so in the cold.",
        "Tighten the crank bolt to 40 Nm first; if it still creaks, the bearing cup is dry.",
    ),
    (
        "Brake fluid",
        "Which fluid do I bleed these brakes with?",
        "Mineral oil, and never DOT: it eats the seals.",
    ),
    (
        "Wheel out of true",
        "The front wheel rubs on one side. What does truing it cost?",
        "15.00 €, and it is ready the same day.",
    ),
    (
        "Puncture on the way to work",
        "Third puncture this month, always the rear wheel.",
        "Run a finger along the inside of the tyre: something is still stuck in it.",
    ),
    (
        "Saddle height",
        "My knees hurt after an hour. Is my saddle too low?",
        "Probably. With your heel on the pedal the leg should be just straight.",
    ),
)
PRICES: Final = ("19.00 €, fitted.", "That is covered by the warranty.", "46.50 € with the parts.")
TOOLS: Final = ("find_part", "book", "price", "opening_hours")


def png(width: int = 96, height: int = 64) -> str:
    """Return a small picture, a blue that gets darker, as base64."""
    rows = b"".join(
        b"\0" + bytes(channel for x in range(width) for channel in (44 + x, 80 + y, 200 - x // 2))
        for y in range(height)
    )

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    parts = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b64encode(b"\x89PNG\r\n\x1a\n" + parts).decode()


def fill(repository: Repository, conversations: int = 120) -> None:
    """Store the samples of the demo, a month of conversations, and one that has everything in it."""
    with at(datetime(2026, 3, 4, 18, 0, tzinfo=UTC)):
        samples.store(repository)
    dice = random.Random(SEED)
    made = sorted(
        (_one(number, dice) for number in range(conversations)), key=lambda talk: talk.records[-1].created_at
    )
    for talk in made:
        keep(repository, talk)
    showcase(repository)
    with at(LAST + timedelta(minutes=20)):
        repository.fork_session("ada-brakes", "ada-brakes-again", through=7)
    if conversations:
        repository.update_session("chat-0003", archived=True, touch=False)


class Talk(NamedTuple):
    """A conversation to be stored."""

    session_id: str
    user: str
    title: str
    channel: str
    records: list[MessageRecord]


def at(moment: datetime) -> AbstractContextManager[object]:
    """Have repositories take *moment* for now."""
    return mock.patch("chatstore.repository.utcnow", return_value=moment)


def keep(repository: Repository, talk: Talk) -> None:
    """Store a conversation as if it had happened when it says."""
    with at(talk.records[-1].created_at):
        repository.create_session(
            talk.session_id,
            tenant_id=TENANT,
            user_id=talk.user,
            title=talk.title,
            metadata={"channel": talk.channel},
        )
        repository.load_records(talk.session_id, talk.records)


def _one(number: int, dice: random.Random) -> Talk:
    session_id, user = f"chat-{number:04}", dice.choices(USERS, weights=range(len(USERS), 0, -1))[0]
    hour = dice.choices(
        range(24), weights=[1] * 7 + [4, 9, 14, 12, 10, 8, 9, 11, 12, 13, 10, 7, 6, 5, 4, 3, 2]
    )[0]
    moment = BEGIN + timedelta(days=dice.randrange(30), hours=hour - 7, minutes=dice.randrange(60))
    title, question, reply = dice.choice(TALKS)
    records: list[MessageRecord] = []

    def say(message: Message, seconds: float) -> None:
        nonlocal moment
        moment += timedelta(seconds=seconds)
        records.append(MessageRecord(message, len(records) + 1, f"m-{len(records) + 1}", moment, session_id))

    for turn in range(dice.choice((1, 1, 2, 2, 3, 4, 6, 9, 14))):
        say(HumanMessage(question if turn == 0 else "And what would that cost?"), dice.expovariate(1 / 60))
        if dice.random() < 0.5:
            _use_tool(say, dice, turn)
        say(_answer(reply if turn == 0 else PRICES[turn % 3], dice), dice.lognormvariate(1.6, 0.9))
    return Talk(session_id, user, title, dice.choice(("web", "app")), records)


def _use_tool(say: Any, dice: random.Random, turn: int) -> None:
    name, failed = dice.choice(TOOLS), dice.random() < 0.12
    call = {"name": name, "args": {"query": "chain", "speeds": 11}, "id": f"call_{turn}", "type": "tool_call"}
    say(_answer("", dice, tool_calls=[call]), dice.expovariate(1 / 2))
    said = (
        "the stock system did not answer" if failed else '{"sku": "KC-11", "price_eur": 34.9, "in_stock": 4}'
    )
    status: Any = "error" if failed else "success"
    say(ToolMessage(said, tool_call_id=f"call_{turn}", name=name, status=status), dice.expovariate(1 / 3))


def _answer(text: str, dice: random.Random, **fields: Any) -> AIMessage:
    read, wrote = dice.randint(200, 1_400), dice.randint(10, 180)
    usage = {"input_tokens": read, "output_tokens": wrote, "total_tokens": read + wrote}
    model = dice.choices(("wheel-1", "wheel-1-mini", "wheel-1-vision"), weights=(6, 3, 1))[0]
    return AIMessage(text, response_metadata={"model_name": model}, usage_metadata=usage, **fields)


SHOWCASE: Final = "leila-headset"
#: When it began: after all others.
LAST: Final = datetime(2026, 3, 31, 9, 12, tzinfo=UTC)
_TABLE: Final = """\
It is the headset, and it can be fixed today.

| part | what it does | price |
| --- | --- | ---: |
| upper bearing | carries the stem | 18.00 € |
| lower bearing | carries the fork | 22.00 € |
| crown race | seats the lower one | 6.50 € |

1. Loosen the stem, then tighten the cap **until the play is gone**.
2. Turn the bars: if they are stiff, it was too much.

```python
def preload(torque_nm: float) -> str:
    return "stiff" if torque_nm > 2.5 else "loose" if torque_nm < 1.0 else "right"
```
"""


def showcase(repository: Repository) -> None:
    """Store a conversation with everything that a page can show."""
    photo = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{png()}"}}
    said: list[Message] = [
        SystemMessage("You are the assistant of a bicycle workshop. Be brief."),
        HumanMessage(
            [{"type": "text", "text": "My handlebar has play when I brake. Is it this part?"}, photo]
        ),
        AIMessage(
            [
                {
                    "type": "thinking",
                    "thinking": "Play under braking: headset, or a loose front wheel. The photo says headset.",
                },
                {"type": "text", "text": "Let me look up the parts, and when we could do it."},
            ],
            tool_calls=[
                {
                    "name": "find_part",
                    "args": {"kind": "headset", "size": "1 1/8"},
                    "id": "a",
                    "type": "tool_call",
                },
                {
                    "name": "book",
                    "args": {"service": "headset", "day": "2026-03-31"},
                    "id": "b",
                    "type": "tool_call",
                },
            ],
            response_metadata={"model_name": "wheel-1-vision"},
            usage_metadata={"input_tokens": 812, "output_tokens": 64, "total_tokens": 876},
        ),
        ToolMessage(
            '{"sku": "HS-118", "price_eur": 46.5, "in_stock": 3}', tool_call_id="a", name="find_part"
        ),
        ToolMessage("no slot is free on that day", tool_call_id="b", name="book", status="error"),
        AIMessage(
            _TABLE,
            response_metadata={"model_name": "wheel-1"},
            usage_metadata={"input_tokens": 1_040, "output_tokens": 186, "total_tokens": 1_226},
        ),
        HumanMessage("شكرا! هل يمكنني الحضور يوم الأربعاء؟"),
        AIMessage(
            "بالتأكيد. نفتح في الساعة التاسعة. 水曜日は九時に開きます。",
            response_metadata={"model_name": "wheel-1"},
        ),
    ]
    records = [
        MessageRecord(message, place, f"s-{place}", LAST + timedelta(seconds=8 * place), SHOWCASE)
        for place, message in enumerate(said, 1)
    ]
    keep(repository, Talk(SHOWCASE, "leila", "Play in the headset", "app", records))
