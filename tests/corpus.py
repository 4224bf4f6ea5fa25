"""Conversations to test with: 200 invented ones of a library's loan desk, and real ones where they lie.

Both have the shape of agent trajectories in OpenAI's chat format: `task_id`, `trial`, `user_id`, `reward` and
the messages under `traj`. The invented ones are equal for equal seeds, everywhere. Values made to hurt are in
`hostile`.
"""

from __future__ import annotations

import json
import random
import string
from pathlib import Path
from typing import Any

SEED = 20_240_515
TASKS, TRIALS = 50, 4
REAL = Path(__file__).parents[2] / "shared" / "data" / "agent-conversations.json"

READERS = (
    "Zoë Adeyemi",
    "Łukasz Wójcik",
    "Nguyễn Thị Hạnh",
    "محمد الفارسي",
    "Ingrid Sørensen",
    "李小梅",
    "José Ñúñez",
    "Γιώργος Παππάς",
    "Aïcha Benali",
    "Tomáš Dvořák",
    "Siobhán O'Neill",
    'Ravi "Raj" Iyer',
    "さくら 田中",
    "Олена Коваль",
    "Maximilian von der Heide",
    "Ana-Maria Țepeș",
    "שרה לוי",
)
TITLES = (
    "The Lighthouse Ledger",
    "Brücken über den Winter",
    "L'été des marées basses",
    "Small Engines, Patiently",
    "海の地図",
    "A Field Guide to Moss 🌿",
    "Двенадцать писем",
    "100 % Rye",
    'The Clockmaker\'s "Second" Apprentice',
    "Tides & Other Loans",
)
BRANCHES = (
    "Harbour",
    "Mill Lane",
    "Old Brewery",
    "Northgate",
    "Riverside",
    "Chapel Hill",
    "Station",
    "Orchard",
)
RULES = """\
You are the loan desk of a city library. Today is Wednesday, 15 May; the time is 15:00.
You can look up readers, search the catalogue, lend, renew and reserve items, and send paper letters.
Ask for the reader's card number before you look anything up, and never guess it.
Do one thing at a time: either call one tool or answer the reader, never both in one step.
Before you change a loan, say what will be changed and wait for a yes.
An item may be renewed twice, unless another reader has reserved it; reserved items are returned on the day.
A reader may hold at most twelve loans and five reservations; children's cards hold six and two.
Films and games are lent for one week, books and scores for four, tools from the tool shelf for three days.
Overdue items cost 20 cents a day, at most 8 euros an item; a fee below one euro is forgotten in December.
A lost item is paid for at its price when it was bought, or replaced by the same edition.
If the reader asks for something outside these rules, hand the conversation to a human colleague.
"""
QUESTIONS = (
    "Hi, I'd like to renew {title}, it is due tomorrow.",
    "Hello! Do you have {title} at the {branch} branch?",
    "Can you reserve {title} for me? I can pick it up at {branch}.",
    "I think I lost {title}… what does that cost me? 😬",
    "Why was I charged for {title}? I returned it at {branch} on Monday.",
    "Sure, my card number is {card}.",
    "Yes, please do that.",
    "No, leave it as it is. But what about {title}?",
    "Is there anything else on my account?",
    "Could you send the reminder as a letter, to the new address?",
)
ANSWERS = (
    "I can help you with that. Could you please give me the number of your library card?",
    "Thank you! I found your account. **{title}** is due on 16 May and was renewed once.",
    "I would renew these until 12 June:\n\n1. **{title}**\n2. The score that goes with it\n\nShall I?",
    "That is done: {title} is now reserved for you at {branch}. We keep it for seven days.",
    "I'm sorry, {title} cannot be renewed again, because another reader has reserved it.",
    "The fee of 3,40 € is for seventeen days. I can show you each day, if you like.",
)
TOOLS = (
    ("get_reader", ("card",)),
    ("get_loans", ("card",)),
    ("search_catalogue", ("query", "branch")),
    ("renew_loan", ("card", "item")),
    ("reserve_item", ("card", "item", "branch")),
    ("calculate_fee", ("days", "rate")),
    ("think", ("thought",)),
)
FAREWELL = "###STOP###"


def conversations(seed: int = SEED) -> list[dict[str, Any]]:
    """Make the 200 conversations of *seed*: about 5,300 messages and 1,160 tool calls."""
    return [_conversation(seed, task, trial) for trial in range(TRIALS) for task in range(TASKS)]


