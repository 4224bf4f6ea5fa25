"""Azure Cosmos DB for NoSQL: one document a message, in a container with the partition key ``/session_id``.

`items` says how documents look and which queries are sent, `requests` which requests a step takes, `driver_errors` what
an error of the SDK means, `url` where a container is, `places` who makes clients and closes them, `provisioning` how
the container comes to be; `repository` puts them together, blocking and awaiting.
"""
