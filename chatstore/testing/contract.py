"""The contract, whole: what every repository promises, as tests."""

from __future__ import annotations

from chatstore.testing.answers import AnswerContract
from chatstore.testing.appending import AppendingContract
from chatstore.testing.concurrency import ConcurrencyContract
from chatstore.testing.counting import PurgeContract, UsageContract
from chatstore.testing.editing import EditingContract
from chatstore.testing.expiry import ExpiryContract
from chatstore.testing.histories import HistoryContract
from chatstore.testing.listing import ListingContract, ListingOrderContract
from chatstore.testing.loading import ForkContract, LoadingContract
from chatstore.testing.machine import MachineContract
from chatstore.testing.overlapping import OverlapContract
from chatstore.testing.reading import ReadingContract
from chatstore.testing.refusals import RefusalContract
from chatstore.testing.revisions import RevisionContract
from chatstore.testing.scopes import ScopeContract
from chatstore.testing.searching import SearchContract
from chatstore.testing.session_values import SessionValueContract
from chatstore.testing.sessions import SessionContract
from chatstore.testing.states import FindingContract, StateContract
from chatstore.testing.together import TogetherContract
from chatstore.testing.values import ValueContract


class RepositoryContract(
    SessionContract,
    SessionValueContract,
    ListingContract,
    ListingOrderContract,
    AppendingContract,
    TogetherContract,
    OverlapContract,
    StateContract,
    FindingContract,
    AnswerContract,
    RevisionContract,
    ReadingContract,
    EditingContract,
    LoadingContract,
    ForkContract,
    ValueContract,
    ExpiryContract,
    ScopeContract,
    SearchContract,
    UsageContract,
    PurgeContract,
    HistoryContract,
    ConcurrencyContract,
    RefusalContract,
    MachineContract,
):
    """Everything a repository promises; a subclass gives the fixture ``repository``."""
