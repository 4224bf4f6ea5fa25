"""chatstore's own revisions, a Django migration each. A test says which file a new revision needs."""
