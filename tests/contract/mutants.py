"""Repositories in memory that each break one rule of the contract, and the tests that are to catch them.

Not collected by itself, because these tests are meant to fail: `mutant_runner` runs them.
"""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from chatstore.arguments import Scope
from chatstore.backends import conversation as rules
from chatstore.backends.conversation import Conversation
from chatstore.backends.memory import MemoryRepository, _Memory
from chatstore.codec import Appended
from chatstore.errors import MessageConflict, SessionNotFound, StorageError
from chatstore.messages import Capabilities
from chatstore.testing import RepositoryContract
from chatstore.testing.samples import PAST


class Sound(_Memory):
    """Breaks nothing."""


class ReusesPositions(_Memory):
    """Counts from the messages that are there, as max() + 1 does."""

    caught_by = "test_a_position_is_never_used_again"

    def append(self, scope: Scope, session_id: str, *args: Any, **named: Any) -> Appended:
        if found := self.find(session_id):
            last = max((row.position for row in found.rows), default=0)
            found.session = replace(found.session, last_position=last)
        return super().append(scope, session_id, *args, **named)


class ReadsForAnybody(_Memory):
    """Forgets the owner in one read."""

    caught_by = "test_a_stranger_changes_nothing"

    def message(self, scope: Scope, *args: Any, **named: Any) -> Any:
        return super().message(Scope(), *args, **named)


class DeletesForAnybody(_Memory):
    """Forgets the owner in one removal."""

    caught_by = "test_a_stranger_changes_nothing"

    def pop(self, scope: Scope, *args: Any, **named: Any) -> Any:
        return super().pop(Scope(), *args, **named)


class TellsStrangers(_Memory):
    """Says of a stranger's session that it is missing where it should be taken."""

    caught_by = "test_a_stranger_cannot_take_the_id"

    def append(self, scope: Scope, session_id: str, *args: Any, **named: Any) -> Appended:
        found = self.find(session_id)
        if found and not scope.sees(found.session.tenant_id, found.session.user_id):
            raise SessionNotFound(f"there is no session {session_id!r}: create it first")
        return super().append(scope, session_id, *args, **named)


class IgnoresCase(_Memory):
    """Compares ids as a careless collation does."""

    caught_by = "test_hostile_ids_are_all_different"

    def find(self, session_id: str) -> Conversation | None:
        return next(
            (found for name, found in self._shelf.items() if name.lower() == session_id.lower()), None
        )


class StoresRepeats(_Memory):
    """Takes every message for a new one."""

    caught_by = "test_a_known_id_is_not_stored_again"

    def append(self, scope: Scope, session_id: str, drafts: Any, *args: Any, **named: Any) -> Appended:
        try:
            return super().append(scope, session_id, drafts, *args, **named)
        finally:
            if found := self.find(session_id):
                found._ids = {}


class SwallowsConflicts(_Memory):
    """Drops a message with a known id and another body without a word, as ON CONFLICT DO NOTHING does."""

    caught_by = "test_a_known_id_with_another_body"

    def append(self, scope: Scope, session_id: str, drafts: Any, *args: Any, **named: Any) -> Appended:
        try:
            return super().append(scope, session_id, drafts, *args, **named)
        except MessageConflict:
            ids = self._shelf[session_id].ids()
            known = [ids.get(draft.message_id) or next(iter(ids.values())) for draft in drafts]
            return Appended(self._shelf[session_id].session.revision, known)


class WritesHalf(_Memory):
    """Stores the messages of a call one by one."""

    caught_by = "test_half_a_retry_is_a_conflict"

    def append(
        self, scope: Scope, session_id: str, drafts: Any, expected_revision: Any, now: Any
    ) -> Appended:
        rows: list[Any] = []
        for draft in drafts:
            done = super().append(scope, session_id, [draft], expected_revision, now)
            rows, expected_revision = [*rows, *done.rows], None
        return Appended(done.revision, rows)


class IgnoresRevisions(_Memory):
    """Never says stale."""

    caught_by = "test_any_other_revision_is_a_conflict"

    def append(
        self, scope: Scope, session_id: str, drafts: Any, expected_revision: Any, now: Any
    ) -> Appended:
        del expected_revision
        return super().append(scope, session_id, drafts, None, now)


