"""Users whose primary key is a UUID."""
