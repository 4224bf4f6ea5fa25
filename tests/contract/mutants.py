"""Repositories in memory that each break one rule of the contract, and the tests that are to catch them.

Not collected by itself, because these tests are meant to fail: `mutant_runner` runs them.
"""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from chatstore.arguments import Scope
from chatstore.backends.common import rules
from chatstore.backends.common.rules import SessionState
from chatstore.backends.memory.repository import MemoryCore, MemoryRepository
from chatstore.codec import Appended
from chatstore.contract import WriteAnswer
from chatstore.errors import MessageConflict, SessionNotFound, StorageError
from chatstore.messages import Capabilities
from chatstore.testing import RepositoryContract
from chatstore.testing.samples import PAST

if TYPE_CHECKING:
    from chatstore.contract import (
        AddMessages,
        BeginAnswer,
        CloseAnswers,
        CreateSession,
        DeleteMessage,
        DeleteSession,
        ForkSession,
        GetMessage,
        GetRecords,
        InSession,
        ListSessions,
        ListStates,
        LoadRecords,
        PopMessage,
        Purge,
        Search,
        Truncate,
        UpdateMessage,
        UpdateSession,
        Usage,
    )


class Sound(MemoryCore):
    """Breaks nothing."""


class ReusesPositions(MemoryCore):
    """Counts from the messages that are there, as max() + 1 does."""

    caught_by = "test_a_position_is_never_used_again"

    def add_messages(self, call: AddMessages) -> Appended:
        if found := self._shelf.get(call.session_id):
            last = max((row.position for row in found.rows), default=0)
            found.session = replace(found.session, last_position=last)
        return super().add_messages(call)


class ReadsForAnybody(MemoryCore):
    """Forgets the owner in one read."""

    caught_by = "test_a_stranger_changes_nothing"

    def get_message(self, call: GetMessage) -> Any:
        return super().get_message(replace(call, scope=Scope()))


class DeletesForAnybody(MemoryCore):
    """Forgets the owner in one removal."""

    caught_by = "test_a_stranger_changes_nothing"

    def pop_message(self, call: PopMessage) -> Any:
        return super().pop_message(replace(call, scope=Scope()))


class TellsStrangers(MemoryCore):
    """Says of a stranger's session that it is missing where it should be taken."""

    caught_by = "test_a_stranger_cannot_take_the_id"

    def add_messages(self, call: AddMessages) -> Appended:
        found = self.find(call.session_id)
        if found and not call.scope.sees(found.session.tenant_id, found.session.user_id):
            raise SessionNotFound(f"there is no session {call.session_id!r}: create it first")
        return super().add_messages(call)


class IgnoresCase(MemoryCore):
    """Compares ids as a careless collation does."""

    caught_by = "test_hostile_ids_are_all_different"

    def find(self, session_id: str) -> SessionState | None:
        return next(
            (found for name, found in self._shelf.items() if name.lower() == session_id.lower()), None
        )


class StoresRepeats(MemoryCore):
    """Takes every message for a new one."""

    caught_by = "test_a_known_id_is_not_stored_again"

    def add_messages(self, call: AddMessages) -> Appended:
        try:
            return super().add_messages(call)
        finally:
            if found := self._shelf.get(call.session_id):
                found._ids = {}


class AnswersInTwoWrites(MemoryCore):
    """Stores the question, and forgets the placeholder of its answer."""

    caught_by = "test_question_and_placeholder_are_one_write"

    def begin_answer(self, call: BeginAnswer) -> Appended:
        done = super().begin_answer(call)
        self._shelf[call.session_id].rows[-1] = done.rows[-1]._replace(
            draft=done.rows[-1].draft._replace(state=None)
        )
        return done


class LosesText(MemoryCore):
    """Takes what comes while an answer streams, and keeps only its end."""

    caught_by = "test_text_is_stored_as_it_comes"

    def update_message(self, call: UpdateMessage) -> Any:
        if isinstance(call, WriteAnswer) and call.draft.state == "streaming":
            return None
        return super().update_message(call)


