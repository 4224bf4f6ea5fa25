"""Events of Google ADK: what somebody said, called or answered, with what it did; and the names of their sessions.

This module knows what an event says, as which messages another framework reads it, and whose a session of another
framework is; it knows nothing of stores.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from google.adk.events.event import Event
from google.genai import types

from chatstore.ids import session_key
from chatstore.messages import AIMessage, HumanMessage, OpaqueMessage, ToolMessage
from chatstore.strictjson import dumps

if TYPE_CHECKING:
    from chatstore.messages import ChatSession, Message
    from chatstore.records import MessageRecord

#: The type of an event that says nothing: it changes a state, say.
SILENT = "google-adk:event"


def said(event: Event, source: str) -> list[Message]:
    """Return messages that say what *event* says: its text and calls, and each answer of a tool; the last has it."""
    parts = (event.content.parts if event.content else None) or []
    text = "\n".join(part.text for part in parts if part.text and not part.thought)
    calls = [part.function_call for part in parts if part.function_call]
    made: list[Any] = [
        ToolMessage(
            _answer(one.response or {}), tool_call_id=one.id or "", name=one.name, native={source: {}}
        )
        for part in parts
        if (one := part.function_response)
    ]
    if event.content and event.content.role == "user" and text:
        made.insert(0, HumanMessage(text, native={source: {}}))
    elif event.author != "user" and (text or calls):
        called = [
            {"name": call.name or "", "args": call.args or {}, "id": call.id, "type": "tool_call"}
            for call in calls
        ]
        made.insert(0, AIMessage(text, tool_calls=called, **_counts(event), native={source: {}}))
    if not made:
        made = [OpaqueMessage(type=SILENT, data={"content": "", "native": {source: {}}})]
    for number, message in enumerate(made[:-1], 1):
        message.id = f"{event.id}#{number}"
        message.native[source].update(part_of=event.id)
    last = made[-1]
    last.native[source].update(event=event.model_dump(mode="json", exclude_none=True))
    if isinstance(last, OpaqueMessage):
        last.data["id"] = event.id
    else:
        last.id = event.id
    return made


def _answer(response: dict[str, Any]) -> str:
    """Return what a tool answered as text; the framework makes ``{"result": …}`` of an answer that is no object."""
    only = response.get("result") if len(response) == 1 else None
    return only if isinstance(only, str) else dumps(response)


def _counts(event: Event) -> dict[str, Any]:
    """Return the tokens, the model and the reason of an answer."""
    used, given = event.usage_metadata, {}
    if used is not None:
        read, written = used.prompt_token_count or 0, used.candidates_token_count or 0
        total = used.total_token_count or read + written
        given["usage_metadata"] = {"input_tokens": read, "output_tokens": written, "total_tokens": total}
    about = {
        "model_name": event.model_version,
        "finish_reason": event.finish_reason and event.finish_reason.name,
    }
    known = {name: value for name, value in about.items() if value}
    return {**given, "response_metadata": known} if known else given


def load(record: MessageRecord, app_name: str) -> Event | None:
    """Return an event that says what a message of another framework says; None for what only that one knows."""
    message = record.message
    if isinstance(message, OpaqueMessage):
        return None
    parts: list[Any] = [types.Part(text=message.text)] if message.text else []
    role = "model" if isinstance(message, AIMessage) else "user"
    if isinstance(message, AIMessage):
        parts += [
            types.Part(function_call=types.FunctionCall(name=call["name"], args=call["args"], id=call["id"]))
            for call in message.tool_calls
        ]
    elif isinstance(message, ToolMessage):
        answer = {"result": message.text}
        response = types.FunctionResponse(
            name=message.name or "tool", response=answer, id=message.tool_call_id
        )
        parts = [types.Part(function_response=response)]
    return Event(
        id=record.message_id,
        author="user" if role == "user" else app_name,
        content=types.Content(role=role, parts=parts),
        timestamp=record.created_at.timestamp(),
    )


def names_of(
    session: ChatSession, source: str, app_name: str, user_id: str | None, name: str | None = None
) -> dict[str, Any] | None:
    """Return the application, user, id and state that *session* keeps under *source*.

    One that another framework stored has those that it is asked for by, and an empty state. Without *name* that is in
    its id, where that is the `session_key` of the three; None for any other, and for a key that is a digest.
    """
    kept = session.metadata.get(source)
    if isinstance(kept, dict):
        return kept
    user = user_id or session.user_id or ""
    if name is None:
        head, _, name = session.session_id.rpartition("/")
        if head != session_key(app_name, user) or "~2" in name:
            return None
        name = name.replace("~1", "/").replace("~0", "~")
    return {"app": app_name, "user": user, "id": name, "state": {}}
