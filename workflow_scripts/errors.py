"""The one error that a user's mistake ends in."""


class UserError(Exception):
    """A mistake in the user's input: one line that names the file, key or id, what was expected and what to do."""
