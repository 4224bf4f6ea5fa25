"""The examples on the page of the Python interface: one for each public method and function, as short as it can be.

tests/test_docs.py runs them in the order in which they stand on the page, in one folder. Each begins from what `SET_UP`
left, or from what one just above it made.
"""

from __future__ import annotations

from chatstore.models import HEAD

SET_UP = ("""\
import chatstore
from chatstore import AIMessage, HumanMessage

repository = chatstore.connect("sqlite:///chat.db")
repository.add_messages("trip", [HumanMessage("Where to?", id="q1"), AIMessage("To the sea.")])
""",)  # fmt: skip
#: The code and, where it prints anything, what it prints: by the name of what it shows.
EXAMPLES: dict[str, tuple[str, ...]] = {
    # ---- connecting
    "connect": ("""\
with chatstore.connect("memory:") as other:
    print(other.count_messages("trip"))
""", "0"),
    "connect_async": ("""\
async with chatstore.connect_async("sqlite:///chat.db") as other:
    print(await other.count_messages("trip"))
""", "2"),
    "session_key": ("""\
print(chatstore.session_key("ada", "garden"))
""", "ada/garden"),
    # ---- histories
    "ChatMessageHistory": ("""\
history = repository.history("greetings")
history.add_user_message("Hello!")
history.add_ai_message("Hello there!")
print(history)
""", "Human: Hello!\nAI: Hello there!"),
    # ---- a repository
    "scope": ("""\
ada = repository.scope(user_id="ada")
ada.add_messages("roses", [HumanMessage("When do I prune roses?")])
print(ada.count_messages("roses"), repository.scope(user_id="bob").count_messages("roses"))
""", "1 0"),
    "tenant_id": ("""\
print(repository.scope(tenant_id="acme").tenant_id, repository.tenant_id)
""", "acme None"),
    "user_id": ("""\
print(repository.scope(user_id="ada").user_id, repository.user_id)
""", "ada None"),
    "using": ("""\
from sqlalchemy import create_engine

with create_engine("sqlite:///chat.db").connect() as connection:
    repository.using(connection).add_messages("trip", [HumanMessage("Never mind.")])
    connection.rollback()  # your rows and the message are stored together, or neither is
print(repository.count_messages("trip"))
""", "2"),
    "history": ("""\
print(repository.history("trip", last=1).messages[0].content)
""", "To the sea."),
    "capabilities": ("""\
print("search" in repository.capabilities.denied, repository.capabilities.atomic_batch)
""", "False None"),
    "create_session": ("""\
session = repository.create_session("beans", title="When to plant beans", metadata={"channel": "web"})
print(session.title, session.message_count)
""", "When to plant beans 0"),
    "get_session": ("""\
session = repository.get_session("beans")
print(session.title, session.metadata)
""", "When to plant beans {'channel': 'web'}"),
    "update_session": ("""\
session = repository.update_session("beans", title="Beans", archived=True)
print(session.title, session.archived_at is not None)
""", "Beans True"),
    "delete_session": ("""\
print(repository.delete_session("beans"), repository.delete_session("beans"))
""", "True False"),
    "list_sessions": ("""\
page = repository.list_sessions(limit=2)
print([session.session_id for session in page.items])
page = repository.list_sessions(limit=2, cursor=page.next_cursor)
print([session.session_id for session in page.items], page.next_cursor)
""", "['roses', 'greetings']\n['trip'] None"),
    "fork_session": ("""\
copy = repository.fork_session("trip", "trip, again", through=1)
print(copy.message_count, copy.forked_from, copy.forked_at)
""", "1 trip 1"),
    "load_records": ("""\
with chatstore.connect("file:chats") as target:
    for _ in range(2):
        print(target.load_records("trip", repository.iter_records("trip")))
""", "2\n0"),
    "add_messages": ("""\
question = HumanMessage("How far?", id="q2")
for _ in range(2):
    records = repository.add_messages("far", [question])
    print(records[0].position, repository.count_messages("far"))
""", "1 1\n1 1"),
    "begin_answer": ("""\
with repository.begin_answer("rain", [HumanMessage("Will it rain?")]) as answer:
    for text in ("Not ", "before ", "noon."):  # what the model streams
        answer.append(text)
    record = answer.finish(finish_reason="stop", usage={"input_tokens": 12, "output_tokens": 5})
print(record.position, record.message.content, record.state)
""", "2 Not before noon. complete"),
    "follow_answer": ("""\
for part in repository.follow_answer("rain", 2, offset=4):
    print(part.text, part.offset, part.state)
""", "before noon. 16 complete"),
    "get_messages": ("""\
print([message.content for message in repository.get_messages("trip", last=20)])
""", "['Where to?', 'To the sea.']"),
    "get_records": ("""\
records = repository.get_records("trip", after=1)
print([(record.position, record.message.content) for record in records])
print(records.revision == repository.get_session("trip").revision)
""", "[(2, 'To the sea.')]\nTrue"),
    "iter_records": ("""\
for record in repository.iter_records("trip"):
    print(record.position, record.message.type)
""", "1 human\n2 ai"),
    "get_message": ("""\
print(repository.get_message("trip", "q1").position, repository.get_message("trip", 2).message.content)
""", "1 To the sea."),
    "find_message": ("""\
print(repository.find_message("q1").session_id)
""", "trip"),
    "get_states": ("""\
repository.set_states("settings", {"theme": "dark", "size": 12})
print({key: state.value for key, state in repository.get_states("settings").items()})
""", "{'size': 12, 'theme': 'dark'}"),
    "iter_states": ("""\
for state in repository.iter_states():
    print(state.namespace, state.key, state.value)
""", "settings size 12\nsettings theme dark"),
    "set_states": ("""\
theme = repository.set_states("settings", {"theme": "light"})["theme"]
repository.set_states("settings", {"theme": "dark"}, expected_revision=theme.revision)
print(repository.get_states("settings", "theme")["theme"].value)
""", "dark"),
    "delete_states": ("""\
print(repository.delete_states("settings", "size"), list(repository.get_states("settings")))
""", "1 ['theme']"),
    "update_message": ("""\
record = repository.update_message("far", 1, HumanMessage("How far is it?"))
print(record.position, record.message_id, record.message.content)
""", "1 q2 How far is it?"),
    "delete_message": ("""\
repository.delete_message("far", "q2")
print(repository.count_messages("far"))
""", "0"),
    "pop_message": ("""\
repository.add_messages("far", [HumanMessage("One"), HumanMessage("Two")])
record = repository.pop_message("far")
print(record.message.content, repository.count_messages("far"))
""", "Two 1"),
    "count_messages": ("""\
print(repository.count_messages("trip"), repository.count_messages("nowhere"))
""", "2 0"),
    "truncate": ("""\
repository.add_messages("draft", [HumanMessage("One"), HumanMessage("Two"), HumanMessage("Three")])
repository.truncate("draft", after=1)
print([message.content for message in repository.get_messages("draft")])
""", "['One']"),
    "clear": ("""\
repository.clear("draft")
print(repository.count_messages("draft"), repository.get_session("draft").last_position)
""", "0 3"),
    "replace_messages": ("""\
records = repository.replace_messages("draft", [HumanMessage("A summary.")])
print([(record.position, record.message.content) for record in records])
""", "[(4, 'A summary.')]"),
    "search": ("""\
for hit in repository.search("sea", types=["ai"]):
    print(hit.session_id, hit.position, hit.snippet)
""", "trip 2 To the sea."),
    "usage": ("""\
usage = {"input_tokens": 12, "output_tokens": 3, "total_tokens": 15}
answer = AIMessage("42.", usage_metadata=usage, response_metadata={"model_name": "small"})
eve = repository.scope(user_id="eve")
eve.add_messages("sums", [answer])
for row in eve.usage(by=["model"]):
    print(row.model, row.messages, row.input_tokens, row.output_tokens)
""", "small 1 12 3"),
    "purge": ("""\
from datetime import UTC, datetime

print(repository.purge(updated_before=datetime(2020, 1, 1, tzinfo=UTC), dry_run=True))
""", "PurgeReport(sessions=0, messages=0, dry_run=True)"),
    "close_answers": ("""\
print(repository.close_answers(dry_run=True))
""", "0"),
    "durability": ("""\
print(repository.durability().level)
""", "machine"),
    "close": ("""\
repository.close()
""",),
    # ---- messages
    "to_wire": ("""\
from chatstore.codec import from_wire, to_wire

print(to_wire(AIMessage("To the sea.")))
""", "{'type': 'ai', 'data': {'content': 'To the sea.', 'additional_kwargs': {}, 'example': False}}"),
    "from_wire": ("""\
print(from_wire({"type": "human", "data": {"content": "Where to?"}}).content)
""", "Where to?"),
    # ---- migrations
    "upgrade": ("""\
from chatstore import migrations

print(migrations.upgrade("sqlite:///new.db"))
""", f"Moved(before=None, after='{HEAD}')"),
    "downgrade": ("""\
migrations.downgrade("sqlite:///new.db", "base")
""",),
    "current": ("""\
print(migrations.current("sqlite:///new.db"), migrations.current("sqlite:///chat.db"))
""", f"None {HEAD}"),
    "check": ("""\
print(migrations.check("sqlite:///chat.db"))
""", "[]"),
    "upgrade_sql": ("""\
script = migrations.upgrade_sql("postgresql")  # for a database administrator to read and run
print("CREATE TABLE chatstore_messages" in script)
""", "True"),
}  # fmt: skip


def example(name: str) -> str:
    """Return the blocks that show *name* in use, as they stand on the page; KeyError where there are none."""
    return blocks(EXAMPLES[name])


def blocks(shown: tuple[str, ...]) -> str:
    """Return code, and what it prints, as fenced blocks."""
    code, *printed = shown
    return "\n\n".join([f"```python\n{code}```", *(f"```text\n{text}\n```" for text in printed)])
