"""Conversations in Redis: one hash tag a session, one script a change.

`repository` has the two repositories and lends clients. `core` (messages), `sessions` and `across` (many sessions) say
what each operation asks of the server; `scripts` reads from `lua/` what does it there. `layout` names the
keys and the form of what stands in them, `index` keeps the lists of sessions, `attempts` decides what is tried again,
`sending` does it over a client, `driver_errors` knows what goes wrong there, `clients` is the one module that imports
redis-py.
"""
