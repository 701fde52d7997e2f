"""The steps of a push and of a pull: each takes a session and gives a small result."""
