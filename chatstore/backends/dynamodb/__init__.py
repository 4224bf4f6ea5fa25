"""Conversations in a DynamoDB table: `dynamodb://REGION/TABLE`.

`url` reads such a URL, `client` is the only module that knows boto3, `driver_errors` says what its errors mean, `items`
what lies in the table; `store` carries out the steps of `chatstore.backends.common.documents`, `provisioning` makes the
table and takes it away.
"""

from __future__ import annotations

from chatstore.backends.dynamodb.repository import DynamoDBRepository, repository_for

__all__ = ["DynamoDBRepository", "repository_for"]
