"""Error messages and exit codes of the command line."""

import re

EXIT_FAILED, EXIT_USAGE = 1, 2
EXIT_DAMAGED = 3
"""Exit code of a job that restored all frames that could be decoded, of an input with others."""

FLAGS = {
    "sigma_255": "--sigma",
    "window_frames": "--window",
    "overlap_frames": "--overlap",
    "tile_px": "--tile",
    "tile_overlap_px": "--tile-overlap",
}
"""Flags of the engine's options that have other names here."""


def is_expected(error: Exception) -> bool:
    """Return whether an error is due to the user's input or machine, not to a fault in the program."""
    from av.error import FFmpegError

    from vrt_core import VRTError
    from vrt_media.clip import MediaError

    return isinstance(error, VRTError | MediaError | FFmpegError | OSError)


def exit_code_of(error: Exception) -> int:
    """Return the exit code for an expected error."""
    from vrt_jobs.errors import JobError

    return EXIT_USAGE if isinstance(error, JobError) else EXIT_FAILED


def one_line(error: Exception) -> str:
    """Return an error's message in one line, or its type if it has none; names of options become flags."""
    message = str(error)
    if isinstance(error, OSError) and error.strerror:
        message = f"{error.filename}: {error.strerror}" if error.filename else error.strerror
        message = message.replace("pipe:1:", "standard output:")
    message = re.sub(r"\b\w+\b", lambda word: FLAGS.get(word[0], word[0]), message)
    return " ".join(message.split()) or type(error).__name__
