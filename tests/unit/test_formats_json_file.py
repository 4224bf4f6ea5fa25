"""An array is cut into its elements without reading all of it, and one that is damaged hides no other."""

from __future__ import annotations

import json
from io import BytesIO
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatstore.formats import json_file
from chatstore.formats.json_file import Torn, split
from chatstore.sources import read

if TYPE_CHECKING:
    from pathlib import Path

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.sampled_from(['"', "\\", '\\"', "[", "},"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


class Slow(BytesIO):
    """A file that gives at most *size* bytes at a time."""

    size = 1

    def read(self, _size: int | None = -1, /) -> bytes:
        """Read fewer bytes than were asked for."""
        return super().read(self.size)


def pieces(data: bytes, size: int = 1 << 16) -> tuple[list[bytes], str]:
    """Return the elements of *data*, read in chunks of *size*, and how it ended."""
    stream, found = Slow(data), []
    stream.size = size
    try:
        for piece in split(stream):
            found.append(piece)  # noqa: PERF402 - what came before an error counts
    except Torn as torn:
        return found, str(torn)
    return found, ""


@given(st.lists(JSON), st.integers(1, 7), st.booleans(), st.sampled_from([None, 1, 3]))
def test_any_array_is_cut_where_json_cuts_it(
    values: list[Any], size: int, ascii_: bool, indent: int | None
) -> None:
    """Whatever the elements hold and wherever a chunk ends, each piece is its element."""
    text = json.dumps(values, ensure_ascii=ascii_, indent=indent)

    found, ended = pieces(text.encode("utf-8", "surrogatepass"), size)

    assert "" == ended
    assert values == [json.loads(piece) for piece in found]


@given(st.lists(JSON, min_size=1), st.data())
def test_whatever_was_cut_off_leaves_what_stands_before(values: list[Any], data: st.DataObject) -> None:
    """A file that ends anywhere gives the elements before that, and says that it was cut."""
    text = json.dumps(values).encode()
    length = data.draw(st.integers(1, len(text) - 1))

    found, ended = pieces(text[:length])

    assert "cut off" in ended
    whole = [json.loads(piece) for piece in found[:-1]]
    assert values[: len(whole)] == whole
    assert len(found) <= len(values)


@pytest.mark.parametrize(
    ("data", "expected", "ended"),
    [
        (b"[]", [], ""),
        (b" \n[ ]\r\n", [], ""),
        (b"\xef\xbb\xbf[1]", [b"1"], ""),
        (b"[1, bad, {2: 3}, 4]", [b"1", b"bad", b"{2: 3}", b"4"], ""),
        (b"[1,,2]", [b"1", b"", b"2"], ""),
        (b"[1,]", [b"1", b""], ""),
        (b"", [], "empty"),
        (b" \n", [], "empty"),
        (b"[", [], "cut off"),
        (b"[1] [2]", [b"1"], "after the array"),
        (b'{"messages": []}', [], "not a JSON array"),
        (b'[1, "never closed, 2]', [b"1", b'"never closed, 2]'], "cut off"),
    ],
)
def test_odd_files(data: bytes, expected: list[bytes], ended: str) -> None:
    """Each is cut as far as it can be, in chunks of any size, and what is wrong is said."""
    for size in (1, 2, 1 << 16):
        found, told = pieces(data, size)

        assert expected == found
        assert ended in told


def test_a_quote_that_is_never_closed_does_not_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """An element over the limit ends the reading with a reason."""
    monkeypatch.setattr(json_file, "_LONGEST", 1000)

    found, ended = pieces(b'[1, "' + b"x" * 100_000, 100)

    assert [b"1"] == found
    assert "a quote that is missing" in ended


def test_a_torn_file_is_named_with_its_elements(tmp_path: Path) -> None:
    """What can be read is read, the broken element and the rest are named; the session is called like the file."""
    path = tmp_path / "my chat.json"
    path.write_text('[{"type": "human", "data": {"content": "a"}}, {"type": "human", "da')

    [(found, elements)] = [(one, list(one.elements)) for one in read("json-file", str(path))]

    assert "my chat" == found.session_id
    assert ["", "this is not JSON", "the file ends be"] == [one.fault[:16] for one in elements]
    assert f"{path} from element 3 on" == elements[-1].place
