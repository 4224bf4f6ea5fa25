"""Markdown of a stranger, made into HTML that can do nothing.

Knows which elements, attributes and links may come out; refuses to know what a message is. HTML in the source stays
text. What markdown-it makes of the rest passes nh3, so that a fault in the one is caught by the other.
"""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING, Any, Final

from chatstore.extras import not_installed

try:
    import nh3
    from markdown_it import MarkdownIt
    from markupsafe import Markup, escape
except ImportError as error:
    raise not_installed("The viewer", "viewer") from error

if TYPE_CHECKING:
    from collections.abc import Sequence

    from markdown_it.renderer import RendererProtocol
    from markdown_it.token import Token
    from markdown_it.utils import EnvType, OptionsDict

#: Where a link may lead; anything else, relative links too, stays text.
_LINK: Final = re.compile(r"(?:https?://|mailto:)[^\s]+", re.IGNORECASE)
#: A picture that the text itself holds; never SVG, which is a document.
_DATA: Final = re.compile(r"data:image/(?:png|jpeg|gif|webp);base64,[A-Za-z0-9+/=%]+", re.IGNORECASE)
_TAGS: Final = {
    *("p", "br", "hr", "h3", "blockquote", "pre", "ul", "ol", "li"),
    *("a", "img", "code", "del", "em", "s", "span", "strong"),
    *("div", "table", "tbody", "td", "th", "thead", "tr"),
}
_ATTRIBUTES: Final = {
    "a": {"href", "title"},
    "img": {"src", "alt"},
    "ol": {"start"},
    "pre": {"tabindex", "data-language"},
    "div": {"tabindex"},
}
#: The only classes there are, by element.
_CLASSES: Final = {
    "h3": {f"h{level}" for level in range(1, 7)},
    "span": {"absent"},
    "div": {"wide"},
}
#: Deeper nesting of quotes and lists is shown as text.
_NESTING: Final = 40


def render(text: str) -> Markup:
    """Return *text*, which is markdown, as HTML that runs, fetches and frames nothing."""
    made = _parser().render(text)
    clean = nh3.clean(
        made,
        tags=_TAGS,
        attributes=_ATTRIBUTES,
        allowed_classes=_CLASSES,
        attribute_filter=_keep,
        url_schemes={"http", "https", "mailto", "data"},
        link_rel="noopener noreferrer nofollow",
        set_tag_attribute_values={"a": {"target": "_blank"}},
    )
    return Markup(clean)  # noqa: S704 - this is what has just been made safe


def is_link(url: str) -> bool:
    """Tell whether *url* may be a link's address."""
    return _LINK.fullmatch(url) is not None


def _keep(tag: str, name: str, value: str) -> str | None:
    if name == "href":
        return value if is_link(value) else None
    if name == "src":
        return value if _DATA.fullmatch(value) else None
    if (tag, name) == ("pre", "data-language"):
        return value[:30]
    return value


@cache
def _parser() -> MarkdownIt:
    parser = MarkdownIt("commonmark", {"html": False, "breaks": True, "maxNesting": _NESTING})
    parser.enable(["table", "strikethrough"])
    parser.validateLink = lambda url: is_link(url) or _DATA.fullmatch(url) is not None  # type: ignore[method-assign]
    for name, rule in _RULES.items():
        parser.add_render_rule(name, rule)
    return parser


def _image(
    _self: RendererProtocol, tokens: Sequence[Token], index: int, _options: OptionsDict, _env: EnvType
) -> str:
    """Show a picture that is there; name one that would have to be fetched."""
    token = tokens[index]
    source, words = str(token.attrGet("src") or ""), token.content
    if _DATA.fullmatch(source):
        return f'<img src="{escape(source)}" alt="{escape(words or "Picture")}">'
    told = f"{words} ({source})" if words else source
    return f'<span class="absent">Picture, not loaded: {escape(told)}</span>'


def _heading(
    _self: RendererProtocol, tokens: Sequence[Token], index: int, _options: OptionsDict, _env: EnvType
) -> str:
    """Make every heading one below the message's own, whatever its size, so that none is skipped."""
    return f'<h3 class="{escape(tokens[index].tag)}">' if tokens[index].nesting == 1 else "</h3>\n"


def _code(
    _self: RendererProtocol, tokens: Sequence[Token], index: int, _options: OptionsDict, _env: EnvType
) -> str:
    """Write code that can be reached by keyboard, since it may have to be scrolled, with its language."""
    token = tokens[index]
    language = token.info.split()[0] if token.info.split() else ""
    said = f' data-language="{escape(language)}"' if language else ""
    return f'<pre tabindex="0"{said}><code>{escape(token.content)}</code></pre>\n'


def _table(
    _self: RendererProtocol, tokens: Sequence[Token], index: int, _options: OptionsDict, _env: EnvType
) -> str:
    opens = tokens[index].nesting == 1
    return '<div class="wide" tabindex="0"><table>\n' if opens else "</table></div>\n"


_RULES: Final[dict[str, Any]] = {
    "image": _image,
    "heading_open": _heading,
    "heading_close": _heading,
    "fence": _code,
    "code_block": _code,
    "table_open": _table,
    "table_close": _table,
}
