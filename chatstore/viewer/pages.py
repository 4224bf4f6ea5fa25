"""The pages: what each asks the source for, and hands to its template.

A page takes the viewer, the request and the source, and returns a response. Refuses to know HTML.
"""

from __future__ import annotations

from io import BytesIO
from typing import TYPE_CHECKING, Any, Final

from werkzeug.exceptions import BadRequest, NotFound
from werkzeug.utils import redirect
from werkzeug.wrappers import Response

from chatstore.viewer import asking, conversation, numbers, parts

if TYPE_CHECKING:
    from collections.abc import Callable

    from markupsafe import Markup
    from werkzeug.wrappers import Request

    from chatstore.messages import ChatSession
    from chatstore.viewer.app import Viewer
    from chatstore.viewer.conversation import Turn, Window
    from chatstore.viewer.source import Source

    Page = Callable[["Viewer", Request, Source], Response]

#: Lines of a list, and hits of a search, on a page; the most hits there are.
LINES, HITS, MOST_HITS = 50, 20, 1_000
#: Characters of turns on a page, which leaves room for what stands around them.
BUDGET: Final = 84_000
#: Characters of one message on a page of its own.
WHOLE: Final = 40_000


def sessions(viewer: Viewer, request: Request, source: Source) -> Response:
    """List conversations."""
    wanted = asking.filters(request.args)
    listed = source.sessions(wanted, asking.place(request.args), request.args.get("cursor") or None, LINES)
    told = asking.narrowed(wanted)
    return viewer._page(
        "sessions.html",
        page="sessions",
        wanted=wanted,
        told=told,
        listed=listed,
        sql=source.sql is not None,
        searches=source.can("search"),
        newer=listed.newer and asking.address("", **told, **asking.placed(listed.newer)),
        older=listed.older and asking.address("", **told, **asking.placed(listed.older)),
        further=listed.cursor and asking.address("", **told, cursor=listed.cursor),
        first=asking.address("", **told) if request.args.keys() & {"older", "newer", "cursor"} else None,
    )