class DeletesBeforeItRefuses(MemoryCore):
    """Takes away what stands behind a question before it looks whether it may."""

    caught_by = "test_beginning_refuses_before_it_deletes"

    def begin_answer(self, call: BeginAnswer) -> Appended:
        found = self.find(call.session_id)
        if found is not None and call.after is not None and found.truncate(call.after, call.now):
            self.save(found, rows=True)
        return super().begin_answer(call)


class OverwritesEdits(MemoryCore):
    """Lets the writer of an answer undo what somebody else made of it."""

    caught_by = "test_edit_ends_the_stream"

    def update_message(self, call: UpdateMessage) -> Any:
        found = self.find(call.session_id)
        if isinstance(call, WriteAnswer) and found is not None and call.untouched_since is None:
            row = found.row(call.key)
            found._put(row.position - 1, row._replace(draft=row.draft._replace(state="streaming")))
            self.save(found, rows=True)
        return super().update_message(call)


class ClosesWhatLives(MemoryCore):
    """Takes every answer that streams for an abandoned one."""

    caught_by = "test_what_a_dead_process_left_reads_as_abandoned"

    def close_answers(self, call: CloseAnswers) -> int:
        return super().close_answers(replace(call, untouched_since=call.now))


class ClosesForAnybody(MemoryCore):
    """Forgets the owner where it closes answers."""

    caught_by = "test_closing_stays_in_its_scope"

    def close_answers(self, call: CloseAnswers) -> int:
        return super().close_answers(replace(call, scope=Scope()))


class ReplacesTitles(MemoryCore):
    """Sets what is set already."""

    caught_by = "test_only_what_is_unset_is_set"

    def update_session(self, call: UpdateSession) -> Any:
        return super().update_session(replace(call, only_unset=False))


class MovesWhatIsRenamed(MemoryCore):
    """Takes every change for one that moves a session to the top."""

    caught_by = "test_rename_need_not_move_a_session_to_the_top"

    def update_session(self, call: UpdateSession) -> Any:
        return super().update_session(replace(call, touch=True))


class HidesTitles(MemoryCore):
    """Finds messages, and does not say where."""

    caught_by = "test_hits_say_whose_session_they_are_in"

    def search(self, call: Search) -> Any:
        return [hit._replace(title=None) for hit in super().search(call)]


class ForgetsWhereForksAreFrom(MemoryCore):
    """Lists every session where the forks of one are asked for."""

    caught_by = "test_forks_of_a_session_are_listed"

    def list_sessions(self, call: ListSessions) -> Any:
        return super().list_sessions(replace(call, wanted=call.wanted._replace(forked_from=None)))


class SwallowsConflicts(MemoryCore):
    """Drops a message with a known id and another body without a word, as ON CONFLICT DO NOTHING does."""

    caught_by = "test_a_known_id_with_another_body"

    def add_messages(self, call: AddMessages) -> Appended:
        try:
            return super().add_messages(call)
        except MessageConflict:
            ids = self._shelf[call.session_id].ids()
            known = [ids.get(draft.message_id) or next(iter(ids.values())) for draft in call.drafts]
            return Appended(self._shelf[call.session_id].session.revision, known)


class WritesHalf(MemoryCore):
    """Stores the messages of a call one by one."""

    caught_by = "test_half_a_retry_is_a_conflict"

    def add_messages(self, call: AddMessages) -> Appended:
        rows: list[Any] = []
        for draft in call.drafts:
            done = super().add_messages(replace(call, drafts=[draft]))
            rows, call = [*rows, *done.rows], replace(call, expected_revision=None)
        return Appended(done.revision, rows)


class IgnoresRevisions(MemoryCore):
    """Never says stale."""

    caught_by = "test_any_other_revision_is_a_conflict"

    def add_messages(self, call: AddMessages) -> Appended:
        return super().add_messages(replace(call, expected_revision=None))


class RefusesRetries(MemoryCore):
    """Looks at the revision before it looks at the ids."""

    caught_by = "test_a_retry_never_meets_a_false_conflict"

    def add_messages(self, call: AddMessages) -> Appended:
        if found := self._seen(call):
            found.expect(call.expected_revision)
        return super().add_messages(call)


class BumpsForNothing(MemoryCore):
    """Moves the revision where nothing changed."""

    caught_by = "test_truncating_nothing_changes_nothing"

    def truncate(self, call: Truncate) -> None:
        super().truncate(call)
        if found := self._shelf.get(call.session_id):
            found._touch(call.now)


