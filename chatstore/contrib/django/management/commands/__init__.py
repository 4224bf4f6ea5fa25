"""A command a module, by its name."""
