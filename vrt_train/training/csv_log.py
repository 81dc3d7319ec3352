"""CSV logs of a run."""

import csv
from collections.abc import Sequence
from pathlib import Path


def mean_of(rows: list[dict[str, float]]) -> dict[str, float]:
    """Return the mean of each column over the rows that have it."""
    columns = {name: [row[name] for row in rows if name in row] for row in rows for name in row}
    return {name: sum(values) / len(values) for name, values in columns.items()}


class CsvLog:
    """A CSV file to which rows are appended."""

    def __init__(self, path: Path, columns: Sequence[str]) -> None:
        """Describe the file; the first row creates it.

        Args:
            path: The file.
            columns: Header of a new file.
        """
        self.path, self.columns = path, columns

    def write(self, row: dict[str, float]) -> None:
        """Append a row; missing columns stay empty."""
        is_new = not self.path.exists()
        with self.path.open("a", newline="") as file:
            writer = csv.DictWriter(file, self.columns)
            if is_new:
                writer.writeheader()
            writer.writerow(row)
