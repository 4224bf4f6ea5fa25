"""What a Django project may rely on, as its own tests would say it. Run by ``manage.py test`` in `test_django.py`."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from contextlib import aclosing
from datetime import UTC, datetime
from io import StringIO
from typing import Any
from unittest import skipUnless

from asgiref.sync import async_to_sync, sync_to_async
from django.apps import apps
from django.contrib.auth import get_user_model
from django.contrib.auth.models import AnonymousUser
from django.core.management import call_command
from django.core.signals import request_finished
from django.db import close_old_connections, connections, transaction
from django.test import (
    AsyncRequestFactory,
    Client,
    RequestFactory,
    SimpleTestCase,
    TestCase,
    TransactionTestCase,
)
from django.test.testcases import DatabaseOperationForbidden

from chatstore import AIMessage, HumanMessage, ToolMessage
from chatstore.contrib.django import NotLoggedIn, async_repository, connect, repository
from chatstore.contrib.django.models import Message, Session
from chatstore.errors import Invalid, MessageConflict, NotSupported, SessionExists
from chatstore.models import messages, sessions
from shop.models import Account
from shop.urls import aask, ask

#: All databases that there are: Django wants them named.
EVERY = "__all__"
IN_ONE = repository.alias == "default"


def user(name: str) -> Any:
    """Return a new user."""
    return get_user_model().objects.create_user(name, password="secret")


def contents(chats: Any, chat: str = "trip") -> list[str]:
    """Return what was said."""
    return [str(message.content) for message in chats.get_messages(chat)]


def events(body: bytes) -> list[tuple[str, Any]]:
    """Return the events of a stream, as kinds and data."""
    parts = [
        dict(line.split(": ", 1) for line in part.splitlines())
        for part in body.decode().split("\n\n")
        if part
    ]
    return [(part.get("event", ""), json.loads(part["data"])) for part in parts]


class Everywhere(TestCase):
    """What holds in the one transaction of a `TestCase` too."""

    databases = EVERY

    def setUp(self) -> None:
        """Make two users."""
        self.ada, self.bob = user("ada"), user("bob")
        self.chats = repository.for_user(self.ada)

    def test_messages_come_back(self) -> None:
        """What a user stores is that user's, equal, also with signs that databases and Django use themselves."""
        said = [HumanMessage("100 % of %s ? :x 🙂 'a' \"b\" \\"), AIMessage("To the sea.", id="a1")]
        self.chats.add_messages("trip", said)

        self.assertEqual(said, self.chats.get_messages("trip"))
        self.assertEqual([], repository.for_user(self.bob).get_messages("trip"))
        self.assertEqual(["trip"], [one.session_id for one in self.chats.list_sessions().items])
        self.assertEqual([2], [hit.position for hit in self.chats.search("sea")])

    def test_metadata_come_back(self) -> None:
        """They are an object, and can be asked for."""
        made = self.chats.create_session("trip", metadata={"tags": ["a", 1], "kind": "x %"})

        self.assertEqual({"tags": ["a", 1], "kind": "x %"}, made.metadata)
        self.assertEqual(made, self.chats.get_session("trip"))
        self.assertEqual(1, len(self.chats.list_sessions(metadata={"kind": "x %"}).items))

    def test_nobody_has_no_chats(self) -> None:
        """Without a user who is logged in and stored, there is an error and no scope that all of them share."""
        for nobody in (None, AnonymousUser(), get_user_model()()):
            with self.assertRaises(NotLoggedIn):
                repository.for_user(nobody)

    def test_a_scope_is_narrowed_only(self) -> None:
        """A user's repository cannot become another user's."""
        with self.assertRaises(Invalid):
            self.chats.for_user(self.bob)

    def test_errors_leave_the_transaction_usable(self) -> None:
        """What is refused is undone alone; the rows around it stay."""
        self.chats.add_messages("trip", [HumanMessage("a", id="m1")])
        with transaction.atomic():
            Account.objects.create(user="ada")
            with self.assertRaises(MessageConflict):
                self.chats.add_messages("trip", [HumanMessage("new"), HumanMessage("b", id="m1")])
            with self.assertRaises(SessionExists):
                repository.for_user(self.bob).add_messages("trip", [HumanMessage("mine")])
            self.chats.add_messages("trip", [HumanMessage("c")])

        self.assertEqual(["a", "c"], contents(self.chats))
        self.assertEqual(1, Account.objects.count())

    def test_a_block_is_undone_whole(self) -> None:
        """Rows and messages of a block that fails are gone, those of the block around it stay."""
        alias = repository.alias
        with transaction.atomic(), transaction.atomic(using=alias):
            self.chats.add_messages("trip", [HumanMessage("kept")])
            try:
                with transaction.atomic(), transaction.atomic(using=alias):
                    self.chats.add_messages("trip", [HumanMessage("lost")])
                    Account.objects.create(user="lost")
                    raise ZeroDivisionError
            except ZeroDivisionError:
                pass

        self.assertEqual(["kept"], contents(self.chats))
        self.assertFalse(Account.objects.exists())

    def test_a_broken_transaction_is_djangos_error(self) -> None:
        """After an error that was swallowed, Django refuses statements; ours are refused likewise."""
        with transaction.atomic(using=repository.alias):
            transaction.set_rollback(True, using=repository.alias)
            with self.assertRaises(transaction.TransactionManagementError):
                self.chats.add_messages("trip", [HumanMessage("a")])
            transaction.set_rollback(False, using=repository.alias)
        self.assertEqual(0, self.chats.count_messages("trip"))

    def test_what_waits_for_the_commit(self) -> None:
        """`on_commit` runs after a commit, and not after what was refused."""
        ran: list[str] = []
        alias = repository.alias
        with self.captureOnCommitCallbacks(using=alias, execute=True), transaction.atomic(using=alias):
            self.chats.add_messages("trip", [HumanMessage("a", id="m1")])
            transaction.on_commit(lambda: ran.append("stored"), using=alias)
        with (
            self.captureOnCommitCallbacks(using=alias, execute=True),
            self.assertRaises(MessageConflict),
            transaction.atomic(using=alias),
        ):
            transaction.on_commit(lambda: ran.append("refused"), using=alias)
            self.chats.add_messages("trip", [HumanMessage("b", id="m1")])

        self.assertEqual(["stored"], ran)

    def test_queries_are_seen(self) -> None:
        """Statements go by Django's cursor: they are counted, logged, and can be wrapped."""
        self.chats.add_messages("trip", [HumanMessage("a")])
        with self.assertNumQueries(1, using=repository.alias):
            self.chats.get_messages("trip")
        seen: list[str] = []

        def watch(execute: Any, sql: str, *rest: Any) -> Any:
            seen.append(sql)
            return execute(sql, *rest)

        with connections[repository.alias].execute_wrapper(watch):
            self.chats.count_messages("trip")
        self.assertEqual(1, len(seen))

    def test_using_is_refused(self) -> None:
        """There is no other connection to take."""
        with self.assertRaisesMessage(NotSupported, "transaction.atomic()"):
            repository.using(object())

    def test_views(self) -> None:
        """Both kinds of views store for whoever is logged in."""
        self.client.force_login(self.ada)
        self.assertEqual({"credits": 9}, self.post("trip/say", "hello").json())
        self.assertEqual(["hello"], self.client.get("/chats/trip").json()["said"])
        self.assertEqual({"count": 2}, self.post("trip/asay", "again").json())

    async def test_asynchronous_tests(self) -> None:
        """An asynchronous test is in the transaction of its case."""
        await self.async_client.aforce_login(self.ada)
        answer = await self.async_client.post("/chats/trip/asay", "hello", content_type="text/plain")
        self.assertEqual({"count": 1}, answer.json())
        chats = async_repository.for_user(self.ada)
        self.assertEqual(["hello"], [one.content for one in await chats.get_messages("trip")])
        self.assertEqual(["hello"], [one.content async for one in Message.objects.filter(session="trip")])

    def test_answers_to_errors(self) -> None:
        """Each has its status, and one clear sentence; nothing of it is stored."""
        self.problem(401, self.client.get("/chats"), "log in")
        self.problem(401, self.post("trip/asay", "hello"), "log in")
        self.client.force_login(self.bob)
        self.chats.add_messages("trip", [HumanMessage("hers")])
        self.problem(404, self.client.get("/chats/trip"), "no such chat")
        self.problem(409, self.post("trip/say", "mine"), "taken")
        self.problem(409, self.post("trip/asay", "mine"), "taken")
        repository.for_user(self.bob).create_session("past", expires_at=datetime(2020, 1, 1, tzinfo=UTC))
        self.problem(404, self.client.get("/chats/past"), "no such chat")
        repository.purge()
        self.problem(400, self.client.get("/chats", {"cursor": "bm90IGEgY3Vyc29y"}), "cursor")
        self.problem(400, self.post("x" * 300 + "/say", "hello"), "255")
        self.problem(413, self.post("new/say", "x" * 20_000_000), "larger")
        self.problem(413, self.post("new/asay", "x" * 20_000_000), "larger")

        self.assertEqual(["hers"], contents(self.chats))
        self.assertEqual(1, repository.list_sessions().items.__len__())
        self.assertFalse(Account.objects.exists())

    def test_an_exception_takes_back_rows_and_messages(self) -> None:
        """A view that raises after both leaves neither."""
        Account.objects.create(user=str(self.ada.pk), credits=0)
        self.client.force_login(self.ada)
        if not IN_ONE:
            return  # chats in a database of their own are in a transaction of their own
        with self.assertRaisesMessage(ValueError, "credit"):
            self.post("trip/say", "hello")

        self.assertEqual(0, self.chats.count_messages("trip"))
        self.assertEqual(0, Account.objects.get().credits)

    def test_answers_stream(self) -> None:
        """Events for the browser, and the answer stored with its question; also in the transaction of a test."""
        self.client.force_login(self.ada)
        for path in ("ask", "ask-in-one"):
            answer = self.post(f"{path}/{path}", "to the sea")
            self.assertEqual("text/event-stream", answer["Content-Type"])
            self.streamed(path, b"".join(answer.streaming_content))

    async def test_answers_stream_awaited(self) -> None:
        """The same in an asynchronous view."""
        await self.async_client.aforce_login(self.ada)
        answer = await self.async_client.post("/chats/aask/aask", "to the sea", content_type="text/plain")
        body = b"".join([part async for part in answer.streaming_content])
        await sync_to_async(self.streamed)("aask", body)

    def streamed(self, chat: str, body: bytes) -> None:
        """Look at the events, and at what is stored."""
        got = events(body)
        self.assertEqual(["to ", "the ", "sea "], [data["text"] for kind, data in got if kind == ""])
        self.assertEqual(("done", "complete"), (got[-1][0], got[-1][1]["state"]))
        _, stored = self.chats.get_records(chat)
        self.assertEqual(
            ("to the sea", "to the sea ", "complete"), (*contents(self.chats, chat), stored.state)
        )

    def test_an_answer_that_fails(self) -> None:
        """What came is stored, incomplete; the browser hears that it broke off."""
        self.client.force_login(self.ada)
        with self.assertLogs("chatstore", "ERROR"):
            self.failed("ask", b"".join(self.post("ask/ask", "to fail").streaming_content))

    async def test_an_answer_that_fails_awaited(self) -> None:
        """The same in an asynchronous view."""
        await self.async_client.aforce_login(self.ada)
        answer = await self.async_client.post("/chats/aask/aask", "to fail", content_type="text/plain")
        with self.assertLogs("chatstore", "ERROR"):
            body = b"".join([part async for part in answer.streaming_content])
        await sync_to_async(self.failed)("aask", body)

    def failed(self, chat: str, body: bytes) -> None:
        """Look at the events, and at what is stored."""
        got = events(body)
        self.assertEqual((["", "problem"], 500), ([kind for kind, _ in got], got[-1][1]["status"]))
        (_, stored) = self.chats.get_records(chat)
        self.assertEqual(
            ("to ", "incomplete", "error"), (stored.message.content, stored.state, stored.finish_reason)
        )

    async def test_a_browser_that_leaves_an_awaited_answer(self) -> None:
        """What came is stored, incomplete, when the body is closed, as Django's handler for ASGI does it."""
        request = AsyncRequestFactory().post("/", "to the sea", content_type="text/plain")

        async def who() -> Any:
            return self.ada

        request.auser = who
        async with aclosing(aiter(await aask(request, "trip"))) as body:
            await anext(body)
        (_, stored) = await async_repository.for_user(self.ada).get_records("trip")
        self.assertEqual(("to ", "incomplete"), (stored.message.content, stored.state))

    def test_an_answer_whose_browser_leaves(self) -> None:
        """What came is stored, incomplete, when the response is closed, be it before the first byte."""
        request = RequestFactory().post("/", "to the sea", content_type="text/plain")
        request.user = self.ada
        for chat, count in (("some", 1), ("none", 0)):
            answer = ask(request, chat)
            body = iter(answer)
            for _ in range(count):
                next(body)
            request_finished.disconnect(close_old_connections)  # the test's own connection
            answer.close()
            request_finished.connect(close_old_connections)
            (_, stored) = self.chats.get_records(chat)
            self.assertEqual(("to " * count, "incomplete"), (stored.message.content, stored.state))

    def test_a_second_screen(self) -> None:
        """It gets what it has not got; what it makes up, and other people's, is refused."""
        self.client.force_login(self.ada)
        b"".join(self.post("trip/ask", "to the sea").streaming_content)
        url = "/chats/trip/watch/2"
        got = events(self.client.get(url).getvalue())
        self.assertEqual(["to the sea ", "complete"], [got[0][1]["text"], got[1][1]["state"]])
        known = f"{got[1][1]['message_id']}:3"
        got = events(self.client.get(url, headers={"Last-Event-ID": known}).getvalue())
        self.assertEqual("the sea ", got[0][1]["text"])
        self.problem(400, self.client.get(url, headers={"Last-Event-ID": "made:up"}), "Last-Event-ID")
        self.problem(404, self.client.get("/chats/trip/watch/9"), "no such message")
        self.client.force_login(self.bob)
        self.problem(404, self.client.get(url), "no such chat")
        self.problem(404, self.client.get("/chats/trip/awatch/2"), "no such chat")

    async def test_a_second_screen_awaited(self) -> None:
        """The same in an asynchronous view."""
        await self.async_client.aforce_login(self.ada)
        answer = await self.async_client.post("/chats/trip/aask", "to the sea", content_type="text/plain")
        b"".join([part async for part in answer.streaming_content])
        watched = await self.async_client.get("/chats/trip/awatch/2")
        got = events(b"".join([part async for part in watched.streaming_content]))
        self.assertEqual(["to the sea ", "complete"], [got[0][1]["text"], got[1][1]["state"]])

    def test_an_answer_is_refused_before_it_begins(self) -> None:
        """With the status of the error, not with a stream."""
        self.client.force_login(self.bob)
        self.chats.add_messages("trip", [HumanMessage("hers")])
        for path in ("trip/ask", "trip/ask-in-one", "trip/aask"):
            self.problem(409, self.post(path, "mine"), "taken")
        self.assertEqual(["hers"], contents(self.chats))

    def post(self, path: str, text: str) -> Any:
        """Ask something."""
        return self.client.post(f"/chats/{path}", text, content_type="text/plain")

    def problem(self, status: int, answer: Any, said: str) -> None:
        """Look at a refusal."""
        self.assertEqual("application/problem+json", answer["Content-Type"], answer.content[:200])
        body = json.loads(answer.content)
        self.assertEqual((status, status), (answer.status_code, body["status"]))
        self.assertIn(said, body["detail"])


