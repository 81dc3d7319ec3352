"""The progress bar."""

from typing import Any


class ProgressBar:
    updates: list[tuple[int, int, Any]] = []  # noqa: RUF012 (one for all, on purpose)

    def __init__(self, total: int) -> None:
        self.total = total

    def update_absolute(self, value: int, total: int | None = None, preview: Any = None) -> None:
        self.total = total or self.total
        ProgressBar.updates.append((value, self.total, preview))
