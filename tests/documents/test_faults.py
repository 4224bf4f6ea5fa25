"""Documents under other writers, lost answers and crashes: at every step, whatever happens there."""

from __future__ import annotations

import functools
import itertools
import json
import time
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from chatstore import aio as aio_module
from chatstore import repository as repository_module
from chatstore.arguments import make_purge_rule, utcnow
from chatstore.backends.common.documents import serial, steps
from chatstore.backends.common.documents.header import END, GRACE, LATER, Header
from chatstore.contract import Purge, Truncate
from chatstore.driving import UNREACHABLE_ATTEMPTS, Pause, drive
from chatstore.errors import (
    ChatstoreError,
    Conflict,
    Invalid,
    MessageConflict,
    MessageTooLarge,
    NotSupported,
    OutcomeUnknown,
    PartialWrite,
    SessionExists,
    StorageError,
    StorageUnavailable,
)
from chatstore.messages import HumanMessage
from tests.dictstore import LIMITS, DictRepository, DictStore, failed
from tests.stored import texts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from chatstore.repository import Repository

Call = Any
MANY = 3 * LIMITS.messages + 1


def say(*texts: str, ids: bool = False) -> list[HumanMessage]:
    """Return messages, with ids of their own if asked for."""
    return [HumanMessage(content=text, id=f"id-{text}" if ids else None) for text in texts]


def numbers(count: int, *, ids: bool = True, first: int = 1) -> list[HumanMessage]:
    """Return numbered messages."""
    return say(*(str(number) for number in range(first, first + count)), ids=ids)


@pytest.fixture
def store() -> DictStore:
    """Give an empty store."""
    return DictStore()


@pytest.fixture
def repository(store: DictStore) -> DictRepository:
    """Give a repository over it."""
    return DictRepository(store)


@pytest.fixture
def other(store: DictStore) -> DictRepository:
    """Give another process's repository: the same documents, without the first one's trouble."""
    calm = DictStore(store.limits, store.headers, store.rows, store.ids)
    return DictRepository(calm)


