"""Conversations in a DynamoDB table: `dynamodb://REGION/TABLE`.

`address` reads such a URL, `client` is the only module that knows boto3 and what its errors mean, `items` says what
lies in the table, `store` carries out the steps of `chatstore.backends.documents`, `tables` makes the table and takes
it away.
"""

from __future__ import annotations

from chatstore.backends.dynamodb.repository import DynamoDBRepository, repository_for

__all__ = ["DynamoDBRepository", "repository_for"]
