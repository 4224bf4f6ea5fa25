"""Sources as other programs leave them, planted with plain clients, and what reading them must give."""
