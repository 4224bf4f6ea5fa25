"""The door of ChatKit: a real server over it, every kind of item, pages, owners, and items that change."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from chatkit.server import ChatKitServer, NonStreamingResult
from chatkit.store import NotFoundError
from chatkit.types import (
    AssistantMessageItem,
    Attachment,
    ClientToolCallItem,
    ThreadItem,
    ThreadItemDoneEvent,
    ThreadMetadata,
)
from pydantic import TypeAdapter

import chatstore
from chatstore import AIMessage, HumanMessage, ToolMessage
from chatstore.integrations.chatkit import ChatstoreStore

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

ITEM: TypeAdapter[Any] = TypeAdapter(ThreadItem)
ATTACHMENT: TypeAdapter[Any] = TypeAdapter(Attachment)
ABOUT = {"thread_id": "t", "created_at": "2026-11-29T10:00:00Z"}
EVERY: list[dict[str, Any]] = [
    {
        "type": "user_message",
        "content": [
            {"type": "input_text", "text": "Hello \x00 🙂"},
            {"type": "input_tag", "id": "t", "text": "@sea", "data": {"n": 1}},
        ],
        "attachments": [{"type": "file", "id": "a", "name": "x.txt", "mime_type": "text/plain"}],
        "quoted_text": "before",
        "inference_options": {"model": "m"},
    },
    {"type": "assistant_message", "content": [{"type": "output_text", "text": "Well."}]},
    {"type": "client_tool_call", "call_id": "c1", "name": "f", "arguments": {"x": 1}},
    {
        "type": "client_tool_call",
        "status": "completed",
        "call_id": "c2",
        "name": "f",
        "arguments": {},
        "output": {"y": [2]},
    },
    {"type": "widget", "widget": {"type": "Card", "children": []}, "copy_text": "copied"},
    {"type": "generated_image", "image": {"id": "i", "url": "https://example.org/i.png"}},
    {"type": "structured_input", "inputs": [{"type": "freeform", "id": "q", "question": "Why?"}]},
    {"type": "task", "task": {"type": "custom", "title": "Dig"}},
    {"type": "workflow", "workflow": {"type": "reasoning", "tasks": []}},
    {"type": "hidden_context_item", "content": {"any": None}},
    {"type": "sdk_hidden_context", "content": "quiet"},
    {"type": "end_of_turn"},
]


def items() -> list[Any]:
    """Return an item of every kind."""
    return [ITEM.validate_python({"id": f"i{number}", **ABOUT, **one}) for number, one in enumerate(EVERY)]


def thread(id_: str, title: str | None = None) -> ThreadMetadata:
    """Return a thread."""
    return ThreadMetadata(id=id_, title=title, created_at=datetime.now(UTC), metadata={"n": [1]})


def called(status: Any, output: Any = None) -> ClientToolCallItem:
    """Return a call of a tool."""
    return ClientToolCallItem(
        id="tc",
        thread_id="t",
        created_at=datetime(2026, 11, 29, tzinfo=UTC),
        status=status,
        call_id="c",
        name="f",
        arguments={"x": 1},
        output=output,
    )


@pytest.mark.filterwarnings("ignore:Direct usage of named widget classes:DeprecationWarning")  # ChatKit's own
def test_items_of_every_kind_come_back(store: chatstore.Repository) -> None:
    """Law: each item comes back equal, page by page either way, by its id, and is no longer there when deleted."""

    async def go() -> None:
        async with ChatstoreStore(store) as door:
            await door.save_thread(thread("t"), None)
            for item in items():
                await door.add_thread_item("t", item, None)
            for order, expected in (("asc", items()), ("desc", items()[::-1])):
                for size in (1, 3, 12, 50):
                    found: list[Any] = []
                    after, more = None, True
                    while more:
                        page = await door.load_thread_items("t", after, size, order, None)
                        assert len(page.data) <= size
                        found += page.data
                        after, more = page.after, page.has_more
                    assert expected == found
            for item in items():
                assert item == await door.load_item("t", item.id, None)
                await door.delete_thread_item("t", item.id, None)
                with pytest.raises(NotFoundError):
                    await door.load_item("t", item.id, None)

    asyncio.run(go())
    assert 0 == store.count_messages("t")


def test_a_call_gets_its_output(store: chatstore.Repository) -> None:
    """Law: a call that is pending is one message; with its output it is two, and the item stays in its place."""

    async def go() -> None:
        async with ChatstoreStore(store) as door:
            await door.save_item("t", called("pending"), None)
            assert ["ai"] == [message.type for message in store.get_messages("t")]
            for output in ("warm", "cold", "cold"):
                await door.save_item("t", called("completed", output), None)
                assert called("completed", output) == await door.load_item("t", "tc", None)
                assert [called("completed", output)] == (
                    await door.load_thread_items("t", None, 5, "asc", None)
                ).data

    asyncio.run(go())
    call, output = store.get_messages("t")
    assert isinstance(call, AIMessage)
    assert isinstance(output, ToolMessage)
    assert ("c", "cold", "c") == (call.tool_calls[0]["id"], output.text, output.tool_call_id)


def test_threads_of_each_user(store: chatstore.Repository) -> None:
    """Law: a user lists, reads and changes their own threads and attachments, and no one else's."""
    file = {"type": "file", "id": "a", "name": "x.txt", "mime_type": "text/plain", "metadata": {"n": 1}}

    async def go() -> None:
        async with ChatstoreStore(store, owner=lambda context: context["user"]) as door:
            ada, bob = {"user": "ada"}, {"user": "bob"}
            for number in range(5):
                await door.save_thread(thread(f"t{number}"), ada)
            one = thread("t1", "Garden")
            await door.save_thread(one, ada)
            assert one == await door.load_thread("t1", ada)
            first = await door.load_threads(3, None, "asc", ada)
            rest = await door.load_threads(3, first.after, "asc", ada)
            assert [[0, 1, 2], [3, 4]] == [[int(one.id[1:]) for one in page.data] for page in (first, rest)]
            assert [True, False] == [first.has_more, rest.has_more]
            assert "t4" == (await door.load_threads(1, None, "desc", ada)).data[0].id
            assert [] == (await door.load_threads(3, None, "asc", bob)).data
            await door.save_attachment(ATTACHMENT.validate_python(file), ada)
            assert file == (await door.load_attachment("a", ada)).model_dump(exclude_none=True)
            await door.delete_thread("t1", bob)
            await door.delete_attachment("a", bob)
            for refused in (
                door.load_thread("t1", bob),
                door.save_thread(thread("t1"), bob),
                door.load_item("t1", "i", bob),
                door.load_thread_items("t1", "i", 3, "asc", bob),
                door.load_attachment("a", bob),
            ):
                with pytest.raises(NotFoundError):
                    await refused
            await door.delete_attachment("a", ada)
            await door.delete_thread("t1", ada)
            with pytest.raises(NotFoundError):
                await door.load_thread("t1", ada)

    asyncio.run(go())
    assert {"ada"} == {session.user_id for session in store.list_sessions().items}


