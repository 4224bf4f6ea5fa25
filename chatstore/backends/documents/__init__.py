"""What backends over a document service share: DynamoDB, Cosmos DB, anything with conditional commits of several items.

A session is one *header* and one item for each message; `shapes` says what is in them. `core.DocumentsCore` has the
operations of the contract, as generators that yield the `steps` a store must be able to do. This package knows in which
order things are written so that nobody ever sees half of them; it refuses to know any service.
"""
