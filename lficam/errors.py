"""The errors a user's own input can cause."""


class InputError(ValueError):
    """Something given by the user cannot be used.

    The message is one line: what was wrong, with the value, what was expected, what to do next. The command line prints
    it without a traceback and ends with exit code 2.
    """


class MissingDataError(InputError):
    """A data set is not where it is looked for. Figures that do not need it can still be made."""
