"""One module per page: its settings, and the questions that it asks for an address."""