class StartsRevisionsAtOne(MemoryCore):
    """Numbers the revisions of a new session from 1, so that they come again."""

    caught_by = "test_a_revision_never_comes_again"

    def create_session(self, call: CreateSession) -> Any:
        made = super().create_session(call)
        self._shelf[made.session_id].session = replace(made, revision=1)
        return replace(made, revision=1)


class RemembersDeleted(MemoryCore):
    """Keeps the id of a deleted message."""

    caught_by = "test_delete_one_message"

    def delete_message(self, call: DeleteMessage) -> None:
        found = self._seen(call)
        ids = dict(found.ids()) if found else {}
        super().delete_message(call)
        if found:
            self._shelf[call.session_id]._ids = ids


class OffByOne(MemoryCore):
    """Takes ``before`` for inclusive."""

    caught_by = "test_windows_agree_with_a_list"

    def get_records(self, call: GetRecords) -> Any:
        before = None if call.window.before is None else call.window.before + 1
        return super().get_records(replace(call, window=call.window._replace(before=before)))


class SkipsAtPages(MemoryCore):
    """Leaves out a session at the border of two pages."""

    caught_by = "test_pages_hold_everything_once"

    def list_sessions(self, call: ListSessions) -> Any:
        return super().list_sessions(call)[1 if call.start else 0 :]


class ShowsExpired(MemoryCore):
    """Lists sessions whose time is over."""

    caught_by = "test_an_expired_session_is_in_no_list"

    def list_sessions(self, call: ListSessions) -> Any:
        return super().list_sessions(replace(call, now=PAST - timedelta(days=1)))


class KeepsExpired(MemoryCore):
    """Revives an expired session with its old messages."""

    caught_by = "test_the_first_write_starts_afresh"

    def _vacate(self, session_id: str, now: Any) -> None:
        found = self.find(session_id)
        super()._vacate(session_id, now)
        if found:
            self._shelf[session_id] = found

    def _made(self, new: Any, now: Any) -> SessionState:
        made = super()._made(new, now)
        if old := self._shelf.get(new.session_id):
            made.rows = old.rows
        return made


class MatchesPrefixes(MemoryCore):
    """Finds words that only begin like the words of the query."""

    caught_by = "test_every_word_counts"

    def search(self, call: Search) -> Any:
        return super().search(
            _asking(call, wanted=[one._replace(begins=True) for one in call.wanted.query.wanted])
        )


class MatchesWordsOfPhrases(MemoryCore):
    """Finds the words of a phrase, wherever they stand."""

    caught_by = "test_phrases_exclusions_and_beginnings"

    def search(self, call: Search) -> Any:
        alone = [one._replace(words=(word,)) for one in call.wanted.query.wanted for word in one.words]
        return super().search(_asking(call, wanted=alone))


class FindsWhatIsExcluded(MemoryCore):
    """Takes what must not be there for noise."""

    caught_by = "test_phrases_exclusions_and_beginnings"

    def search(self, call: Search) -> Any:
        return super().search(_asking(call, unwanted=()))


class KnowsOneOrder(MemoryCore):
    """Gives the best first, whatever was asked for."""

    caught_by = "test_newest_or_best_first"

    def search(self, call: Search) -> Any:
        return super().search(replace(call, wanted=call.wanted._replace(order="best")))


class ForgetsWhoseHitsAre(MemoryCore):
    """Gives hits without title and owner."""

    caught_by = "test_a_hit_says_whose_it_is"

    def search(self, call: Search) -> Any:
        return [hit._replace(title=None, tenant_id=None, user_id=None) for hit in super().search(call)]


def _asking(call: Search, **parts: Any) -> Search:
    query = call.wanted.query._replace(**{name: tuple(terms) for name, terms in parts.items()})
    return replace(call, wanted=call.wanted._replace(query=query))


class PurgesMore(MemoryCore):
    """Joins the conditions of a purge with OR."""

    caught_by = "test_conditions_join_with_and"

    def purge(self, call: Purge) -> Any:
        if call.rule.archived_only and call.rule.expired_only:
            super().purge(replace(call, rule=call.rule._replace(archived_only=False)))
        return super().purge(call)


