"""Errors of jobs."""

from vrt_media.clip import MediaError


class JobError(MediaError):
    """A job that cannot be done, or go on, as it was asked for; wrong usage."""
