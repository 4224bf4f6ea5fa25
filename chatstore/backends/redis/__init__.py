"""Conversations in Redis: one hash tag a session, one script a change.

`repository` has the two repositories and lends clients. `core` puts the operations together: `sessions`, `messages` and
`listing` (many sessions) say what each asks of the server and make of the answer. `server` packs what a script takes,
`scripts` reads the scripts from `lua/`, `session_lists` walks over the lists of sessions and keeps them on a cluster.
`layout` names the keys and the form of what stands in them, `steps` is what is asked of a server, `sending` asks it
over a client, `driver_errors` knows what goes wrong there, `clients` is the one module that imports redis-py.
"""
