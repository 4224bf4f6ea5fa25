"""The admin: conversations and messages, found by user, type, date and words, read as a transcript, never changed.

What is shown is read as the application reads it; `has_view_permission` says who may.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple
from urllib.parse import urlencode

from django.contrib import admin, messages
from django.contrib.admin.utils import unquote
from django.contrib.auth import get_user_model
from django.core.exceptions import PermissionDenied
from django.db.models import Q
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.html import format_html
from django.utils.text import Truncator
from django.utils.timezone import now

from chatstore.contrib.django.models import Message, Session
from chatstore.contrib.django.repositories import DjangoRepository
from chatstore.errors import ChatstoreError, CorruptRecord
from chatstore.messages import text_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from django.db.models import QuerySet
    from django.http import HttpRequest

    from chatstore.messages import MessageRecord

#: Messages of a conversation that are shown at once.
PAGE = 100
#: The best hits that a search looks at.
HITS = 500
_ROLES = {"human": "user", "ai": "assistant", "function": "tool"}
#: Parts of a message that are no text, by their type.
_PICTURES = {
    "image_url": "picture",
    "image": "picture",
    "input_audio": "sound",
    "audio": "sound",
    "file": "file",
}


class Line(NamedTuple):
    """One message as a transcript shows it."""

    position: int
    role: str
    name: str
    text: str
    attachments: list[str]
    calls: list[tuple[str, str]]
    about: list[str]
    created_at: Any


def lines_of(records: Iterable[MessageRecord]) -> list[Line]:
    """Return what a transcript shows of *records*."""
    return [_line(record) for record in records]


def _line(record: MessageRecord) -> Line:
    message: Any = record.message
    content = getattr(message, "content", "")
    parts = content if isinstance(content, list) else []
    kinds = [part.get("type", "") for part in parts if isinstance(part, dict)]
    usage = getattr(message, "usage_metadata", None) or {}
    about = [
        (getattr(message, "response_metadata", None) or {}).get("model_name"),
        f"{usage['input_tokens']} + {usage['output_tokens']} tokens" if "output_tokens" in usage else None,
        "failed" if getattr(message, "status", None) == "error" else None,
    ]
    return Line(
        record.position,
        _ROLES.get(message.type, message.type),
        getattr(message, "name", None) or "",
        text_of(content),
        [_PICTURES[kind] for kind in kinds if kind in _PICTURES],
        [
            (call.get("name") or "", _pretty(call.get("args")))
            for call in getattr(message, "tool_calls", None) or []
        ],
        [str(one) for one in about if one],
        record.created_at,
    )


def _pretty(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, indent=2)


class UserFilter(admin.SimpleListFilter):
    """A field for a user's name or id: a list of all users would be too long."""

    title = "user"
    parameter_name = "user"
    template = "admin/chatstore/user_filter.html"
    #: Where the session is, from the model that is listed.
    to_session = ""

    def lookups(self, request: HttpRequest, model_admin: Any) -> Sequence[tuple[str, str]]:
        """Be shown always."""
        del request, model_admin
        return [("", "")]

    def choices(self, changelist: Any) -> Any:
        """Keep the other filters when this one is set."""
        others = changelist.get_filters_params()
        yield {
            "value": self.value() or "",
            "clear": changelist.get_query_string(remove=[self.parameter_name]),
            "others": [
                (name, one) for name, all_ in others.items() for one in all_ if name != self.parameter_name
            ],
        }

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Narrow to the sessions of one user."""
        del request
        value = self.value()
        if not value:
            return queryset
        return queryset.filter(_of_user(value, self.to_session))


class SessionUserFilter(UserFilter):
    """The same for messages."""

    to_session = "session__"


def _of_user(value: str, to_session: str = "") -> Q:
    """Return what is a user's, by the ``user_id`` or by the name that the user logs in with."""
    users = get_user_model()
    keys = [
        str(key)
        for key in users._default_manager.filter(**{users.USERNAME_FIELD: value}).values_list("pk", flat=True)
    ]
    return Q(**{f"{to_session}user_id__in": [value, *keys]})