class Models(TestCase):
    """The models read, and join the application's users."""

    databases = EVERY

    def setUp(self) -> None:
        """Give each of two users a chat, and nobody a third."""
        self.ada, self.bob = user("ada"), user("bob")
        for owner in (self.ada, self.bob):
            chats = repository.for_user(owner)
            chats.create_session(f"of {owner.username}", title=owner.username, metadata={"tags": ["a"]})
            chats.add_messages(f"of {owner.username}", [HumanMessage("hi"), AIMessage("ho", name="bot")])
        repository.scope(user_id="no such key").add_messages("nobody's", [HumanMessage("hi")])

    def test_columns(self) -> None:
        """The models have the columns of the tables, and no other."""
        for model, table in ((Session, sessions), (Message, messages)):
            self.assertEqual(
                [column.name for column in table.columns],
                [field.column for field in model._meta.local_fields if field.column],
            )
            for field in model._meta.local_fields:
                if field.column:
                    self.assertEqual(table.columns[field.column].nullable, field.null, field)

    def test_values(self) -> None:
        """Values are those of the repository."""
        (found,) = Session.objects.filter(title="ada")
        kept = repository.get_session("of ada")
        for name in (
            "session_id",
            "metadata",
            "created_at",
            "updated_at",
            "revision",
            "message_count",
            "user_id",
        ):
            self.assertEqual(getattr(kept, name), getattr(found, name), name)
        (record,) = repository.get_records("of ada", last=1)
        message = Message.objects.get(session=found, position=2)
        self.assertEqual((record.created_at, record.message_id), (message.created_at, message.message_id))
        self.assertEqual(("ho", "bot"), (message.content, message.name))
        self.assertIsInstance(message.payload, dict)
        self.assertEqual(["of ada", "of bob"], self.ids(Session.objects.filter(metadata__tags__0="a")))
        self.assertEqual(
            3, Session.objects.filter(created_at__lte=kept.created_at.replace(year=3000)).count()
        )

    @skipUnless(IN_ONE, "users are in another database")
    def test_joins(self) -> None:
        """By whatever key a user has, in both directions, without one query a row."""
        with self.assertNumQueries(1):
            owners = {one.session_id: one.user for one in Session.objects.select_related("user")}
        self.assertEqual({"of ada": self.ada, "of bob": self.bob, "nobody's": None}, owners)
        self.assertEqual(["of ada"], self.ids(Session.objects.filter(user=self.ada)))
        self.assertEqual(["of ada"], self.ids(Session.objects.filter(user__username="ada")))
        self.assertEqual(
            ["of ada", "of bob"], self.ids(Session.objects.filter(user__in=[self.ada, self.bob]))
        )
        self.assertEqual(["nobody's"], self.ids(Session.objects.filter(user=None)))
        self.assertEqual(
            ["of bob"], self.ids(Session.objects.filter(user__isnull=False).exclude(user=self.ada))
        )
        self.assertEqual(["of ada"], self.ids(self.ada.chatstore_sessions.all()))
        self.assertEqual(self.bob, Session.objects.get(title="bob").user)
        self.assertIsNone(Session.objects.get(session_id="nobody's").user)
        self.assertEqual(2, Message.objects.filter(session__user__username="bob").count())

    @skipUnless(IN_ONE, "users are in another database")
    def test_a_user_is_deleted(self) -> None:
        """Chats stay until the application deletes them."""
        self.ada.delete()
        self.assertEqual(["nobody's", "of ada", "of bob"], self.ids(Session.objects.all()))

    def test_nothing_is_written(self) -> None:
        """Every way to write is refused, and says where to."""
        found = Session.objects.get(title="ada")
        queries = Session.objects.all()
        for write in (
            found.save, found.delete, queries.delete, Session.objects.create,
            lambda: queries.update(title="x"), lambda: queries.bulk_create([found]),
        ):  # fmt: skip
            with self.assertRaisesMessage(NotSupported, "chatstore.contrib.django.repository"):
                write()

    def ids(self, found: Any) -> list[str]:
        """Return the ids of sessions."""
        return sorted(one.session_id for one in found)


