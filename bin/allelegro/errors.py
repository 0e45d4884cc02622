"""The one exception a user's mistake may raise."""


class DataError(Exception):
    """Bad input data: one line that names file, row or position, and what to do.

    The command line prints it as ``error: <message>`` and exits with status 1, without a traceback.
    """
