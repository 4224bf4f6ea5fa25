"""Fields of the models: a session's owner as one of the application's users, and JSON that drivers may have read.

This module knows how Django joins tables; it refuses to know what a user is.
"""

from __future__ import annotations

from typing import Any

from django.core.exceptions import ObjectDoesNotExist, ValidationError
from django.db import models
from django.db.models import DO_NOTHING, CharField, ForeignObject, UUIDField, Value
from django.db.models.expressions import Col
from django.db.models.fields.related_descriptors import ForwardManyToOneDescriptor
from django.db.models.functions import Cast, Replace
from django.db.models.lookups import Exact

#: The length of ``user_id``.
_LENGTH = 255


class JSON(models.JSONField):
    """A JSON column of any of chatstore's types; psycopg reads ``json`` by itself, which Django expects as text."""

    def from_db_value(self, value: Any, expression: Any, connection: Any) -> Any:
        """Decode text, and leave what is decoded."""
        if value is None or isinstance(value, str | bytes):
            return super().from_db_value(value, expression, connection)
        return value


class _FoundOwner(ForwardManyToOneDescriptor):
    """What ``session.user`` asks: None where the ``user_id`` is nobody's primary key."""

    def get_object(self, instance: Any) -> Any:
        """Find the user."""
        try:
            return super().get_object(instance)
        except (ObjectDoesNotExist, ValidationError, ValueError):
            return None


class _IsOwner:
    """The condition of a join: the ``user_id`` is ``str(user.pk)``, whatever type the key has."""

    def __init__(self, field: Owner, users: str, sessions: str) -> None:
        """Join the tables of these aliases."""
        self._field, self._users, self._sessions = field, users, sessions

    def as_sql(self, compiler: Any, connection: Any) -> Any:
        """Write it for *connection*."""
        ((ours, theirs),) = self._field.related_fields
        owner, key = Col(self._sessions, ours), Col(self._users, theirs)
        if isinstance(theirs, UUIDField) and not connection.features.has_native_uuid_field:
            owner = Replace(owner, Value("-"), Value(""))  # there it is stored without
        # What a field and an expression are resolved against is not asked: both name their table.
        return compiler.compile(Exact(owner, Cast(key, CharField(max_length=_LENGTH))))


class Owner(ForeignObject):
    """A session's user, by joins only: the column is ``user_id``, ``str(user.pk)`` without a constraint."""

    forward_related_accessor_class = _FoundOwner

    def __init__(self, to: Any, on_delete: Any = DO_NOTHING, **options: Any) -> None:
        """Join *to*, the model of users."""
        fixed = {"from_fields": ["user_id"], "to_fields": [None], "null": True, "serialize": False}
        options |= fixed | {"editable": False}
        super().__init__(to, on_delete, **options)

    def deconstruct(self) -> Any:
        """Return what makes the same again."""
        name, path, args, options = super().deconstruct()
        for fixed in ("from_fields", "to_fields", "null", "serialize", "editable"):
            options.pop(fixed, None)
        return name, path, args, options

    def get_joining_fields(self, reverse_join: bool = False) -> tuple[Any, ...]:  # noqa: FBT001, FBT002 - Django's
        """Return no columns that are compared as they are."""
        del reverse_join
        return ()

    def get_extra_restriction(self, alias: str, related_alias: str) -> _IsOwner:
        """Compare the key, as text, instead."""
        return _IsOwner(self, alias, related_alias)

    def get_path_info(self, filtered_relation: Any = None) -> Any:
        """Have Django join always: it would compare the owner with a key of another type, to spare the join."""
        return [info._replace(direct=False) for info in super().get_path_info(filtered_relation)]