def real_conversations() -> list[dict[str, Any]] | None:
    """Read the 200 real conversations that lie beside some checkouts; None where they do not."""
    if not REAL.exists():
        return None
    found: list[dict[str, Any]] = json.loads(REAL.read_text(encoding="utf-8"))
    return found


def messages(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the messages of all the conversations *found*, in order."""
    return [message for one in found for message in one["traj"]]


def tool_calls(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the tool calls of all the conversations *found*, in order."""
    return [call for message in messages(found) for call in message.get("tool_calls") or ()]


def policy() -> str:
    """Return the system message that every conversation begins with."""
    hours = "\n".join(
        f"- {branch}: {day} {opens}:00-{opens + 8}:30, returns through the hatch at any hour"
        for opens, branch in enumerate(BRANCHES, 8)
        for day in ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday")
    )
    return f"# Loan desk\n\n{RULES}\n## Opening hours\n\n{hours}\n"


def _conversation(seed: int, task: int, trial: int) -> dict[str, Any]:
    dice = random.Random(f"{seed}/{task}/{trial}")
    reader = READERS[task % len(READERS)]
    card = f"{reader.split()[0].lower()}_{1000 + task}"
    made: list[dict[str, Any]] = [{"role": "system", "content": policy()}]
    for _ in range(max(2, round(dice.gauss(6.45, 2.6)))):
        made.append({"role": "user", "content": _filled(dice, QUESTIONS, card)})
        for _ in range(dice.choices((0, 1, 2, 3, 5), (56, 22, 13, 6, 3))[0]):
            made += _tool_turn(dice, reader, card)
        made.append({"content": _filled(dice, ANSWERS, card), "role": "assistant"})
    if dice.random() < 0.75:
        made.append({"role": "user", "content": FAREWELL})
    else:
        made += [{"role": "user", "content": "I want to talk to a person."}, *_tool_turn(dice, reader, card)]
    return {
        "task_id": task,
        "trial": trial,
        "user_id": card,
        "reward": float(dice.random() < 0.4),
        "traj": made,
    }


def _filled(dice: random.Random, choices: tuple[str, ...], card: str) -> str:
    chosen = dice.choice(choices)
    return chosen.format(title=dice.choice(TITLES), branch=dice.choice(BRANCHES), card=card)


def _tool_turn(dice: random.Random, reader: str, card: str) -> list[dict[str, Any]]:
    """Make the two messages of one tool call: the assistant's, with content null or text, and the tool's."""
    name, parameters = dice.choice(TOOLS)
    values = {
        "card": card,
        "query": dice.choice(TITLES),
        "branch": dice.choice(BRANCHES),
        "item": f"i-{dice.randrange(10**6):06}",
        "days": dice.randrange(60),
        "rate": 0.2,
        "thought": f"{reader} may hold twelve loans; {dice.choice(TITLES)} is one of them.",
    }
    arguments = json.dumps({key: values[key] for key in parameters}, ensure_ascii=dice.random() < 0.5)
    identity = "call_" + "".join(dice.choices(string.ascii_letters + string.digits, k=24))
    call = {"function": {"arguments": arguments, "name": name}, "id": identity, "type": "function"}
    said = dice.choices((None, "", "One moment, I am looking that up."), (85, 8, 7))[0]
    result = {"role": "tool", "tool_call_id": identity, "name": name, "content": _result(dice, name, reader)}
    return [{"content": said, "role": "assistant", "tool_calls": [call]}, result]


def _result(dice: random.Random, name: str, reader: str) -> str:
    if name == "think":
        return ""
    if name == "calculate_fee":
        return str(dice.randrange(80) / 10)
    if dice.random() < 0.05:
        return "Error: item not found"
    item = {
        "title": "",
        "branch": "",
        "due": "2024-06-12",
        "renewals": 0,
        "price": {"amount": 19.9, "currency": "€"},
    }
    rows = [
        item | {"title": dice.choice(TITLES), "branch": dice.choice(BRANCHES), "renewals": dice.randrange(3)}
        for _ in range(dice.choices((1, 4, 7, 60), (30, 40, 28, 2))[0])
    ]
    return json.dumps({"reader": reader, "items": rows}, ensure_ascii=False)
