"""Conversations in the memory of this process: the smallest backend."""
