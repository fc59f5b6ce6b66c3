"""The one error that a user's mistake ends in."""

import errno
import os

LONGEST_LINE = 2000  # characters of a message; what is quoted from a file may be of any length
LONGEST_REASON = 200
DISK = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG, errno.EIO, errno.ESTALE, errno.EACCES, errno.EPERM)


class UserError(Exception):
    """A mistake in the user's input: one line that names the file, key or id, what was expected and what to do.

    What is not printable is escaped, and of a line that is too long the middle is left out.
    """

    def __init__(self, message: str):
        super().__init__("\n".join(_shown(line) for line in message.split("\n")))


def one_line(error: BaseException) -> str:
    """What a library says of a damaged file, for a message."""
    return " ".join(str(error).split())[:LONGEST_REASON] or type(error).__name__


def disk_fault(error: BaseException | None) -> str | None:
    """Why a disk does not write, if that is behind an error; libraries hide it in errors of their own."""
    while error is not None:
        for code in DISK:
            if getattr(error, "errno", None) == code or os.strerror(code) in str(error):
                return os.strerror(code)
        error = error.__context__
    return None


def not_written(path: object, reason: str) -> UserError:
    """A file that a disk did not take."""
    return UserError(
        f"{path}: cannot be written ({reason}); make room or mend the disk or its permissions, and run again"
    )


def _shown(line: str) -> str:
    if len(line) > LONGEST_LINE:
        line = f"{line[: LONGEST_LINE // 2]} ... {line[-LONGEST_LINE // 2 + 5 :]}"
    return line if line.isprintable() else "".join(c if c.isprintable() else repr(c)[1:-1] for c in line)
