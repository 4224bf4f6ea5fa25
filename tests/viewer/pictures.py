"""The pictures of the documentation: `python -m tests.viewer.pictures` takes them, tests take them again and look.

Knows which pages are shown, in which light and on which screen, and what is wrong with a picture: it is blank, there is
nothing in a part of it, the page is wider than the screen.
"""

from __future__ import annotations

import io
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from PIL import Image

from tests.viewer import workshop

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

FOLDER: Final = Path(__file__).parents[2] / "docs" / "pictures"
#: Bytes of a picture, at most: they lie in the repository.
LIMIT: Final = 100_000
#: Colours of a picture that is kept.
COLOURS: Final = 128


class Shot(NamedTuple):
    """A page on a screen."""

    name: str
    path: str
    light: str = "light"
    width: int = 1200
    height: int = 900
    run: str = ""


_CALLS: Final = "document.querySelectorAll('.call').forEach((one) => { one.open = true; })"
_TOP: Final = "scrollTo(0, 0)"
_PAGES: Final = {
    "list": ("?user=leila", ""),
    "conversation": (f"session?id={workshop.SHOWCASE}", f"{_CALLS}; {_TOP}"),
    "numbers": (f"numbers?{workshop.MONTH}", ""),
}
SHOTS: Final = [
    *(
        Shot(f"{page}-{light}", "" if page == "list" else path, light, run=run)
        for page, (path, run) in _PAGES.items()
        for light in ("light", "dark")
    ),
    *(
        Shot(f"{page}-phone", "" if page == "list" else path, width=390, height=844, run=run)
        for page, (path, run) in _PAGES.items()
    ),
]


def take(page: Page, address: str, shot: Shot) -> bytes:
    """Open *shot* in a page that has its screen and its light; return what is seen."""
    page.goto(address + shot.path)
    if shot.run:
        page.evaluate(shot.run)
    page.evaluate("Promise.all([...document.images].map((one) => one.decode().catch(() => 0)))")
    seen: bytes = page.screenshot()
    return seen


def faults(page: Page, picture: bytes) -> list[str]:
    """Say what is wrong with a page and its picture."""
    found = []
    wide, screen = page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
    if wide > screen:
        found.append(f"the page is {wide} wide on a screen of {screen}")
    outside = page.evaluate(
        """() => [...document.querySelectorAll('main *')].filter((one) => {
            const box = one.getBoundingClientRect();
            const scrolls = one.closest('pre, .wide, .call summary, svg, .visually-hidden');
            return box.width > 1 && box.right > innerWidth + 1 && !scrolls;
        }).map((one) => one.outerHTML.slice(0, 80))"""
    )
    found += [f"it is cut off: {one}" for one in outside]
    image = Image.open(io.BytesIO(picture)).convert("L")
    counts = image.histogram()
    common = max(counts) / sum(counts)
    shades = sum(count > 20 for count in counts)
    if common > 0.97 or shades < 16:
        found.append(f"it is blank: {common:.0%} of it has one shade, of {shades}")
    third = image.height // 3
    for top in range(0, third * 3, third):
        part = image.crop((0, top, image.width, top + third)).tobytes()
        if max(part) - min(part) < 60:
            found.append(f"nothing is seen from {top} to {top + third}")
    return found


def small(picture: bytes) -> bytes:
    """Return the picture with few colours, as a small PNG."""
    image = Image.open(io.BytesIO(picture)).convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE)
    written = io.BytesIO()
    image.save(written, "PNG", optimize=True)
    return written.getvalue()


def difference(one: bytes, other: bytes) -> float:
    """Return how different two pictures are, from 0 to 1, seen from afar."""
    first, second = (Image.open(io.BytesIO(data)).convert("L").resize((60, 60)) for data in (one, other))
    pairs = zip(first.tobytes(), second.tobytes(), strict=True)
    return float(sum(abs(a - b) for a, b in pairs) / (60 * 60 * 255))


def screen(browser: Browser, shot: Shot) -> Any:
    """Return a context with the screen and the light of *shot*."""
    scheme: Any = shot.light
    return browser.new_context(
        viewport={"width": shot.width, "height": shot.height},
        color_scheme=scheme,
        locale="en-GB",
        timezone_id="UTC",
    )


def main() -> None:
    """Take all pictures and keep them."""
    from playwright.sync_api import sync_playwright

    from chatstore.connect import connect
    from chatstore.viewer import Viewer
    from tests import servers
    from tests.viewer.conftest import FLAGS, served

    FOLDER.mkdir(exist_ok=True)
    with servers.fresh_database("sqlite") as url, connect(url) as store, sync_playwright() as playwright:
        workshop.fill(store)
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=list(FLAGS))
        with served(Viewer(store, title="Wheelhouse", rate=None)) as address:
            for shot in SHOTS:
                with screen(browser, shot) as context:
                    page = context.new_page()
                    taken = take(page, address, shot)
                    kept = small(taken)
                    (FOLDER / f"{shot.name}.png").write_bytes(kept)
                    print(f"{shot.name}: {len(kept):,} bytes", *faults(page, taken))
        browser.close()
    servers.close()


if __name__ == "__main__":
    main()
