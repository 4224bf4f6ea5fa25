"""Events of AG2: what was asked, answered, called and returned, and all that happened beside.

This module knows what an event says, and as which message another framework reads it; it knows nothing of stores. The
framework says most things of a call twice: alone, and together with those of the same turn. The message is made of the
answer, which has the calls in it, and of each result alone; the others are kept without saying anything.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from ag2.events import (
    BaseEvent,
    BuiltinToolResultEvent,
    DataInput,
    ModelMessage,
    ModelRequest,
    ModelResponse,
    TextInput,
    ToolCallEvent,
    ToolCallsEvent,
    ToolErrorEvent,
    ToolResult,
    ToolResultEvent,
    ToolResultsEvent,
    UnknownEvent,
)
from ag2.events._serialization import deserialize_value, serialize_value

from chatstore.messages import AIMessage, HumanMessage, OpaqueMessage, ToolMessage
from chatstore.strictjson import dumps

if TYPE_CHECKING:
    from collections.abc import Iterable

    from chatstore.messages import Message
    from chatstore.records import MessageRecord

#: Under which name a message keeps the event that it was made of, and what its column `source` says.
SOURCE: Final = "ag2"
_EVENT: Final = "__event__"


def said(event: BaseEvent) -> Message:
    """Return the message that says what *event* says, with the event itself."""
    native = {SOURCE: _json(event)}
    if isinstance(event, ModelRequest):
        return HumanMessage(_text(event.parts), native=native)
    if isinstance(event, ModelResponse):
        return AIMessage(
            event.content or "",
            tool_calls=[_call(call) for call in event.tool_calls.calls],
            usage_metadata=_usage(event),
            response_metadata=_about(event),
            native=native,
        )
    if isinstance(event, ToolResultEvent) and not isinstance(event, BuiltinToolResultEvent):
        return _result(event, native)
    text = getattr(event, "content", "")
    data = {"content": text if isinstance(text, str) else "", "native": native}
    return OpaqueMessage(type=f"{SOURCE}:{type(event).__name__}", data=data)


def said_together(events: Iterable[BaseEvent]) -> list[Message]:
    """Return the messages of a whole history: a result that is nowhere alone is said before those of its turn."""
    made: list[Message] = []
    alone: set[str] = set()
    for event in events:
        if isinstance(event, ToolResultEvent):
            alone.add(event.parent_id)
        elif isinstance(event, ToolResultsEvent):
            rest = [one for one in event.results if one.parent_id not in alone]
            made += [_result(one, {SOURCE: {}}) for one in rest]
        made.append(said(event))
    return made


def _json(event: BaseEvent) -> Any:
    """Return *event* in the framework's form; one whose class is gone as it was when there was one."""
    if isinstance(event, UnknownEvent) and _EVENT in event.data:
        return event.data
    return serialize_value(event)


def _text(parts: Iterable[Any]) -> str:
    """Return what a person reads of inputs: texts and data, each on lines of its own."""
    texts = [part.content for part in parts if isinstance(part, TextInput)]
    datas = [serialize_value(part.data) for part in parts if isinstance(part, DataInput)]
    return "\n".join([*texts, *(data if isinstance(data, str) else dumps(data) for data in datas)])


def _call(call: ToolCallEvent) -> dict[str, Any]:
    try:
        args = call.serialized_arguments
    except ValueError:  # the model's own
        args = None
    about = {"name": call.name, "id": call.id, "type": "tool_call"}
    return {**about, "args": args if isinstance(args, dict) else {}}


def _result(event: ToolResultEvent, native: dict[str, Any]) -> ToolMessage:
    status = "error" if isinstance(event, ToolErrorEvent) else "success"
    about = {"tool_call_id": event.parent_id, "name": event.name, "status": status}
    return ToolMessage(_text(event.result.parts), **about, native=native)


def _usage(event: ModelResponse) -> dict[str, int] | None:
    """Return the tokens of an answer, where the provider counted them."""
    if not event.usage:
        return None
    read, written = int(event.usage.prompt_tokens or 0), int(event.usage.completion_tokens or 0)
    total = int(event.usage.total_tokens or read + written)
    return {"input_tokens": read, "output_tokens": written, "total_tokens": total}


def _about(event: ModelResponse) -> dict[str, Any]:
    about = {"model_name": event.model, "finish_reason": event.finish_reason}
    return {name: value for name, value in about.items() if value}


# ------------------------------------------------------------------------------------------------------------- reading


def events_of(records: Iterable[MessageRecord]) -> list[BaseEvent]:
    """Return the events that *records* hold, or that say what other frameworks' say.

    Answers of tools that follow each other are one event, as of one turn. Instructions, and what only another framework
    knows, are left out.
    """
    found: list[BaseEvent] = []
    answers: list[ToolResultEvent] | None = None
    for record in records:
        kept = record.message.native.get(SOURCE)
        if kept is None and isinstance(record.message, ToolMessage):
            if answers is None:
                answers = []
                found.append(ToolResultsEvent(answers, created_at=record.created_at.timestamp()))
            answers.append(_answer(record.message))
            continue
        event = _load(record) if kept is None else _event(kept)
        if event is not None:
            answers = None
            found.append(event)
    return found


def _event(kept: dict[str, Any]) -> BaseEvent | None:
    """Return the event that was kept; None for what is a part of another."""
    if not kept:
        return None
    try:
        event = deserialize_value(kept)
    except Exception:  # noqa: BLE001 - its classes are the application's: whatever they raise, the rest is read
        event = None
    return event if isinstance(event, BaseEvent) else UnknownEvent(type_name=kept.get(_EVENT, ""), data=kept)


def _load(record: MessageRecord) -> BaseEvent | None:
    """Return an event that says what another framework's message says; None for what only that one knows."""
    message, moment = record.message, record.created_at.timestamp()
    if isinstance(message, HumanMessage):
        return ModelRequest([TextInput(message.text)], created_at=moment)
    if not isinstance(message, AIMessage):
        return None
    calls = [
        ToolCallEvent(call["name"], id=call["id"], arguments=dumps(call["args"]))
        for call in message.tool_calls
    ]
    answer = ModelMessage(message.text) if message.text else None
    return ModelResponse(answer, tool_calls=ToolCallsEvent(calls), created_at=moment)


def _answer(message: ToolMessage) -> ToolResultEvent:
    about = {"parent_id": message.tool_call_id, "name": message.name, "result": ToolResult(message.text)}
    if message.status == "error":
        return ToolErrorEvent(**about, error=Exception(message.text))
    return ToolResultEvent(**about)
