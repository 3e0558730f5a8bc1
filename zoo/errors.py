"""The one exception that a user is meant to read."""


class CalzooError(ValueError):
    """Something that the user can mend.

    The message says what was expected, what came, and what to do. The command
    line prints it as one line and exits with status 1, without a traceback.
    """
