"""What backends share: rules, leases, retries, sessions kept whole, stores of documents. Knows no backend."""

from __future__ import annotations
