"""Web frameworks, a module each: chatstore where the application already is.

What they share stands beside them: `problems` (errors as HTTP says them) and `events` (an answer as it streams). Each
framework's own module needs that framework's extra.
"""
