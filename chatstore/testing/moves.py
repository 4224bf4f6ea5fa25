"""What the state machine draws from, and what it compares.

Few ids, few owners and short texts, so that one step meets what another has done; and between them values that break
careless storage.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from hypothesis import strategies as st

from chatstore.messages import (
    AIMessage,
    ChatSession,
    HumanMessage,
    MessageRecord,
    Page,
    Records,
    SearchHit,
    ToolMessage,
)

UNSEEN = ("revision", "created_at", "updated_at", "archived_at", "expires_at")

# Any character, surrogates and controls too, but for marks and unassigned ones: whether these belong to the word
# beside them is for each full-text engine to say.
_characters = st.characters(exclude_categories=["Mn", "Mc", "Me", "Cn", "Co"])
texts = st.sampled_from(["x", "y", "x y", "", "zebra"]) | st.text(_characters, max_size=8)
_ids = st.none() | st.sampled_from(["m1", "m2", "M1"])
_json = st.sampled_from([None, 1, True, 1.0, -0.0, 2**64, "\x00", ["a", {"b": None}], {"k": 1}])
people = st.builds(lambda content, name: HumanMessage(content=content, id=name), texts, _ids)
models = st.builds(
    lambda content, name, cost: AIMessage(
        content=content, id=name, usage_metadata={"input_tokens": cost, "output_tokens": 1, "total_tokens": 0}
    ),
    texts,
    _ids,
    st.sampled_from([0, 1, 2**31]),
)
_tools = st.builds(
    lambda content, artifact: ToolMessage(content=content, tool_call_id="c", artifact=artifact), texts, _json
)
messages = st.lists(people | models | _tools, max_size=4)
turns = st.lists(people | models | _tools, min_size=2, max_size=5)
# Mostly one session and no scope, so that what is done meets what was done before.
sessions = st.sampled_from(["a", "a", "a", "b", "A"])
owners = st.sampled_from(
    [*[{}] * 8, {"user_id": "u"}, {"user_id": "v"}, {"tenant_id": "t"}, {"tenant_id": "t", "user_id": "u"}]
)
keys = st.integers(1, 6) | st.sampled_from(["m1", "m2", "M1", "m9"])
places = st.none() | st.integers(0, 9)
expectations = st.sampled_from([None, None, "current", "stale", "none"])


def seen(value: Any) -> Any:  # noqa: PLR0911 - one for each kind of value
    """Return what must be equal in two repositories about *value*."""
    if isinstance(value, MessageRecord):
        name = None if value.message.id is None else value.message_id
        return value.position, repr(value.message), name, value.session_id
    if isinstance(value, Records):
        return [seen(record) for record in value], value.revision > 0
    if isinstance(value, ChatSession):
        values = asdict(value)
        times = {name: values.pop(name) is not None for name in UNSEEN}
        return sorted((name, repr(item)) for name, item in {**values, **times}.items())
    if isinstance(value, Page):
        return [seen(item) for item in value.items], value.next_cursor is None
    if isinstance(value, SearchHit):
        return value.session_id, value.position, value.type, value.content
    if isinstance(value, list):
        found = [seen(item) for item in value]
        return sorted(found) if value and isinstance(value[0], SearchHit) else found
    return repr(value)