class Admin(TestCase):
    """The admin shows, finds, and changes nothing."""

    databases = EVERY

    def setUp(self) -> None:
        """Store two conversations."""
        self.ada = user("ada")
        self.boss = get_user_model().objects.create_superuser("boss", password="secret")
        chats = repository.for_user(self.ada)
        chats.create_session("a/1", title="Brakes <b>")
        call = {"name": "find_part", "args": {"size": "BP-20"}, "id": "t1", "type": "tool_call"}
        chats.add_messages(
            "a/1",
            [
                HumanMessage("They squeal <script>"),
                AIMessage("I look.", tool_calls=[call], response_metadata={"model_name": "gpt-x"}),
                ToolMessage("7 in stock", tool_call_id="t1", name="find_part"),
            ],
        )
        repository.add_messages("other", [HumanMessage("unrelated")])
        self.client.force_login(self.boss)

    def shown(self, path: str, **query: str) -> str:
        """Return a page."""
        answer = self.client.get(f"/admin/chatstore/{path}", query)
        self.assertEqual(200, answer.status_code, answer)
        return str(answer.content.decode())

    @skipUnless(IN_ONE, "the admin's lists join users")
    def test_lists(self) -> None:
        """Found by words of messages, title, user and state; by type."""
        found = {"q": "squeal"}, {"q": "brakes"}, {"user": "ada"}, {"user": str(self.ada.pk)}, {"q": "ada"}
        for query in found:
            page = self.shown("session/", **query)
            self.assertIn("Brakes &lt;b&gt;", page)
            self.assertNotIn(">other<", page)
        self.assertNotIn("Brakes", self.shown("session/", state="archived"))
        self.assertIn("7 in stock", self.shown("message/", type="tool", user="ada"))
        self.assertNotIn("7 in stock", self.shown("message/", type="human"))
        self.assertNotIn("I look.", self.shown("message/", q="squeal"))

    @skipUnless(IN_ONE, "the admin's lists join users")
    def test_a_list_asks_few_questions(self) -> None:
        """As many as without any conversation."""
        with self.assertNumQueries(4):
            self.shown("session/")
        for number in range(20):
            repository.for_user(self.ada).add_messages(f"more {number}", [HumanMessage("hi")])
        with self.assertNumQueries(4):
            self.shown("session/")

    @skipUnless(IN_ONE, "the admin joins users")
    def test_a_transcript(self) -> None:
        """It shows texts, calls and models, and escapes what people wrote."""
        page = self.shown("session/a_2F1/change/")
        for part in ("They squeal &lt;script&gt;", "find_part", "BP-20", "7 in stock", "gpt-x"):
            self.assertIn(part, page)
        self.assertNotIn("<script>", page.partition('class="chatstore"')[2])
        self.assertNotIn("They squeal", self.shown("session/a_2F1/change/", before="1"))
        self.shown("session/a_2F1/change/", before="-1; drop")

    @skipUnless(IN_ONE, "the admin joins users")
    def test_a_long_transcript_has_pages(self) -> None:
        """The newest hundred first, then those before."""
        repository.add_messages("long", [HumanMessage(f"<{n}>") for n in range(150)])
        page = self.shown("session/long/change/")
        self.assertIn("&lt;149&gt;", page)
        self.assertNotIn("&lt;49&gt;", page)
        self.assertIn("?before=51", page)
        self.assertIn("&lt;49&gt;", self.shown("session/long/change/", before="51"))

    def test_nothing_can_be_changed(self) -> None:
        """Neither by a superuser; and who may not look does not see."""
        for path in ("session/add/", "message/add/", "session/a_2F1/delete/"):
            self.assertEqual(403, self.client.get(f"/admin/chatstore/{path}").status_code)
        clerk = user("clerk")
        clerk.is_staff = True
        clerk.save()
        self.client.force_login(clerk)
        self.assertEqual(403, self.client.get("/admin/chatstore/session/").status_code)
        self.assertEqual(403, self.client.get("/admin/chatstore/session/a_2F1/change/").status_code)


