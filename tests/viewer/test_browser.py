"""The viewer in the hands of a person, in a real Chromium: keys, scrolling, copying, what grows, no script."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from chatstore.connect import connect
from chatstore.messages import AIMessage, HumanMessage
from chatstore.viewer import Viewer
from tests.viewer import pictures, workshop
from tests.viewer.conftest import served

if TYPE_CHECKING:
    from collections.abc import Callable

    from playwright.sync_api import Browser

    Open = Callable[..., Any]

SHOWN = f"session?id={workshop.SHOWCASE}"


def positions(page: Any) -> list[int]:
    """Return the messages that stand on a page, in its order."""
    found: list[int] = page.evaluate(
        "[...document.querySelectorAll('.turn')].map((one) => Number(one.id.slice(1)))"
    )
    return found


@pytest.mark.timeout(180)
def test_a_long_conversation_opens_at_its_end_and_scrolls_both_ways(chromium: Browser) -> None:
    """Its last message is seen at once; scrolling up brings what is before, without a jump, each message once."""
    with connect("memory:") as store:
        store.add_messages("long", [HumanMessage(f"message {number}") for number in range(1, 10_001)])
        with served(Viewer(store, rate=None)) as address, chromium.new_context() as context:
            page = context.new_page()
            page.goto(f"{address}session?id=long")
            assert page.locator("#m10000").is_visible()
            box = page.locator("#m10000").bounding_box()
            assert box
            assert box["y"] < 800

            for _ in range(3):
                first = positions(page)[0]
                page.evaluate("scrollTo(0, 0)")
                page.locator(f"#m{first - 1}").wait_for(state="attached")
                seen = page.locator(f"#m{first}").bounding_box()
                assert seen
                assert -50 < seen["y"] < 900  # what was read is still on the screen
            found = positions(page)
            assert list(range(found[0], 10_001)) == found
            assert found[0] <= 10_000 - 199

            page.goto(f"{address}session?id=long&at=5000#m5000")
            assert page.locator("#m5000").is_visible()
            last = positions(page)[-1]
            page.evaluate("scrollTo(0, document.documentElement.scrollHeight)")
            page.locator(f"#m{last + 30}").wait_for(state="attached")
            found = positions(page)
            assert list(range(found[0], found[-1] + 1)) == found


def test_an_answer_grows_while_it_is_read(chromium: Browser, sqlite_url: str) -> None:
    """Its text comes by itself, and at the end it is a message like others."""
    with (
        connect(sqlite_url) as store,
        served(Viewer(store, rate=None)) as address,
        chromium.new_context() as context,
    ):
        answer = store.begin_answer("chat", [HumanMessage("Tell me.")], message_id="tale")
        page = context.new_page()
        page.goto(f"{address}session?id=chat")
        assert page.get_by_text("writing…").is_visible()

        answer.append("Once upon a time")
        page.get_by_text("Once upon a time").wait_for(timeout=10_000)
        answer.append(", there was a bicycle.")
        page.get_by_text("there was a bicycle").wait_for(timeout=10_000)
        answer.finish(AIMessage("Once upon a time, there was a bicycle. The end.", id="tale"))
        page.get_by_text("The end.").wait_for(timeout=10_000)
        page.get_by_text("writing…").wait_for(state="detached", timeout=10_000)


def test_keys_lead_through_a_page(open_page: Open) -> None:
    """J and k choose, Enter opens, / searches, ? tells, u leads back; what is typed into a field is typed."""
    page = open_page("")
    page.keyboard.press("j")
    page.keyboard.press("j")
    page.keyboard.press("k")
    page.keyboard.press("j")
    second = page.locator(".list .go").nth(1)
    assert page.evaluate("document.activeElement.href") == page.evaluate(
        "(one) => one.href", second.element_handle()
    )
    page.keyboard.press("Enter")
    page.wait_for_url("**/session?*")
    page.keyboard.press("j")
    assert page.evaluate("document.activeElement.className").startswith("turn")
    page.keyboard.press("?")
    assert page.locator("#help").is_visible()
    page.keyboard.press("Escape")
    page.keyboard.press("/")
    page.keyboard.type("jku?")
    assert "jku?" == page.locator("[name=q]").input_value()
    page.locator("[name=q]").evaluate("(one) => one.blur()")
    page.keyboard.press("u")
    page.wait_for_url(lambda url: url.endswith("/"))


def test_code_is_copied(open_page: Open) -> None:
    """The button brings the text of its block to the clipboard."""
    page = open_page(SHOWN, permissions=["clipboard-read", "clipboard-write"])
    block = page.locator(".copied-code", has_text="def preload")
    block.hover()
    block.get_by_role("button", name="Copy").click()

    page.get_by_role("button", name="Copied").wait_for()
    assert page.evaluate("navigator.clipboard.readText()").startswith("def preload(torque_nm: float)")


@pytest.mark.parametrize("width", [1200, 390])
def test_everything_is_read_without_a_script(open_page: Open, width: int) -> None:
    """Lists, conversations, folded calls, searches, paging: all are links and forms."""
    page = open_page("", java_script_enabled=False, viewport={"width": width, "height": 800})
    page.get_by_role("link", name="Play in the headset").click()
    page.locator("details.call summary").first.click()
    assert page.get_by_text('"sku": "HS-118"').is_visible()
    page.locator("[name=q]").fill("bearing")
    page.get_by_role("button", name="Search").click()
    assert 1 <= page.locator("mark").count()
    page.get_by_role("link", name="Play in the headset").first.click()
    assert page.get_by_text("carries the stem").is_visible()
    page.get_by_role("link", name="List").click()
    page.get_by_role("link", name="Older").click()
    page.get_by_role("link", name="Newer").click()
    assert 50 == page.locator(".list li").count()


def test_text_runs_in_its_own_direction(open_page: Open) -> None:
    """Arabic from the right, in a page from the left."""
    page = open_page(SHOWN)
    ways = page.evaluate(
        "[...document.querySelectorAll('.turn .prose')].map((one) => getComputedStyle(one).direction)"
    )

    assert {"ltr", "rtl"} == set(ways)


def test_a_failed_call_is_seen_without_colour(open_page: Open) -> None:
    """A word and a sign say it."""
    page = open_page(SHOWN)

    assert "✕ failed" in page.locator("details.call.failed summary").inner_text()


def test_print_has_everything_but_what_is_clicked(open_page: Open) -> None:
    """On paper there is no search and no paging."""
    page = open_page(SHOWN)
    page.emulate_media(media="print")

    assert not page.locator(".top").is_visible()
    assert page.get_by_text("carries the stem").is_visible()


AXE = ("", "?user=ada&failed=1", SHOWN, "search?q=chain", f"numbers?{workshop.MONTH}", "message?id=ada-brakes&at=2",
       "delete?id=ada-brakes")  # fmt: skip


@pytest.mark.parametrize("light", ["light", "dark"])
@pytest.mark.timeout(180)
def test_axe_finds_nothing(open_page: Open, repository: Any, light: str) -> None:
    """All rules of axe-core, on every page, everything unfolded, in both lights."""
    from axe_playwright_python.sync_playwright import Axe

    found = []
    with served(Viewer(repository, rate=None, allow_delete=True, allow_export=True)) as address:
        page = open_page("", at=address, color_scheme=light)
        for path in AXE:
            page.goto(address + path)
            page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
            found += [(path, one["id"], one["nodes"][0]["html"][:200]) for one in looked(Axe(), page)]
    assert [] == found


def looked(axe: Any, page: Any) -> list[Any]:
    """Return what axe-core finds; it is put into the page as a debugger would, past the page's own policy."""
    page.evaluate(axe.axe_script)
    result: list[Any] = page.evaluate("axe.run().then((result) => result.violations)")
    return result