def search(viewer: Viewer, request: Request, source: Source) -> Response:
    """Find messages."""
    asked, wanted = asking.query(request.args), asking.filters(request.args)
    if not asked:
        return redirect(request.script_root + "/", 303)
    within = request.args.get("id") or None
    best = request.args.get("order") == "best"
    number = min(max(asking.position(request.args, "page") or 1, 1), MOST_HITS // HITS)
    limit = min(number * HITS + 1, MOST_HITS)
    hits = source.search(asked, wanted, session_id=within, best=best, limit=limit)
    told = {**asking.narrowed(wanted), "q": asked, "id": within, "order": "best" if best else None}
    more = len(hits) > number * HITS
    return viewer._page(
        "search.html",
        page="search",
        query=asked,
        within=within,
        best=best,
        wanted=wanted,
        narrowed=asking.narrowed(wanted),
        told=told,
        hits=hits[(number - 1) * HITS : number * HITS],
        newest=asking.address("search", **{**told, "order": None}),
        best_first=asking.address("search", **{**told, "order": "best"}),
        back=asking.address("search", **told, page=number - 1) if number > 1 else None,
        more=asking.address("search", **told, page=number + 1) if more else None,
        sql=source.sql is not None,
        searches=True,
    )


def session(viewer: Viewer, request: Request, source: Source) -> Response:
    """Show a part of a conversation: its end, or what the address names."""
    found = source.repository.get_session(asking.session_id(request.args))
    chosen = {name: asking.position(request.args, name) for name in ("at", "after", "before")}
    at, after, before = chosen.values()
    if at is not None:
        window = conversation.around(source, found, at)
    elif after is not None:
        window = conversation.after(source, found, after)
    elif before is not None:
        window = conversation.before(source, found, before)
    else:
        window = conversation.newest(source, found)
    shown, window = _fitting(viewer, found, window, at=at, downwards=after is not None)
    turns, sid = window.turns, found.session_id
    last = max((one.record.position for one in _records(turns)), default=0)
    return viewer._page(
        "session.html",
        page="session",
        session=found,
        shown=shown,
        turns=turns,
        chosen=any(value is not None for value in chosen.values()),
        earlier=asking.address("session", id=sid, before=turns[0].position)
        if turns and window.earlier
        else None,
        later=asking.address("session", id=sid, after=last) if turns and window.later else None,
        streaming=any(turn.record.state == "streaming" for turn in turns),
        searches=source.can("search"),
    )


def _records(turns: list[Turn]) -> list[Any]:
    """Return what holds the records that *turns* show, results of calls included."""
    return [*turns, *(call for turn in turns for call in turn.calls if call.record is not None)]


def _fitting(
    viewer: Viewer, found: ChatSession, window: Window, *, at: int | None, downwards: bool
) -> tuple[list[Markup], Window]:
    """Return as many turns as a page holds, as HTML: from the end, or downwards, or around position *at*."""
    draw = viewer.looks.macro("turn.html", "turn")
    turns = window.turns
    if not turns:
        return [], window
    first = len(turns) - 1
    if downwards:
        first = 0
    elif at is not None:
        first = next((place for place, turn in enumerate(turns) if _holds(turn, at)), first)
    drawn = {first: draw(turns[first], found, viewer, at)}
    left = BUDGET - len(drawn[first])
    low = high = first
    steps = {"up": not downwards, "down": downwards or at is not None}
    while any(steps.values()) and left > 0:
        for way, step in (("down", 1), ("up", -1)):
            place = high + 1 if step > 0 else low - 1
            if not steps[way] or not 0 <= place < len(turns):
                steps[way] = False
                continue
            made = draw(turns[place], found, viewer, at)
            left -= len(made.encode())
            if left <= 0:
                break
            drawn[place] = made
            low, high = min(low, place), max(high, place)
    shown = [drawn[place] for place in range(low, high + 1)]
    return shown, conversation.Window(
        turns[low : high + 1], window.earlier or low > 0, window.later or high < len(turns) - 1
    )


def _holds(turn: Turn, position: int) -> bool:
    return turn.position >= position or any(
        call.record is not None and call.record.position >= position for call in turn.calls
    )


def message(viewer: Viewer, request: Request, source: Source) -> Response:
    """Show one message whole, in parts where it is very long; or only as a turn, for a script that watches it."""
    found, record = _message(request, source)
    turn = conversation.one(source, found, record)
    text = "\n\n".join(_texts(turn))
    number = min(max(asking.position(request.args, "part") or 1, 1), max(1, -(-len(text) // WHOLE)))
    told = {"id": found.session_id, "at": record.position}
    return viewer._page(
        "message.html",
        page="message",
        session=found,
        turn=turn,
        text=text[(number - 1) * WHOLE : number * WHOLE],
        prose=len(text) <= WHOLE and not turn.calls,
        part=number,
        parts=-(-len(text) // WHOLE),
        back=asking.address("message", **told, part=number - 1) if number > 1 else None,
        more=asking.address("message", **told, part=number + 1) if number * WHOLE < len(text) else None,
        size=len(text),
    )


def turn(viewer: Viewer, request: Request, source: Source) -> Response:
    """Show one turn by itself, as it stands in its conversation: what a script asks for while an answer grows."""
    found, record = _message(request, source)
    shown = viewer.looks.macro("turn.html", "turn")(
        conversation.one(source, found, record), found, viewer, None
    )
    return viewer._page("only.html", shown=shown)


def _texts(shown: Turn) -> list[str]:
    """Return all that a turn says, for its own page."""
    kinds = parts.Text | parts.Reasoning | parts.Note | parts.Result
    texts = [part.text for part in shown.parts if isinstance(part, kinds)]
    for call in shown.calls:
        texts.append(f"{call.call.name}\n{call.call.arguments}")
        if call.result is not None:
            texts.append(call.result.text)
    return texts


def _message(request: Request, source: Source) -> tuple[ChatSession, Any]:
    found = source.repository.get_session(asking.session_id(request.args))
    at = asking.position(request.args, "at")
    if not at:
        raise NotFound("the address names no message: open the conversation")
    return found, source.repository.get_message(found.session_id, at)


def picture(viewer: Viewer, request: Request, source: Source) -> Response:
    """Send a picture that a message holds."""
    from chatstore.viewer.app import PICTURE_POLICY

    del viewer
    _, record = _message(request, source)
    found = parts.picture(record.message, asking.position(request.args, "number") or 1)
    if found is None:
        raise NotFound("there is no such picture: open the conversation")
    data, kind = found
    return Response(data, mimetype=kind, headers={"Content-Security-Policy": PICTURE_POLICY})


def counts(viewer: Viewer, request: Request, source: Source) -> Response:
    """Show numbers."""
    wanted, days = numbers.period(request.args)
    return viewer._page(
        "numbers.html",
        page="numbers",
        wanted=wanted,
        days=days,
        told=asking.narrowed(wanted if days is None else wanted._replace(since=None)),
        figures=numbers.figures(source, wanted),
        sql=source.sql is not None,
        searches=source.can("search"),
    )


def delete(viewer: Viewer, request: Request, source: Source) -> Response:
    """Ask whether a conversation is to be deleted; delete it where the form says so."""
    if not viewer.allow_delete:
        raise NotFound("this viewer deletes nothing")
    if request.method != "POST":
        found = source.repository.get_session(asking.session_id(request.args))
        return viewer._page("delete.html", page="delete", session=found)
    given = asking.session_id(request.form)
    if request.form.get("sure") != "yes":
        raise BadRequest("nothing was deleted: send the form again")
    if not source.repository.delete_session(given):
        raise NotFound("there is no such conversation: somebody may have deleted it")
    return redirect(request.script_root + "/", 303)


def export(viewer: Viewer, request: Request, source: Source) -> Response:
    """Download a conversation as `chatstore export` writes it."""
    if not viewer.allow_export:
        raise NotFound("this viewer exports nothing")
    from chatstore.formats import find
    from chatstore.formats.writing import write_array

    found = source.repository.get_session(asking.session_id(request.args))
    written = BytesIO()
    records = source.repository.iter_records(found.session_id)
    write_array(written, find("langchain"), (record.message for record in records))
    headers = {"Content-Disposition": 'attachment; filename="conversation.json"'}
    return Response(written.getvalue(), mimetype="application/json", headers=headers)


PAGES: Final[dict[str, Page]] = {
    "": sessions,
    "search": search,
    "session": session,
    "message": message,
    "turn": turn,
    "picture": picture,
    "numbers": counts,
    "delete": delete,
    "export": export,
}
#: Pages that take forms.
FORMS: Final = frozenset({"delete"})