class StateFilter(admin.SimpleListFilter):
    """Conversations that are in use, archived or expired."""

    title = "state"
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Sequence[tuple[str, str]]:
        """Name the states."""
        del request, model_admin
        return [("current", "current"), ("archived", "archived"), ("expired", "expired")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Narrow to a state."""
        del request
        expired = Q(expires_at__lte=now())
        wanted = {
            "current": ~expired & Q(archived_at=None) | Q(expires_at=None, archived_at=None),
            "archived": Q(archived_at__isnull=False),
            "expired": expired,
        }.get(self.value() or "")
        return queryset if wanted is None else queryset.filter(wanted)


class TypeFilter(admin.SimpleListFilter):
    """Messages of a type; to look which ones there are would read the whole table."""

    title = "type"
    parameter_name = "type"
    known: ClassVar = {"human": "human", "ai": "ai", "tool": "tool", "system": "system"}

    def lookups(self, request: HttpRequest, model_admin: Any) -> Sequence[tuple[str, str]]:
        """Name the usual ones."""
        del request, model_admin
        return [*self.known.items(), ("other", "other")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Narrow to a type."""
        del request
        value = self.value()
        if value == "other":
            return queryset.exclude(type__in=list(self.known))
        return queryset.filter(type=value) if value else queryset


class ReadAdmin(admin.ModelAdmin):
    """An admin that shows and changes nothing."""

    actions = None
    list_per_page = 50
    show_full_result_count = False

    def has_add_permission(self, *_: Any) -> bool:
        """Refuse: messages come from the application."""
        return False

    class Media:
        """How it looks."""

        css: ClassVar = {"all": ["chatstore/transcript.css"]}

    has_change_permission = has_delete_permission = has_add_permission

    def found(self, request: HttpRequest, term: str) -> list[Any]:
        """Return the hits of chatstore's own search; what is wrong with it is said on the page."""
        try:
            return list(DjangoRepository().search(term, limit=HITS))
        except ChatstoreError as error:
            self.message_user(request, str(error), messages.ERROR)
            return []


@admin.register(Session)
class SessionAdmin(ReadAdmin):
    """Conversations, each with its transcript."""

    list_display = ("headline", "owner", "message_count", "updated_at", "state")
    list_filter = (UserFilter, StateFilter, "updated_at", "created_at")
    list_select_related = ("user",)
    search_fields = ("title",)
    search_help_text = 'Words of messages (begin*, "a phrase"), a title, a session\'s id, or a user'

    @admin.display(description="conversation", ordering="title")
    def headline(self, session: Session) -> str:
        """Return the title, or the id of one without."""
        return str(Truncator(session.title or session.session_id).chars(80))

    @admin.display(description="user", ordering="user_id")
    def owner(self, session: Session) -> str:
        """Return who owns it."""
        user: Any = session.user
        name = str(user or session.user_id or "-")
        return f"{name} ({session.tenant_id})" if session.tenant_id else name

    @admin.display(description="state")
    def state(self, session: Session) -> str:
        """Say whether it is archived or expired."""
        if session.expires_at and session.expires_at <= now():
            return "expired"
        return "archived" if session.archived_at else ""

    def get_search_results(self, request: HttpRequest, queryset: Any, search_term: str) -> tuple[Any, bool]:
        """Search titles, ids, users, and the messages by chatstore's own index."""
        term = search_term.strip()
        if not term:
            return queryset, False
        hits = {hit.session_id for hit in self.found(request, term)}
        named = Q(title__icontains=term) | Q(session_id=term) | _of_user(term)
        return queryset.filter(named | Q(session_id__in=hits)), False

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None
    ) -> Any:
        """Show the transcript."""
        del form_url
        session = self.get_object(request, unquote(object_id))
        if session is None:
            return self._get_obj_does_not_exist_redirect(request, self.opts, object_id)
        if not self.has_view_permission(request, session):
            raise PermissionDenied
        context = {
            **self.admin_site.each_context(request),
            "title": self.headline(session),
            "opts": self.opts,
            "session": session,
            "owner": self.owner(session),
            "state": self.state(session),
            "metadata": _pretty(session.metadata) if session.metadata else "",
            **self._transcript(request, session),
            **(extra_context or {}),
        }
        request.current_app = self.admin_site.name
        return TemplateResponse(request, "admin/chatstore/transcript.html", context)

    def _transcript(self, request: HttpRequest, session: Session) -> dict[str, Any]:
        """Return the messages on one page of a transcript, and where the page before begins."""
        given = request.GET.get("before", "")
        before = int(given) if given.isascii() and given.isdigit() and 0 < len(given) < 19 else None  # noqa: PLR2004 - a bigint
        try:
            records: Sequence[MessageRecord] = DjangoRepository().get_records(
                session.session_id, before=before, last=PAGE + 1
            )
        except CorruptRecord as error:
            self.message_user(request, str(error), messages.WARNING)
            records = error.records
        except ChatstoreError as error:
            self.message_user(request, str(error), messages.ERROR)
            records = []
        shown = records[-PAGE:]
        return {
            "lines": lines_of(shown),
            "earlier": urlencode({"before": shown[0].position}) if len(records) > PAGE else "",
            "later": before is not None,
        }