class RefusesRetries(_Memory):
    """Looks at the revision before it looks at the ids."""

    caught_by = "test_a_retry_never_meets_a_false_conflict"

    def append(
        self, scope: Scope, session_id: str, drafts: Any, expected_revision: Any, now: Any
    ) -> Appended:
        if found := self._seen(scope, session_id, now):
            found.expect(expected_revision)
        return super().append(scope, session_id, drafts, expected_revision, now)


class BumpsForNothing(_Memory):
    """Moves the revision where nothing changed."""

    caught_by = "test_truncating_nothing_changes_nothing"

    def truncate(self, scope: Scope, session_id: str, after: int, now: Any) -> None:
        super().truncate(scope, session_id, after, now)
        if found := self._seen(scope, session_id, now):
            found._touch(now)


class StartsRevisionsAtOne(_Memory):
    """Numbers the revisions of a new session from 1, so that they come again."""

    caught_by = "test_a_revision_never_comes_again"

    def create(self, *args: Any, **named: Any) -> Any:
        made = super().create(*args, **named)
        self._shelf[made.session_id].session = replace(made, revision=1)
        return replace(made, revision=1)


class RemembersDeleted(_Memory):
    """Keeps the id of a deleted message."""

    caught_by = "test_delete_one_message"

    def remove(self, scope: Scope, session_id: str, key: Any, now: Any) -> None:
        found = self._seen(scope, session_id, now)
        ids = dict(found.ids()) if found else {}
        super().remove(scope, session_id, key, now)
        if found:
            found._ids = ids


class OffByOne(_Memory):
    """Takes ``before`` for inclusive."""

    caught_by = "test_windows_agree_with_a_list"

    def records(self, scope: Scope, session_id: str, window: Any, now: Any) -> Any:
        before = None if window.before is None else window.before + 1
        return super().records(scope, session_id, window._replace(before=before), now)


class SkipsAtPages(_Memory):
    """Leaves out a session at the border of two pages."""

    caught_by = "test_pages_hold_everything_once"

    def sessions(self, scope: Scope, wanted: Any, limit: int, start: Any, now: Any) -> Any:
        return super().sessions(scope, wanted, limit, start, now)[1 if start else 0 :]


class ShowsExpired(_Memory):
    """Lists sessions whose time is over."""

    caught_by = "test_an_expired_session_is_in_no_list"

    def sessions(self, scope: Scope, wanted: Any, limit: int, start: Any, now: Any) -> Any:
        return super().sessions(scope, wanted, limit, start, PAST - timedelta(days=1))


class KeepsExpired(_Memory):
    """Revives an expired session with its old messages."""

    caught_by = "test_the_first_write_starts_afresh"

    def _vacate(self, session_id: str, now: Any) -> None:
        found = self.find(session_id)
        super()._vacate(session_id, now)
        if found:
            self._shelf[session_id] = found

    def _made(self, new: Any, now: Any) -> Conversation:
        made = super()._made(new, now)
        if old := self._shelf.get(new.session_id):
            made.rows = old.rows
        return made


class MatchesPrefixes(_Memory):
    """Finds words that only begin like the words of the query."""

    caught_by = "test_every_word_counts"

    def search(self, scope: Scope, wanted: Any, now: Any) -> Any:
        known = {
            word
            for found in self._shelf.values()
            for row in found.rows
            for word in row.draft.content.lower().split()
        }
        longer = [next((word for word in known if word.startswith(one)), one) for one in wanted.words]
        return super().search(scope, wanted._replace(words=tuple(longer)), now)


class PurgesMore(_Memory):
    """Joins the conditions of a purge with OR."""

    caught_by = "test_conditions_join_with_and"

    def purge(self, scope: Scope, rule: Any, now: Any) -> Any:
        if rule.archived_only and rule.expired_only:
            super().purge(scope, rule._replace(archived_only=False), now)
        return super().purge(scope, rule, now)


class SharesForks(_Memory):
    """Lets a fork and its source share one list."""

    caught_by = "test_source_and_fork_go_separate_ways"

    def fork(self, scope: Scope, session_id: str, new_session_id: str, through: Any, now: Any) -> Any:
        made = super().fork(scope, session_id, new_session_id, through, now)
        if made.message_count == len(self._shelf[session_id].rows):
            self._shelf[new_session_id].rows = self._shelf[session_id].rows
        return made


