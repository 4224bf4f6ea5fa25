"""Conversations on their way in, from a file or from another program's storage, and how a repository takes them.

`chatstore.incoming.session` has the values that readers yield, `chatstore.incoming.loading` the one way into a
repository. Readers are in `chatstore.formats` (files) and `chatstore.sources` (storages); they do not know each other.
"""
