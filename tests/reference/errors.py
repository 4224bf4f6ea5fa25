"""The page of errors: the tree of `chatstore.errors`, what each means, and what to do about it.

Knows the advice; names and meanings come from the classes. A class without advice here is a KeyError.
"""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING

from chatstore import errors

if TYPE_CHECKING:
    from collections.abc import Iterator

INTRODUCTION = """\
# Errors

<!-- written by `python -m tests.reference` from chatstore/errors.py -->

Every error that chatstore raises is a `ChatstoreError`. They are in `chatstore.errors`;
`ChatstoreError` can be had from `chatstore` too. Each says what happened and ends with what to do. It
never contains the text of a message, a password or a token. The error of a driver is its `__cause__`.

Catch the classes that you can handle: `NotFound` where something may be missing, `Conflict` where another
writer may have been faster, `StorageUnavailable` where it makes sense to try again later."""
ADVICE = {
    "ChatstoreError": "Catch it where you treat every failure alike.",
    "NotFound": "Catch it for either of the two below.",
    "SessionNotFound": "Create the session, or append to it. In a scope, it may also belong to somebody else.",
    "MessageNotFound": "List what there is with `get_records`.",
    "Conflict": "Read the session again, then decide.",
    "SessionExists": "Choose another id; `session_key(user, chat)` makes one that no other user has.",
    "MessageConflict": "Use `update_message` to change a message, or give the new one a new id.",
    "Invalid": "Correct the call, or what a user typed; repeating it changes nothing.",
    "InvalidSessionId": "Use 1 to 255 characters without control characters or spaces at the ends; or `session_key`.",
    "InvalidMessage": "The message names the path of the value, such as `data.artifact.x`. Make it JSON.",
    "InvalidCursor": "Start the list again with `cursor=None`.",
    "MessageTooLarge": "Shorten it, or keep what is large elsewhere and a link here.",
    "StorageError": "Look at the message, then at the `__cause__`.",
    "StorageUnavailable": "Try again later; end what holds a lock, or allow more time (`deadline`, in "
    "`docs/reference/urls.md`). Inside a transaction of your own: where `retry_transaction` is true, roll back and "
    "repeat all of it.",
    "OutcomeUnknown": "Read what is stored before you repeat the call. `add_messages` may be repeated without looking "
    "where its messages have ids; what is safe to repeat was repeated already, as long as there was time.",
    "PartialWrite": "Repeat the same call if its messages have ids, otherwise pass those after the first `stored`.",
    "CorruptRecord": "Continue with `.records`; replace or delete the damaged ones, or restore a backup.",
    "SchemaError": "Run the command that the message names.",
    "SchemaMissing": "Run `chatstore upgrade` on this database.",
    "SchemaOutdated": "Run `chatstore upgrade` on this database.",
    "SchemaTooNew": "Install the release that migrated it, or a newer one.",
    "NotSupported": "Look at `capabilities` beforehand, or use a backend that the message names.",
    "MissingDependency": "Type the pip command in the message.",
}
EXAMPLE = """
## An example

```python
import chatstore
from chatstore.errors import Conflict, SessionNotFound

with chatstore.connect("memory:") as repository:
    try:
        repository.get_session("garden")
    except SessionNotFound as error:
        print(error)

    seen = repository.add_messages("garden", [chatstore.HumanMessage("Hello!")])
    repository.add_messages("garden", [chatstore.HumanMessage("Anybody?")])
    try:
        repository.add_messages("garden", [chatstore.AIMessage("Hi!")], expected_revision=seen.revision)
    except Conflict as error:
        print(type(error).__name__, repository.count_messages("garden"))
```

```text
there is no session 'garden': create it, or append to it, first
Conflict 2
```
"""


def page() -> str:
    """Return the page."""
    return f"{INTRODUCTION}\n\n## The tree\n\n{_tree(errors.ChatstoreError)}\n\n{_meanings()}\n{EXAMPLE}"


def _below(kind: type) -> Iterator[type]:
    ours = [one for one in vars(errors).values() if inspect.isclass(one) and one.__bases__[0] is kind]
    yield from ours


def _tree(kind: type, depth: int = 0) -> str:
    also = [base.__name__ for base in kind.__bases__[1:]]
    line = f"{'  ' * depth}- `{kind.__name__}`" + (f", also a builtin `{also[0]}`" if also else "")
    return "\n".join([line, *(_tree(one, depth + 1) for one in _below(kind))])


def _meanings() -> str:
    parts = ["## What each means"]
    for kind in _walk(errors.ChatstoreError):
        meaning = (inspect.getdoc(kind) or "").replace("``", "`")
        parts += [f"### `{kind.__name__}`", meaning, ADVICE[kind.__name__]]
    return "\n\n".join(parts)


def _walk(kind: type) -> Iterator[type]:
    yield kind
    for one in _below(kind):
        yield from _walk(one)