class BeginsToday(_Memory):
    """Says of a session that was loaded from elsewhere that it began when it was loaded."""

    caught_by = "test_a_loaded_session_began_with_its_first_message"

    def load(self, scope: Scope, session_id: str, rows: Any, now: Any) -> Any:
        new = super().load(scope, session_id, rows, now)
        found = self._shelf[session_id]
        found.session = replace(found.session, created_at=now)
        return new


class CountsCopies(_Memory):
    """Counts what a fork copied as if a model had been called for it once more."""

    caught_by = "test_copies_of_a_fork_are_no_usage"

    def usage(self, scope: Scope, wanted: Any, now: Any) -> Any:
        every = [
            Conversation(replace(found.session, forked_at=None), found.rows)
            for found in self._owned(scope, wanted, now)
        ]
        return rules.usage(every, wanted)


class ForgetsForks(_Memory):
    """Takes a copy for a message of the session's own once the source is gone."""

    caught_by = "test_a_copy_stays_a_copy"

    def delete(self, scope: Scope, session_id: str, now: Any) -> Any:
        done = super().delete(scope, session_id, now)
        for found in self._shelf.values():
            if found.session.forked_from == session_id:
                found.session = replace(found.session, forked_at=None)
        return done


class HandsOutItsOwn(_Memory):
    """Gives callers the very objects that are stored."""

    caught_by = "test_what_is_handed_out_is_the_callers"

    def get(self, *args: Any, **named: Any) -> Any:
        found = super().get(*args, **named)
        return self._shelf[found.session_id].session if found else None


class Pretends(_Memory):
    """Says that it cannot search, and answers all the same."""

    caught_by = "test_what_is_denied_raises_not_supported"

    capabilities = Capabilities(denied=frozenset({"search"}))


class Blabs(_Memory):
    """Repeats a message in an error."""

    caught_by = "test_no_error_repeats_a_message"

    def append(self, scope: Scope, session_id: str, drafts: Any, *args: Any, **named: Any) -> Appended:
        try:
            return super().append(scope, session_id, drafts, *args, **named)
        except MessageConflict as error:
            raise MessageConflict(f"{drafts[0].content!r} is another body: use a new id") from error


class Shrugs(_Memory):
    """Raises an error that does not say what to do."""

    caught_by = "test_every_error_says_what_to_do"

    def message(self, *args: Any, **named: Any) -> Any:
        try:
            return super().message(*args, **named)
        except SessionNotFound:
            raise
        except LookupError as error:
            raise type(error)("no such message") from error


class LosesRaces(_Memory):
    """Reads, lets others in, and writes what it read."""

    caught_by = "test_nothing_is_lost_and_turns_stay_together"

    def append(
        self, scope: Scope, session_id: str, drafts: Any, expected_revision: Any, now: Any
    ) -> Appended:
        found = self.find(session_id)
        if found is None or expected_revision is not None or threading.active_count() == 1:
            return super().append(scope, session_id, drafts, expected_revision, now)
        rows, session = list(found.rows), found.session
        time.sleep(0.001)
        found.rows, found.session, found._ids = rows, session, None
        return super().append(scope, session_id, drafts, expected_revision, now)


class BreaksLate(_Memory):
    """Fails in the one state nobody thought of: a third removal in one session."""

    caught_by = "test_any_sequence_agrees_with_memory"

    def pop(self, scope: Scope, session_id: str, now: Any) -> Any:
        found = self._seen(scope, session_id, now)
        if found and found.rows and found.rows[-1].position - len(found.rows) > 1:
            raise StorageError("this cannot be: look again")
        return super().pop(scope, session_id, now)


MUTANTS: dict[str, Any] = {
    kind.__name__: kind for kind in _Memory.__subclasses__() if kind.__module__ == __name__
}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test of the contract over the mutants that it is to catch, and over the sound one."""
    if "mutant" in metafunc.fixturenames:
        mine = [
            name
            for name, kind in MUTANTS.items()
            if getattr(kind, "caught_by", "") == metafunc.function.__name__
        ]
        metafunc.parametrize("mutant", ["Sound", *mine] if mine else [])


class TestMutant(RepositoryContract):
    """The contract over each of them."""

    lacks = frozenset({"large"})

    @pytest.fixture
    def repository(self, mutant: str) -> MemoryRepository:
        """Give a repository on a core with one broken rule."""
        repository = MemoryRepository()
        repository._core = MUTANTS[mutant]()
        return repository