def test_axe_finds_a_planted_fault(open_page: Open) -> None:
    """A picture without words, and grey on grey."""
    from axe_playwright_python.sync_playwright import Axe

    page = open_page("")
    page.evaluate(
        """() => {
            document.querySelector('main').append(document.createElement('img'));
            document.querySelector('.list .about').className = 'tag';
            document.querySelector('h1').id = 'grey';
            document.styleSheets[0].insertRule('#grey { color: #ccc }', document.styleSheets[0].cssRules.length);
        }"""
    )

    assert {"image-alt", "color-contrast"} <= {one["id"] for one in looked(Axe(), page)}


@pytest.mark.parametrize("shot", pictures.SHOTS, ids=lambda shot: shot.name)
def test_pictures_show_what_they_should(chromium: Browser, repository: Any, shot: pictures.Shot) -> None:
    """Each page is neither blank nor cut off, and the picture in the documentation is still like it."""
    with (
        served(Viewer(repository, title="Wheelhouse", rate=None)) as address,
        pictures.screen(chromium, shot) as context,
    ):
        page = context.new_page()
        taken = pictures.take(page, address, shot)
        found = pictures.faults(page, taken)

    assert [] == found
    kept = (pictures.FOLDER / f"{shot.name}.png").read_bytes()
    assert len(kept) <= pictures.LIMIT
    assert pictures.difference(kept, taken) < 0.05


WIDE = "document.styleSheets[0].insertRule('main { width: 2000px; max-width: none }', 100)"
CLIPPED = "document.styleSheets[0].insertRule('body { overflow-x: clip }', 100)"


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        ("document.body.replaceChildren()", "blank"),
        (WIDE, "wide on a screen"),
        (f"{CLIPPED}; {WIDE}", "it is cut off"),
        ("document.querySelector('main').replaceChildren()", "nothing is seen"),
    ],
    ids=["blank", "wide", "cut off", "empty"],
)
def test_a_picture_that_is_wrong_is_found(open_page: Open, fault: str, told: str) -> None:
    """Blank, wider than the screen, cut off, or empty in a part of it."""
    page = open_page("")
    page.evaluate(f"{{ {fault} }}")

    assert any(told in one for one in pictures.faults(page, page.screenshot())), fault