def test_other_frameworks_messages_are_items(store: chatstore.Repository) -> None:
    """Law: a call of another framework's and its output are one item that is completed; no window cuts the two."""
    call = {"name": "f", "args": {"x": 1}, "id": "c", "type": "tool_call"}
    said = [HumanMessage("How?"), AIMessage("So.", tool_calls=[call]), ToolMessage("warm", tool_call_id="c")]
    store.add_messages("t", said)

    async def go() -> None:
        async with ChatstoreStore(store) as door:
            for order, size in (("asc", 1), ("desc", 1), ("asc", 9)):
                found: list[Any] = []
                after, more = None, True
                while more:
                    page = await door.load_thread_items("t", after, size, order, None)
                    found, after, more = [*found, *page.data], page.after, page.has_more
                question, answer, tool = found if order == "asc" else found[::-1]
                assert ("How?", "So.") == (question.content[0].text, answer.content[0].text)
                assert ("completed", "f", {"x": 1}, "warm") == (
                    tool.status, tool.name, tool.arguments, tool.output
                )  # fmt: skip
            assert "t" == (await door.load_threads(1, None, "desc", None)).data[0].id

    asyncio.run(go())


class Parrot(ChatKitServer[Any]):
    """A ChatKit server that repeats what it was told."""

    async def respond(self, thread: Any, input_user_message: Any, context: Any) -> AsyncIterator[Any]:
        """Answer with what was said; name the thread by it."""
        text = input_user_message.content[0].text
        thread.title = text
        yield ThreadItemDoneEvent(
            item=AssistantMessageItem(
                id=self.store.generate_item_id("message", thread, context),
                thread_id=thread.id,
                created_at=datetime.now(UTC),
                content=[{"type": "output_text", "text": f"{text}!"}],
            )
        )


def test_a_server(store: chatstore.Repository) -> None:
    """Law: what a client asks of a server is stored, and read again as the server said it."""
    message = {
        "content": [{"type": "input_text", "text": "Hello"}],
        "attachments": [],
        "inference_options": {},
    }

    async def asked(server: Parrot, kind: str, **params: Any) -> Any:
        result: Any = await server.process(json.dumps({"type": kind, "params": params}), {"user": "ada"})
        if isinstance(result, NonStreamingResult):
            return json.loads(result.json)
        return [json.loads(piece.decode().removeprefix("data: ")) async for piece in result]

    async def go() -> str:
        async with ChatstoreStore(store, owner=lambda context: context["user"]) as door:
            server = Parrot(door)
            events = await asked(server, "threads.create", input=message)
            id_: str = events[0]["thread"]["id"]
            await asked(server, "threads.add_user_message", thread_id=id_, input=message)
            (listed,) = (await asked(server, "threads.list", limit=5, order="desc"))["data"]
            assert (id_, "Hello") == (listed["id"], listed["title"])
            whole = await asked(server, "threads.get_by_id", thread_id=id_)
            assert ["Hello", "Hello!"] * 2 == [one["content"][0]["text"] for one in whole["items"]["data"]]
            await asked(server, "threads.update", thread_id=id_, title="Birds")
            return id_

    id_ = asyncio.run(go())
    ada = store.scope(user_id="ada")
    assert ("Birds", 4) == (ada.get_session(id_).title, ada.count_messages(id_))
    assert 2 == len([one for one in ada.get_messages(id_) if isinstance(one, AIMessage)])
