"""What the campaigns' processes do: append, and say on standard output what was acknowledged.

Run as ``python -m tests.reliability.worker append URL SESSION NAME TURNS`` (or ``forever``).
"""

from __future__ import annotations

import sys

import chatstore
from chatstore import AIMessage, HumanMessage


def turn(name: str, number: int) -> list[chatstore.BaseMessage]:
    """Return the turn with this number of the process with this name."""
    return [
        HumanMessage(f"question {name} {number}", id=f"{name}-{number}-q"),
        AIMessage(f"answer {name} {number}", id=f"{name}-{number}-a"),
    ]


def main(what: str, url: str, session: str, name: str, turns: int) -> None:
    """Append *turns* turns; in a run that is to be killed, acknowledge each on a line of its own."""
    repository = chatstore.connect(url)
    repository.count_messages(session)
    print("ready", flush=True)
    if what == "append":
        sys.stdin.readline()
    for number in range(turns):
        records = repository.add_messages(session, turn(name, number))
        if what == "forever":
            print(number, *(record.position for record in records), flush=True)
    print("done", flush=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3], sys.argv[4], int(sys.argv[5]))
