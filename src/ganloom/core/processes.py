"""Other processes of this machine."""

import os

__all__ = ["is_running"]


def is_running(pid: int) -> bool:
    """Whether a process has that number. Always true on Windows, where asking would end the process."""
    if os.name == "nt":  # there is no signal 0
        return True
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        pass  # it is somebody else's
    return True