class Committed(TransactionTestCase):
    """What needs transactions that end."""

    databases = EVERY

    def setUp(self) -> None:
        """Begin with nothing, whatever other cases stored."""
        self.assertEqual(0, Session.objects.count())
        self.ada = user("ada")
        self.chats = repository.for_user(self.ada)

    def test_one(self) -> None:
        """Store something that the next case must not find."""
        self.chats.add_messages("trip", [HumanMessage("a")])

    test_another = test_one

    @skipUnless(IN_ONE, "a transaction is in one database")
    def test_rows_and_messages_are_one(self) -> None:
        """Another connection sees both after the commit, neither before, neither after an exception."""
        for failing in (True, False):
            try:
                with transaction.atomic():
                    Account.objects.create(user="ada")
                    self.chats.add_messages("trip", [HumanMessage("a"), AIMessage("b")])
                    self.chats.update_session("trip", title="Trip")
                    if (
                        connections["default"].vendor != "sqlite"
                    ):  # in memory, tests have one connection for all
                        self.assertEqual((0, 0), self.elsewhere())
                    if failing:
                        raise ZeroDivisionError
            except ZeroDivisionError:
                self.assertEqual((0, 0), self.elsewhere())
        self.assertEqual((1, 2), self.elsewhere())

    def test_an_answer_grows_beside_the_view(self) -> None:
        """Another thread reads it while it streams, also if it began in a transaction; nothing stays open."""
        self.client.force_login(self.ada)
        for path in ("ask", "ask-in-one"):
            answer = self.client.post(f"/chats/{path}/{path}", "to the sea", content_type="text/plain")
            body = iter(answer.streaming_content)
            pieces = [next(body), next(body)]
            self.assertEqual(2, len(pieces))
            deadline = time.monotonic() + 10
            while "to the " not in contents(self.chats, path) and time.monotonic() < deadline:
                time.sleep(0.05)
            self.assertEqual(("to the ", "streaming"), self.last(path))
            self.assertIn("done", b"".join(body).decode())
            answer.close()
            self.assertEqual(("to the sea ", "complete"), self.last(path))
        self.assertFalse([one for one in threading.enumerate() if one.name == "chatstore-answer"])

    def last(self, chat: str) -> tuple[str, str | None]:
        """Return the newest message, and its state."""
        (record,) = self.chats.get_records(chat, last=1)
        return str(record.message.content), record.state

    def test_a_chat_that_is_deleted_while_its_answer_streams(self) -> None:
        """The browser hears that it is gone, and it stays gone."""
        self.client.force_login(self.ada)
        answer = self.client.post("/chats/trip/ask", "to the sea", content_type="text/plain")
        body = iter(answer.streaming_content)
        next(body)
        self.chats.delete_session("trip")
        said = b"".join(body).decode()
        self.assertIn("event: problem", said)
        self.assertIn('"status": 404', said)
        answer.close()
        self.assertEqual(0, Session.objects.count())

    def elsewhere(self) -> tuple[int, int]:
        """Count rows and messages in another thread, which has another connection."""
        found: list[tuple[int, int]] = []

        def count() -> None:
            found.append((Account.objects.count(), self.chats.count_messages("trip")))
            connections.close_all()

        thread = threading.Thread(target=count)
        thread.start()
        thread.join()
        return found[0]

    def test_a_closed_connection_is_opened_again(self) -> None:
        """Django may close its connection at any time."""
        self.chats.add_messages("trip", [HumanMessage("a")])
        connections[repository.alias].close()
        self.assertEqual(["a"], contents(self.chats))

    @skipUnless(connections[repository.alias].vendor != "sqlite", "a file has no server to lose")
    def test_a_lost_connection_is_replaced(self) -> None:
        """A persistent connection that the server has ended does not fail the next call."""
        self.chats.add_messages("trip", [HumanMessage("a")])
        for call in (
            lambda: contents(self.chats),
            lambda: self.chats.add_messages("trip", [HumanMessage("b", id="b")]),
        ):
            self.cut_off()
            call()
        self.assertEqual(["a", "b"], contents(self.chats))

    def cut_off(self) -> None:
        """Have the server end this thread's connection."""
        django = connections[repository.alias]
        with django.cursor() as cursor:
            cursor.execute(
                "SELECT pg_backend_pid()" if django.vendor == "postgresql" else "SELECT connection_id()"
            )
            (number,) = cursor.fetchone()
        other = django.copy()
        try:
            with other.cursor() as cursor:
                cursor.execute(
                    "SELECT pg_terminate_backend(%s)" if django.vendor == "postgresql" else "KILL %s",
                    [number],
                )
        finally:
            other.close()

    def test_awaiting_outside_of_a_transaction(self) -> None:
        """Many tasks at once store everything, in the thread that Django uses for a database."""

        async def main() -> int:
            chats = async_repository.for_user(self.ada)
            await asyncio.gather(*(chats.add_messages("trip", [HumanMessage(str(n))]) for n in range(20)))
            return await chats.count_messages("trip")

        self.assertEqual(20, async_to_sync(main)())

    def test_django_migrates(self) -> None:
        """Down to nothing and up again; the search index and the views included."""
        alias = repository.alias
        call_command("migrate", "chatstore", "zero", database=alias, verbosity=0)
        with connections[alias].cursor() as cursor:
            left = {one.name for one in connections[alias].introspection.get_table_list(cursor)}
        self.assertEqual(
            {"chatstore_alembic_version"} & left, {name for name in left if name.startswith("chatstore_")}
        )
        with self.assertRaises(SystemExit):
            call_command("migrate", database=alias, check_unapplied=True, verbosity=0)
        self.client.force_login(self.ada)
        answer = self.client.get("/chats")
        self.assertEqual((503, "5"), (answer.status_code, answer["Retry-After"]))
        call_command("migrate", "chatstore", "0002", database=alias, verbosity=0)
        self.assertEqual(503, self.client.get("/chats").status_code)
        call_command("migrate", database=alias, verbosity=0)
        self.assertEqual(200, self.client.get("/chats").status_code)
        self.chats.add_messages("trip", [HumanMessage("to the sea")])
        self.assertEqual(1, len(self.chats.search("sea")))
        call_command("makemigrations", check=True, dry_run=True, verbosity=0)
        call_command("migrate", database=alias, check_unapplied=True, verbosity=0)

    def test_a_middle_revision_keeps_what_is_stored(self) -> None:
        """Back to the first revision and forth again, with messages in the tables."""
        alias = repository.alias
        self.chats.add_messages("trip", [HumanMessage("a"), AIMessage("b")])
        call_command("migrate", "chatstore", "0001", database=alias, verbosity=0)
        call_command("migrate", "chatstore", database=alias, verbosity=0)
        self.assertEqual(["a", "b"], contents(self.chats))

    def test_scripts(self) -> None:
        """`sqlmigrate` prints what would be run, in both directions."""
        for name, backwards, part in (
            ("0001", False, "CREATE TABLE chatstore_sessions"),
            ("0002", False, "VIEW"),
            ("0001", True, "DROP TABLE chatstore_sessions"),
        ):
            said = StringIO()
            call_command(
                "sqlmigrate", "chatstore", name, backwards=backwards, database=repository.alias, stdout=said
            )
            self.assertIn(part, said.getvalue())
            self.assertIn("chatstore_alembic_version", said.getvalue())


class Forbidden(SimpleTestCase):
    """A test that may not use the database cannot use the repository either."""

    def test_it_is_forbidden(self) -> None:
        """Django's own error says so."""
        with self.assertRaises(DatabaseOperationForbidden):
            repository.add_messages("forbidden", [HumanMessage("Hello!")])
        with self.assertRaises(DatabaseOperationForbidden):
            connect("default").count_messages("forbidden")


class Browsers(TestCase):
    """A second client, for projects that make their own."""

    databases = EVERY

    def test_many_clients(self) -> None:
        """Two people at once."""
        people = [Client(), Client()]
        for number, client in enumerate(people):
            client.force_login(user(f"user{number}"))
            client.post(f"/chats/c{number}/say", "hi", content_type="text/plain")
        self.assertEqual([["c0"], ["c1"]], [client.get("/chats").json()["chats"] for client in people])
        self.assertTrue(apps.is_installed("chatstore.contrib.django"))
