"""Users whose primary key is a text."""
