"""Views of both kinds, and the admin."""

from __future__ import annotations

import asyncio
from typing import Any

from django.contrib import admin
from django.db import transaction
from django.http import HttpRequest, JsonResponse
from django.urls import path

from chatstore import HumanMessage
from chatstore.contrib.django import afollow, async_repository, follow, repository, stream
from shop.models import Account


def say(request: HttpRequest, chat: str) -> Any:
    """Take a credit and store a message, or neither."""
    chats = repository.for_user(request.user)
    with transaction.atomic():
        account, _ = Account.objects.get_or_create(user=str(request.user.pk))
        account.credits -= 1
        account.save()
        chats.add_messages(chat, [HumanMessage(request.body.decode())])
        if account.credits < 0:
            raise ValueError("no credit is left")
    return JsonResponse({"credits": account.credits})


def read(request: HttpRequest, chat: str) -> Any:
    """Read a chat."""
    chats = repository.for_user(request.user)
    title = chats.get_session(chat).title
    return JsonResponse({"title": title, "said": [one.content for one in chats.get_messages(chat)]})


def listed(request: HttpRequest) -> Any:
    """List chats."""
    page = repository.for_user(request.user).list_sessions(cursor=request.GET.get("cursor"), limit=2)
    return JsonResponse({"chats": [one.session_id for one in page.items], "cursor": page.next_cursor})


async def asay(request: HttpRequest, chat: str) -> Any:
    """Store a message, awaiting."""
    chats = async_repository.for_user(await request.auser())
    await chats.add_messages(chat, [HumanMessage(request.body.decode())])
    return JsonResponse({"count": await chats.count_messages(chat)})


def words(text: str) -> Any:
    """Answer word by word; "fail" fails."""
    for word in text.split():
        if word == "fail":
            raise ZeroDivisionError
        yield word + " "


async def awords(text: str) -> Any:
    """Do the same, awaiting."""
    for word in words(text):
        await asyncio.sleep(0)
        yield word


def ask(request: HttpRequest, chat: str) -> Any:
    """Answer what is asked with itself, as a stream."""
    text = request.body.decode()
    return stream(repository.for_user(request.user).begin_answer(chat, [HumanMessage(text)]), words(text))


@transaction.atomic
def ask_in_one(request: HttpRequest, chat: str) -> Any:
    """Do the same in a transaction, as with `ATOMIC_REQUESTS`."""
    return ask(request, chat)


async def aask(request: HttpRequest, chat: str) -> Any:
    """Do the same, awaiting."""
    text = request.body.decode()
    chats = async_repository.for_user(await request.auser())
    return stream(await chats.begin_answer(chat, [HumanMessage(text)]), awords(text))


def watch(request: HttpRequest, chat: str, position: int) -> Any:
    """Watch an answer grow."""
    return follow(request, repository.for_user(request.user), chat, position)


async def awatch(request: HttpRequest, chat: str, position: int) -> Any:
    """Do the same, awaiting."""
    return await afollow(request, async_repository.for_user(await request.auser()), chat, position)


urlpatterns = [
    path("admin/", admin.site.urls),
    path("chats", listed),
    path("chats/<chat>", read),
    path("chats/<chat>/say", say),
    path("chats/<chat>/asay", asay),
    path("chats/<chat>/ask", ask),
    path("chats/<chat>/ask-in-one", ask_in_one),
    path("chats/<chat>/aask", aask),
    path("chats/<chat>/watch/<int:position>", watch),
    path("chats/<chat>/awatch/<int:position>", awatch),
]
