"""What happens without LangChain, without its deprecated base class, and what importing costs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from chatstore.extras import not_installed, pip_install

ROOT = Path(__file__).parents[3]

#: LangChain after its histories are gone: the modules that hold them cannot be imported.
WITHOUT_HISTORIES = """
import sys
for name in ("langchain_core.chat_history", "langchain_core.runnables.history"):
    sys.modules[name] = None
"""
CONVERSES = """
import asyncio, tempfile
import chatstore
from chatstore.integrations.langchain import ChatMessageHistory, FileChatMessageHistory, SQLChatMessageHistory
from langchain_core.messages import AIMessage, HumanMessage
turn = [HumanMessage("hi!"), AIMessage("whats up?")]
with tempfile.TemporaryDirectory() as folder:
    for history in (
        ChatMessageHistory(),
        FileChatMessageHistory(folder + "/chat.json"),
        SQLChatMessageHistory("s", connection=f"sqlite:///{folder}/chat.db"),
    ):
        with history:
            history.add_user_message("hi!")
            history.add_ai_message("whats up?")
            assert turn == history.messages
            assert "Human: hi!\\nAI: whats up?" == str(history)
            async def main():
                async with history:
                    await history.aadd_messages([HumanMessage("bye", id="1")])
                    return await history.aget_messages()
            assert turn == asyncio.run(main())[:2]
            history.upsert_messages([HumanMessage("Bye!", id="1")])
            assert "Bye!" == history.messages[-1].content
            history.clear()
            assert [] == history.messages
"""


def run(program: str) -> subprocess.CompletedProcess[str]:
    """Run *program* in a fresh interpreter, with every warning an error."""
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", f"import sys; sys.path.insert(0, {str(ROOT)!r})\n{program}"],
        capture_output=True,
        text=True,
        check=False,
    )


def test_nothing_of_ours_warns() -> None:
    """Law: importing and using the adapter gives no warning, though the classes it serves are deprecated."""
    done = run(CONVERSES)

    assert 0 == done.returncode, done.stderr
    assert "" == done.stderr


def test_the_base_classes_are_gone() -> None:
    """Law: without LangChain's base class everything works but being one of its histories."""
    done = run(
        WITHOUT_HISTORIES + CONVERSES + "assert 'BaseChatMessageHistory' in str(ChatMessageHistory.__mro__)\n"
    )

    assert 0 == done.returncode, done.stderr


def test_langchain_is_not_installed() -> None:
    """Law: without langchain-core the error has the command to type; chatstore itself never asks for it."""
    done = run(
        "sys.modules['langchain_core'] = None\n"
        "import chatstore\nchatstore.ChatMessageHistory().add_user_message('hi')\n"
        "from chatstore.errors import MissingDependency\n"
        "try:\n    import chatstore.integrations.langchain\n"
        "except MissingDependency as error:\n    print(error)\n"
    )

    assert (f"{not_installed('LangChain', 'langchain')}\n", 0) == (
        done.stdout,
        done.returncode,
    )


def test_agents_are_not_installed() -> None:
    """Law: histories need langchain-core alone; the middleware says what it needs."""
    done = run(
        "sys.modules['langchain'] = None\n" + CONVERSES + "from chatstore.errors import MissingDependency\n"
        "try:\n    from chatstore.integrations.langchain import HistoryMiddleware\n"
        "except MissingDependency as error:\n    print(error)\n"
    )

    assert (f"agents need LangChain 1.0 or later: {pip_install('langchain>=1')}\n", "") == (
        done.stdout,
        done.stderr,
    )


def test_chatstore_does_not_import_langchain() -> None:
    """Law: no part of chatstore but this adapter loads LangChain."""
    done = run(
        "import chatstore\nwith chatstore.connect('memory:') as store:\n"
        "    store.add_messages('s', [chatstore.HumanMessage('x')])\n"
        "print([name for name in sys.modules if name.startswith('lang')])\n"
    )

    assert "[]\n" == done.stdout, done.stderr
