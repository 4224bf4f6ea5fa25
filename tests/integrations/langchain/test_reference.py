"""The adapter's reference page says what the code says now."""

from __future__ import annotations

from chatstore.integrations import langchain as adapter
from tests.reference import langchain


def test_the_page_is_current() -> None:
    """Law: what is committed is what the code writes; if it is not: python -m tests.reference.langchain."""
    assert langchain.page() == langchain.PAGE.read_text(encoding="utf-8")


def test_every_public_name_is_described() -> None:
    """Law: the page has a heading for every name of the adapter."""
    page = langchain.page()
    public = {"ChatMessageHistory", "to_langchain", "from_langchain", *adapter._HOMES}

    assert set() == {name for name in public if f"### `{name}`" not in page}
