"""Campaigns that show that nothing is lost: seeded, each says how many faults it injected.

Run in full by ``python -m pytest tests/reliability``; CHATSTORE_RELIABILITY_SECONDS shortens each campaign to its
share of so many seconds. What a full run counted is written to the file that CHATSTORE_RELIABILITY_REPORT names.
"""