@pytest.fixture(autouse=True)
def _hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let patience end after a few attempts."""
    clock = itertools.count()
    # Where a deadline begins, too: else it would be as far away as the machine has been up.
    for where in (time, repository_module, aio_module):
        monkeypatch.setattr(where, "monotonic", lambda: float(next(clock)))


def at(number: int, kind: type, do: Callable[[], None]) -> Callable[[Any], None]:
    """Return trouble that does *do* before the step *number* (from 0) of *kind*."""
    counter = itertools.count()

    def trouble(step: Any) -> None:
        if isinstance(step, kind) and not isinstance(step, Pause) and next(counter) == number:
            do()

    return trouble


def lose() -> None:
    """Lose a race."""
    raise steps.Lost


def lose_for_good() -> None:
    """Be told that the service refuses."""
    raise StorageError("refused: look")


def break_off() -> None:
    """Lose the connection before anything happened."""
    raise failed()


def crash() -> None:
    """End the process."""
    raise KeyboardInterrupt


def consistent(store: DictStore, session_id: str = "s") -> None:
    """Assert that rows, ids and counters of a session agree, and that nothing unreachable is forgotten."""
    header = store._look(steps.Look(session_id))
    reachable = [key for key in store.rows if key[0] == session_id and header and header.holds(*key[1:])]
    ids = {
        (name, generation): place for (sid, generation, name), place in store.ids.items() if sid == session_id
    }
    for _, generation, position in reachable:
        row = serial.parse_row(json.loads(store.rows[session_id, generation, position]))
        assert position == ids[row.draft.message_id, generation]
    assert (header.data.message_count if header and header.session else 0) == len(reachable)
    left = {gone.generation for gone in header.leftovers} if header else set()
    cut = {part.generation for part in header.parts if part.last != END} if header else set()
    known = {key[1] for key in reachable} | left | cut
    assert set() == {key[1] for key in store.rows if key[0] == session_id} - known


CHANGES: dict[str, Callable[[Repository], Any]] = {
    "add": lambda s: s.add_messages("s", say("x", "y")),
    "add with ids": lambda s: s.add_messages("s", say("1", "x", "y", ids=True)),
    "add many": lambda s: s.add_messages("s", numbers(MANY, first=100)),
    "create": lambda s: s.create_session("t", user_id="u"),
    "update": lambda s: s.update_session("s", title="t"),
    "update expiry": lambda s: s.update_session("e", expires_at=utcnow() + timedelta(days=9)),
    "delete": lambda s: s.delete_session("s"),
    "fork": lambda s: s.fork_session("s", "t", through=3),
    "fork many": lambda s: s.fork_session("s", "t"),
    "load": lambda s: s.load_records("t", s.get_records("s")),
    "replace": lambda s: s.replace_messages("s", say("r")),
    "replace many": lambda s: s.replace_messages("s", numbers(MANY, first=200)),
    "edit": lambda s: s.update_message("s", 2, say("edited")[0]),
    "remove": lambda s: s.delete_message("s", "id-3"),
    "pop": lambda s: s.pop_message("s"),
    "truncate few": lambda s: s.truncate("s", after=MANY - 2),
    "truncate many": lambda s: s.truncate("s", after=3),
    "clear": lambda s: s.clear("s"),
    "purge": lambda s: s.purge(updated_before=utcnow() + timedelta(days=1)),
}
#: What must not be done twice, so that an outcome that cannot be found out about is told.
ONCE = {"create", "update", "delete", "fork", "replace", "edit", "remove", "pop"}


def begun(repository: Repository) -> None:
    """Make a session of many messages, and one that expires."""
    repository.add_messages("s", numbers(MANY))
    repository.create_session("e", expires_at=utcnow() + timedelta(days=1))
    repository.add_messages("e", numbers(LIMITS.messages + 1))


def state(repository: Repository) -> Any:
    """Return everything that can be read, without what differs between two runs."""
    sessions = repository.list_sessions(archived=None).items
    return [
        (
            one.session_id, one.title, one.message_count, one.last_position, one.expires_at and one.expires_at.date(),
            [(record.position, record.message) for record in repository.get_records(one.session_id)],
        )
        for one in sorted(sessions, key=lambda one: one.session_id)
    ]  # fmt: skip


@functools.cache
def after(name: str) -> Any:
    """Return the state after an undisturbed change."""
    calm = DictRepository(DictStore())
    begun(calm)
    CHANGES[name](calm)
    return state(calm)


@functools.cache
def steps_of(name: str) -> list[type]:
    """Return the steps that an undisturbed change takes."""
    store = DictStore()
    repository = DictRepository(store)
    begun(repository)
    store.taken.clear()
    CHANGES[name](repository)
    return [type(step) for step in store.taken if not isinstance(step, Pause)]


@pytest.mark.parametrize("name", CHANGES)
def test_a_race_lost_at_any_commit_is_run_again(name: str) -> None:
    """Whichever commit of a change loses a race, the outcome is that of an undisturbed one, and nothing is left."""
    for number in range(steps_of(name).count(steps.Commit)):
        store = DictStore()
        repository = DictRepository(store)
        begun(repository)
        store.trouble = at(number, steps.Commit, lose)

        CHANGES[name](repository)

        assert after(name) == state(repository), number
        consistent(store)


@pytest.mark.parametrize("name", CHANGES)
def test_a_failure_at_any_step_is_tried_again(name: str) -> None:
    """Whichever step fails once without having happened, the outcome is that of an undisturbed change."""
    for number in range(len(steps_of(name))):
        store = DictStore()
        repository = DictRepository(store)
        begun(repository)
        store.trouble = at(number, object, break_off)

        CHANGES[name](repository)

        assert after(name) == state(repository), number
        consistent(store)


@pytest.mark.parametrize("name", CHANGES)
def test_an_answer_lost_at_any_commit_is_found_out(name: str) -> None:
    """A commit that happened, but whose answer was lost, is recognised by its token: nothing is done twice."""
    for number in range(steps_of(name).count(steps.Commit)):
        store = DictStore()
        repository = DictRepository(store)
        begun(repository)
        counter = itertools.count()

        def trouble(
            step: Any, counter: Any = counter, number: int = number, store: DictStore = store
        ) -> None:
            if isinstance(step, steps.Commit) and next(counter) == number:
                store._commit(step)
                raise failed(ambiguous=True)

        store.trouble = trouble
        told = None
        try:
            CHANGES[name](repository)
        except OutcomeUnknown as error:
            told = error
        store.trouble = lambda _: None

        # A deleted header has no token left: that it is gone may have been somebody else.
        assert told is None or name == "delete", number
        assert after(name) == state(repository), number
        consistent(store)


@pytest.mark.parametrize("name", CHANGES)
def test_a_lost_answer_and_another_writer(name: str) -> None:
    """If somebody writes after a commit whose answer was lost, appends find their ids; the rest is `OutcomeUnknown`."""
    store = DictStore()
    repository = DictRepository(store)
    begun(repository)
    happened: list[Any] = []

    def trouble(step: Any) -> None:
        if isinstance(step, steps.Commit) and not happened:
            happened.append(store._commit(step))
            other = DictRepository(DictStore(store.limits, store.headers, store.rows, store.ids))
            other.add_messages(step.session_id, say("other"))
            raise failed(ambiguous=True)

    store.trouble = trouble
    told: ChatstoreError | None = None
    try:
        CHANGES[name](repository)
    except ChatstoreError as error:
        told = error
    # What is staged first loses nothing but its announcement; the other writer's session is in the way then.
    expected = {"fork many": SessionExists, "load": PartialWrite, "replace many": None, "update expiry": None}
    assert expected.get(name, OutcomeUnknown if name.partition(" ")[0] in ONCE else None) is (
        type(told) if told else None
    )
    assert 1 == len(happened)
    for session in repository.list_sessions(archived=None).items:
        records = repository.get_records(session.session_id)
        named = [record.message_id for record in records]
        assert sorted(set(named)) == sorted(named)
        consistent(store, session.session_id)
    if name.startswith("add"):
        before = len(texts(DictRepository(store)))
        assert before == len(set(texts(repository)))


@pytest.mark.parametrize("name", CHANGES)
def test_a_crash_at_any_step_leaves_all_or_nothing(name: str) -> None:
    """Whichever step a process dies at, others see the state before or after it; what is left is swept by a purge."""
    whole = name not in {"add many", "load", "purge"}
    before = DictRepository(DictStore())
    begun(before)
    for number in range(len(steps_of(name))):
        store = DictStore()
        repository = DictRepository(store)
        begun(repository)
        store.trouble = at(number, object, crash)
        with pytest.raises(KeyboardInterrupt):
            CHANGES[name](repository)
        store.trouble = lambda _: None

        other = DictRepository(store)
        if whole:
            assert state(other) in (state(before), after(name)), number
        consistent(store)
        later = utcnow() + 2 * GRACE
        rule = make_purge_rule(None, archived_only=False, expired_only=None, dry_run=False)
        seen = state(other)
        core: Any = other._core
        drive(core.purge(Purge(other._scope, later, rule)), store.carry_out)
        assert seen == state(other)
        for text in store.headers.values():
            header = serial.parse_header(json.loads(text))
            assert () == header.leftovers
            assert header.session is not None
        reachable = {
            (sid, generation, position)
            for sid, generation, position in store.rows
            if (found := store._look(steps.Look(sid))) and found.holds(generation, position)
        }
        assert reachable == set(store.rows)
        assert len(reachable) == len(store.ids)


def test_the_next_write_sweeps_what_a_crash_left(store: DictStore, repository: DictRepository) -> None:
    """A write finds leftovers that their maker has forgotten, and sweeps them."""
    begun(repository)
    store.trouble = at(0, steps.Sweep, crash)
    with pytest.raises(KeyboardInterrupt):
        repository.clear("s")
    store.trouble = lambda _: None
    assert MANY == len([key for key in store.rows if key[0] == "s"])

    repository.add_messages("s", say("soon"))
    assert MANY + 1 == len([key for key in store.rows if key[0] == "s"])
    late = utcnow() + 2 * GRACE
    core: Any = repository._core
    drive(core.truncate(Truncate(repository._scope, late, "s", MANY)), store.carry_out)

    assert [] == [key for key in store.rows if key[0] == "s"]
    consistent(store)


def test_a_failing_sweep_is_not_the_callers(
    store: DictStore, repository: DictRepository, caplog: pytest.LogCaptureFixture
) -> None:
    """A change that is stored succeeds, even if what it left over cannot be swept now; a warning says so."""
    begun(repository)

    def trouble(step: Any) -> None:
        if isinstance(step, steps.Sweep):
            raise failed()

    store.trouble = trouble
    repository.clear("s")

    assert [] == texts(repository)
    assert ["WARNING"] == [record.levelname for record in caplog.records]


@pytest.mark.parametrize("ids", [True, False])
def test_a_batch_that_stops_after_any_piece(ids: bool) -> None:
    """`PartialWrite` tells how many are stored, from the first; the call again, or the rest of it, completes it."""
    pieces = -(-MANY // LIMITS.messages)
    for number in range(pieces):
        store = DictStore()
        repository = DictRepository(store)
        counter = itertools.count()

        def trouble(step: Any, counter: Any = counter, number: int = number) -> None:
            if isinstance(step, steps.Commit) and step.added and next(counter) >= number:
                raise failed("lost")

        store.trouble = trouble
        messages = numbers(MANY, ids=ids)
        with pytest.raises(StorageUnavailable if number == 0 else PartialWrite) as caught:
            repository.add_messages("s", messages)
        store.trouble = lambda _: None
        stored = caught.value.stored if isinstance(caught.value, PartialWrite) else 0

        assert number * LIMITS.messages == stored == repository.count_messages("s")
        repository.add_messages("s", messages if ids else messages[stored:])
        assert [str(one) for one in range(1, MANY + 1)] == texts(repository)
        consistent(store)


def test_partial_writes_count_the_messages_passed(store: DictStore, repository: DictRepository) -> None:
    """An id that is passed twice counts as often as it is passed, so that the rest can be cut off by the number."""
    twice = [*say("1", "1", "2", "2", ids=True), *numbers(MANY, ids=False, first=3)]
    store.trouble = at(1, steps.Commit, lose_for_good)
    with pytest.raises(PartialWrite, match=f"the first {LIMITS.messages + 2} messages") as caught:
        repository.add_messages("s", twice)
    store.trouble = lambda _: None

    assert LIMITS.messages + 2 == caught.value.stored
    repository.add_messages("s", twice[caught.value.stored :])
    assert [str(one) for one in range(1, MANY + 3)] == texts(repository)


def test_what_would_fail_in_a_later_piece_is_refused_before_the_first(
    store: DictStore, repository: DictRepository
) -> None:
    """A known id with another body, a stale revision or a message that is too large: nothing of the call is stored."""
    records = repository.add_messages("s", say("1", ids=True))
    many = numbers(MANY, first=2)
    bad: list[tuple[Call, type[ChatstoreError]]] = [
        (
            lambda: repository.add_messages("s", [*many, HumanMessage(content="!", id="id-1")]),
            MessageConflict,
        ),
        (lambda: repository.add_messages("s", many, expected_revision=records.revision + 1), Conflict),
        (lambda: repository.add_messages("s", [*many, *say("x" * 90_000)]), MessageTooLarge),
        (lambda: repository.replace_messages("s", [*many, *say("x" * 90_000)]), MessageTooLarge),
        (lambda: repository.update_message("s", 1, say("x" * 90_000)[0]), MessageTooLarge),
        (lambda: repository.update_session("s", metadata={"k": "x" * 50_000}), Invalid),
    ]
    for call, error in bad:
        store.taken.clear()
        with pytest.raises(error):
            call()
        assert [] == [step for step in store.taken if isinstance(step, steps.Commit | steps.Stage)]

    assert ["1"] == texts(repository)


def test_an_expected_revision_counts_for_the_first_piece_that_is_stored(repository: DictRepository) -> None:
    """A call in pieces on condition of the current revision succeeds; all known, it succeeds whatever the revision."""
    revision = repository.add_messages("s", say("0", ids=True)).revision
    done = repository.add_messages("s", numbers(MANY), expected_revision=revision)

    again = repository.add_messages("s", numbers(MANY), expected_revision=revision)

    assert list(done) == list(again)
    with pytest.raises(Conflict):
        repository.add_messages("s", numbers(MANY + 1), expected_revision=revision)


def test_pieces_are_cut_by_bytes_too(store: DictStore, repository: DictRepository) -> None:
    """No commit is larger than the service takes, however few its messages."""
    repository.add_messages("s", say(*("x" * 40_000 for _ in range(5))))

    assert [2, 2, 1] == [
        len(step.added) for step in store.taken if isinstance(step, steps.Commit) and step.added
    ]


def test_nobody_waits_longer_than_the_deadline(store: DictStore, repository: DictRepository) -> None:
    """A service that stays busy, a race that is always lost and a silent service each end in one clear error."""
    repository.add_messages("s", say("1"))
    for trouble, kind in ((failed(), object), (steps.Lost(), steps.Commit)):

        def always(step: Any, trouble: Exception = trouble, kind: type = kind) -> None:
            if isinstance(step, kind) and not isinstance(step, Pause):
                raise trouble

        store.trouble = always
        store.taken.clear()
        with pytest.raises(StorageUnavailable) as caught:
            repository.pop_message("s")
        assert StorageUnavailable is type(caught.value)
        assert 4 < len(store.taken) < 1000

    def silent(step: Any) -> None:
        if not isinstance(step, Pause):
            raise failed("lost")

    store.trouble = silent
    store.taken.clear()
    with pytest.raises(StorageUnavailable):
        repository.get_messages("s")
    assert UNREACHABLE_ATTEMPTS == sum(not isinstance(step, Pause) for step in store.taken)


def test_a_change_whose_outcome_stays_unclear_says_so(store: DictStore, repository: DictRepository) -> None:
    """If the deadline comes before the outcome is known, a change raises `OutcomeUnknown`."""
    repository.add_messages("s", say("1"))

    def trouble(step: Any) -> None:
        if isinstance(step, steps.Commit):
            raise failed("lost", ambiguous=True)

    store.trouble = trouble
    for change in (lambda: repository.pop_message("s"), lambda: repository.add_messages("s", say("2"))):
        with pytest.raises(OutcomeUnknown):
            change()


def writers(repository: Repository) -> Iterator[Callable[[], Any]]:
    """Yield changes that another process may make at any moment."""
    yield lambda: repository.add_messages("s", say("a", "b"))
    yield lambda: repository.clear("s")
    yield lambda: repository.delete_session("s")
    yield lambda: repository.truncate("s", after=2)
    yield lambda: repository.replace_messages("s", numbers(MANY, first=300))


@pytest.mark.parametrize(
    "window", [{}, {"last": 10}, {"limit": 10}, {"after": 5}, {"after": 5, "before": 15, "last": 4}]
)
@pytest.mark.parametrize("change", range(5))
def test_readers_never_see_half_of_a_change(window: dict[str, int], change: int) -> None:
    """Whenever another process changes the session while it is read, what comes back was there at one moment."""
    for number in range(6):
        store = DictStore()
        calm = DictStore(store.limits, store.headers, store.rows, store.ids)
        repository, other = DictRepository(store), DictRepository(calm)
        repository.add_messages("s", numbers(MANY))
        repository.delete_message("s", 7)
        moments = [repository.get_records("s", **window)]
        do = list(writers(other))[change]

        store.trouble = at(number, object, lambda do=do: do() and None)  # type: ignore[misc]
        seen = repository.get_records("s", **window)
        store.trouble = lambda _: None

        moments.append(other.get_records("s", **window))
        assert list(seen) in [list(moment) for moment in moments], number


def test_ids_of_dropped_messages_are_forgotten_and_those_kept_are_known(repository: DictRepository) -> None:
    """After a large truncate kept ids are known in their old part, dropped ones may be used again."""
    repository.add_messages("s", numbers(MANY))
    repository.truncate("s", after=3)

    records = repository.add_messages("s", numbers(5))

    assert [1, 2, 3, MANY + 1, MANY + 2] == [record.position for record in records]
    repository.truncate("s", after=2)
    repository.add_messages("s", numbers(MANY, first=3))
    repository.truncate("s", after=2)
    assert ["1", "2"] == texts(repository)
    assert 2 == repository.count_messages("s")
    repository.clear("s")
    assert [3 * MANY] < [record.position * 2 for record in repository.add_messages("s", numbers(2))]


def test_expiry_of_items_follows_the_session(store: DictStore, repository: DictRepository) -> None:
    """A service may sweep items only after their session expired: if that moves away, they are written anew."""
    soon, late = utcnow() + timedelta(days=1), utcnow() + timedelta(days=30)
    repository.create_session("s", expires_at=soon)
    repository.add_messages("s", numbers(MANY))

    def header() -> Header:
        found = store._look(steps.Look("s"))
        assert found is not None
        return found

    first = header()
    assert soon + timedelta(seconds=LATER) == first.sweep_at == first.expiry
    repository.update_session("s", expires_at=soon - timedelta(hours=1))
    assert (first.parts, first.sweep_at) == (header().parts, header().sweep_at)
    repository.update_session("s", expires_at=late)

    assert (None, None) == (header().sweep_at, header().expiry)
    assert first.parts != header().parts
    assert [str(one) for one in range(1, MANY + 1)] == texts(repository)
    assert MANY == len(store.rows)
    repository.update_session("s", expires_at=None)
    repository.replace_messages("s", [])
    repository.update_session("s", expires_at=late)
    assert late + timedelta(seconds=LATER) == header().sweep_at


def test_a_time_to_live_moves_with_every_addition(store: DictStore) -> None:
    """With a ttl each addition sets when the session expires; a time that was given to the session itself stays."""
    repository = DictRepository(store, ttl=3600)
    fixed = utcnow() + timedelta(days=3)
    repository.create_session("fixed", expires_at=fixed)
    repository.add_messages("fixed", say("x"))
    assert fixed == repository.get_session("fixed").expires_at

    def left() -> float:
        expires = repository.get_session("s").expires_at
        assert expires is not None
        return (expires - utcnow()).total_seconds()

    repository.add_messages("s", say("x"))
    assert 3500 < left() <= 3600
    repository.update_session("s", expires_at=utcnow() + timedelta(seconds=60))
    assert left() <= 60
    repository.replace_messages("s", say("y"))
    assert 3500 < left() <= 3600
    found = store._look(steps.Look("s"))
    assert found is not None
    assert found.sweep_at is None
    with pytest.raises(Invalid):
        DictRepository(store, ttl=0)


def test_search_is_denied(repository: DictRepository) -> None:
    """What these services cannot do is refused with the names of backends that can."""
    with pytest.raises(NotSupported, match="sqlite"):
        repository.search("x")