@admin.register(Message)
class MessageAdmin(ReadAdmin):
    """Messages across conversations."""

    list_display = ("beginning", "type", "conversation", "owner", "model", "tokens", "created_at")
    list_filter = (SessionUserFilter, TypeFilter, "created_at")
    list_select_related = ("session", "session__user")
    ordering = ("-id",)
    search_fields = ("content",)
    search_help_text = 'Words of messages (begin*, "a phrase")'
    fields = (
        "conversation", "position", "type", "name", "content", "model", "input_tokens", "output_tokens",
        "tool_call_id", "message_id", "source", "created_at", "rest",
    )  # fmt: skip
    readonly_fields = ("conversation", "rest")

    @admin.display(description="message")
    def beginning(self, message: Message) -> str:
        """Return the first words."""
        return str(Truncator(" ".join((message.content or "").split())).chars(90)) or "-"

    @admin.display(description="conversation")
    def conversation(self, message: Message) -> str:
        """Return a link to the message in the transcript."""
        url = reverse(f"{self.admin_site.name}:chatstore_session_change", args=[message.session_id])
        before = urlencode({"before": message.position + PAGE // 2})
        link = format_html('<a href="{}?{}#m{}">{}</a>', url, before, message.position, message.session)
        return str(link)

    @admin.display(description="user")
    def owner(self, message: Message) -> str:
        """Return who owns the conversation."""
        return str(message.session.user or message.session.user_id or "-")

    @admin.display(description="tokens", ordering="output_tokens")
    def tokens(self, message: Message) -> str:
        """Return how many the model read and wrote."""
        if message.input_tokens is None and message.output_tokens is None:
            return ""
        return f"{message.input_tokens or 0} + {message.output_tokens or 0}"

    @admin.display(description="everything else")
    def rest(self, message: Message) -> str:
        """Return the payload, to be read."""
        return str(format_html("<pre>{}</pre>", _pretty(message.payload)))

    def get_search_results(self, request: HttpRequest, queryset: Any, search_term: str) -> tuple[Any, bool]:
        """Search by chatstore's own index."""
        term = search_term.strip()
        if not term:
            return queryset, False
        wanted = Q(pk__in=[])
        by_session: dict[str, list[int]] = {}
        for hit in self.found(request, term):
            by_session.setdefault(hit.session_id, []).append(hit.position)
        for session_id, positions in by_session.items():
            wanted |= Q(session_id=session_id, position__in=positions)
        return queryset.filter(wanted), False
