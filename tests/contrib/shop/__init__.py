"""A Django project with users, a table of its own and chats; its tests are run by Django's own runner."""