class SharesForks(MemoryCore):
    """Lets a fork and its source share one list."""

    caught_by = "test_source_and_fork_go_separate_ways"

    def fork_session(self, call: ForkSession) -> Any:
        made = super().fork_session(call)
        if made.message_count == len(self._shelf[call.session_id].rows):
            self._shelf[call.new_session_id].rows = self._shelf[call.session_id].rows
        return made


class BeginsToday(MemoryCore):
    """Says of a session that was loaded from elsewhere that it began when it was loaded."""

    caught_by = "test_a_loaded_session_began_with_its_first_message"

    def load_records(self, call: LoadRecords) -> Any:
        new = super().load_records(call)
        found = self._shelf[call.session_id]
        found.session = replace(found.session, created_at=call.now)
        return new


class CountsCopies(MemoryCore):
    """Counts what a fork copied as if a model had been called for it once more."""

    caught_by = "test_copies_of_a_fork_are_no_usage"

    def usage(self, call: Usage) -> Any:
        every = [
            SessionState(replace(found.session, forked_at=None), found.rows) for found in self._owned(call)
        ]
        return rules.usage(every, call.wanted)


class ForgetsForks(MemoryCore):
    """Takes a copy for a message of the session's own once the source is gone."""

    caught_by = "test_a_copy_stays_a_copy"

    def delete_session(self, call: DeleteSession) -> Any:
        done = super().delete_session(call)
        for found in self._shelf.values():
            if found.session.forked_from == call.session_id:
                found.session = replace(found.session, forked_at=None)
        return done


class HandsOutItsOwn(MemoryCore):
    """Gives callers the very objects that are stored."""

    caught_by = "test_what_is_handed_out_is_the_callers"

    def get_session(self, call: InSession) -> Any:
        found = super().get_session(call)
        return self._shelf[found.session_id].session if found else None


class Pretends(MemoryCore):
    """Says that it cannot search, and answers all the same."""

    caught_by = "test_what_is_denied_raises_not_supported"

    capabilities = Capabilities(denied=frozenset({"search"}))


class TellsStates(MemoryCore):
    """Lists the states of other owners, too."""

    caught_by = "test_states_of_all_owners_are_listed"

    def iter_states(self, call: ListStates) -> Any:
        return super().iter_states(replace(call, scope=Scope()))


class Blabs(MemoryCore):
    """Repeats a message in an error."""

    caught_by = "test_no_error_repeats_a_message"

    def add_messages(self, call: AddMessages) -> Appended:
        try:
            return super().add_messages(call)
        except MessageConflict as error:
            raise MessageConflict(f"{call.drafts[0].content!r} is another body: use a new id") from error


class Shrugs(MemoryCore):
    """Raises an error that does not say what to do."""

    caught_by = "test_every_error_says_what_to_do"

    def get_message(self, call: GetMessage) -> Any:
        try:
            return super().get_message(call)
        except SessionNotFound:
            raise
        except LookupError as error:
            raise type(error)("no such message") from error


class LosesRaces(MemoryCore):
    """Reads, lets others in, and writes what it read."""

    caught_by = "test_nothing_is_lost_and_turns_stay_together"

    def add_messages(self, call: AddMessages) -> Appended:
        found = self._shelf.get(call.session_id)
        if found is None or call.expected_revision is not None or threading.active_count() == 1:
            return super().add_messages(call)
        rows, session = list(found.rows), found.session
        time.sleep(0.001)
        self._shelf[call.session_id] = SessionState(session, rows)
        return super().add_messages(call)


class BreaksLate(MemoryCore):
    """Fails in the one state nobody thought of: a third removal in one session."""

    caught_by = "test_any_sequence_agrees_with_memory"

    def pop_message(self, call: PopMessage) -> Any:
        found = self._seen(call)
        if found and found.rows and found.rows[-1].position - len(found.rows) > 1:
            raise StorageError("this cannot be: look again")
        return super().pop_message(call)


MUTANTS: dict[str, Any] = {
    kind.__name__: kind for kind in MemoryCore.__subclasses__() if kind.__module__ == __name__
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
