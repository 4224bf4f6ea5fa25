"""What a server keeps when it stops, according to its own settings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, get_args

from chatstore.errors import StorageError
from chatstore.records import Durability, DurabilityLevel

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

#: From what loses most to what loses least.
LEVELS = get_args(DurabilityLevel)


def judge_durability(servers: Sequence[Mapping[str, Any]]) -> Durability:
    """Return the least that *servers* promise; each is a dictionary of settings as `Settings` answers it."""
    return min((_judge(server) for server in servers), key=lambda found: LEVELS.index(found.level))


def _judge(server: Mapping[str, Any]) -> Durability:
    level, how = _describe_persistence(server)
    policy, limited = str(server.get("maxmemory_policy", "noeviction")), bool(int(server.get("maxmemory", 0)))
    if limited and policy.startswith("allkeys"):
        level = "none"
        how += f"; and with maxmemory_policy={policy} any session may be evicted"
    elif limited and policy.startswith("volatile"):
        how += f"; with maxmemory_policy={policy} a session that has expires_at may be evicted before"
    if int(server.get("connected_slaves", 0)):
        how += "; replicas follow asynchronously, so a failover may lose the last messages"
    return Durability(level, f"Redis, {how}")


def _describe_persistence(server: Mapping[str, Any]) -> tuple[DurabilityLevel, str]:
    if int(server.get("aof_enabled", 0)):
        sync = server.get("appendfsync")
        if sync == "always":
            return "machine", "appendonly=yes, appendfsync=always"
        known = f"appendfsync={sync}" if sync else "appendfsync unknown"
        return "process", f"appendonly=yes, {known}: a machine that stops may lose about the last second"
    save = server.get("save")
    if save is None:
        return "unknown", "appendonly=no, and the server does not tell whether it saves snapshots"
    if save:
        return (
            "snapshot",
            f"appendonly=no, save={save}: what came after the last snapshot is lost with the server",
        )
    return "none", "appendonly=no, no snapshots: everything ends with the server"


def refuse_volatile(found: Durability) -> None:
    """Raise `StorageError` unless acknowledged messages survive the end of the server's process."""
    if found.level not in {"process", "machine"}:
        msg = (
            f"this server may lose acknowledged messages ({found.detail}): set appendonly yes and maxmemory-policy "
            "noeviction there, or connect without strict"
        )
        raise StorageError(msg)
