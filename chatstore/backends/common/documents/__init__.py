"""What backends over a document service share: DynamoDB, Cosmos DB, anything with conditional commits of several items.

A session is one *header* and one item for each message; `header` says what a header becomes when something changes,
`serial` makes plain dictionaries of both. `core.DocumentsCore` has the operations of the contract, put together with
`appending` and `listing`; `reading` reads what belongs together, `committing` commits a change and sweeps what it left
over. They are generators that yield the `steps` a store must be able to do. This package knows in which order things
are written so that nobody ever sees half of them; it refuses to know any service.
"""
