"""A process that streams answers until it is killed, and says each word before it appends it.

Run as ``python -m tests.reliability.streamer URL``. Each line on standard input (SESSION NAME) makes a child by a fork,
which is faster than a new process and begins with nothing open: it streams one answer after the other. On standard
output stand the child's process id, its lines, and "gone" when it is dead.
"""

from __future__ import annotations

import os
import sys
import time

import chatstore
from chatstore import HumanMessage

#: Seconds between two words.
PACE = 0.002
#: Words of an answer that comes to its end.
WORDS = 150


def word(number: int) -> str:
    """Return a word that says which one it is."""
    return f"{number:06d} "


def stream(url: str, session: str, name: str) -> None:
    """Stream answers for ever; "begun N", "said N WORDS MONOTONIC WRITE", "ended N" tell how far each is.

    WRITE is how many seconds the last write took.
    """
    repository = chatstore.connect(url)
    number = 0
    while True:
        question = HumanMessage(f"question {name} {number}", id=f"{name}-{number}-q")
        with repository.begin_answer(session, [question], message_id=f"{name}-{number}-a") as answer:
            tell(f"begun {number}")
            for count in range(1, WORDS + 1):
                tell(f"said {number} {count} {time.monotonic()} {answer._growing.took}")
                answer.append(word(count))
                time.sleep(PACE)
        tell(f"ended {number}")
        number += 1


def tell(line: str) -> None:
    """Write *line* at once."""
    os.write(1, f"{line}\n".encode())


def main(url: str) -> None:
    """Make a child for each line, and wait for its death."""
    with chatstore.connect(url) as repository:
        repository.count_messages("s")  # what is imported here, no child imports
    for line in sys.stdin:
        session, name = line.split()
        child = os.fork()
        if not child:
            stream(url, session, name)
        tell(f"child {child}")
        os.waitpid(child, 0)
        tell("gone")


if __name__ == "__main__":
    main(sys.argv[1])
