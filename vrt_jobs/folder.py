"""Folder of a job beside its output: the manifest, a record and a data file for each finished segment.

::

    OUT.vrt/job.json                  manifest: input, model, settings, versions
            segments/000012.packets   encoded frames of a segment, or a folder of images
            segments/000012.json      its record, written after the data
            segments/000012.frames    frames of the segment in work, and their record (.spill)
            end.json                  number of frames, once the last one is restored
            joined.json               identity of the output, once it is whole
            partial.json              record of a segment that was stopped; for `vrt join` only

The state of the job follows from these files alone. A segment is finished if its record is there and fits its data.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from vrt_media.part_file import with_ending

from .disk import TEMPORARY, Disk, digest, read_json, write_json
from .errors import JobError

SUFFIX = ".vrt"
MANIFEST, END, JOINED, LOCK, SEGMENTS = "job.json", "end.json", "joined.json", "lock", "segments"
PARTIAL = "partial.json"


@dataclass(frozen=True)
class Record:
    """A finished segment."""

    index: int
    first_frame: int
    """Number of its first output frame."""
    num_frames: int
    files: Mapping[str, str]
    """SHA-256 digest of each data file, by name."""
    packets: list[tuple[int, int, int, bool]] = field(default_factory=list)
    """(pts, dts, bytes, is keyframe) of each packet of a video, in the order of decoding."""
    extradata: str = ""
    """Digest of the codec's headers."""


@dataclass(frozen=True)
class End:
    """What is known once the last frame is restored."""

    num_frames: int
    """Output frames."""
    stop_seconds: str | None
    """`VideoReader.stop_seconds`, as a fraction."""
    damage: list[str]
    """One line for each kind of damaged frames."""


class JobFolder:
    """The folder of one job; one process at a time works in it.

    Attributes:
        path: The folder.
        records: Finished segments, by index.
    """

    def __init__(self, output: Path) -> None:
        """Name the folder of an output; nothing is read or created yet."""
        self.output, self.path = output, with_ending(output, SUFFIX, output.name)
        self.disk = Disk()
        self.records: dict[int, Record] = {}
        self._lock = FileLock(self.path / LOCK)

    @staticmethod
    def name_of_output(folder: Path) -> str:
        """Return the name of the output of a job; the name of a long one is shortened in that of the folder."""
        facts = read_json(folder / MANIFEST)
        name = facts["fixed"].get("output_name") if isinstance(facts, dict) and "fixed" in facts else None
        return name if isinstance(name, str) and Path(name).name == name else folder.name.removesuffix(SUFFIX)

    @property
    def exists(self) -> bool:
        """Whether there is a job."""
        return (self.path / MANIFEST).is_file()

    @property
    def num_frames(self) -> int:
        """Output frames of the segments that are finished; `verify` reads them."""
        return sum(record.num_frames for record in self.records.values())

    @property
    def segments(self) -> Path:
        """Folder of the segments."""
        return self.path / SEGMENTS

    def __enter__(self) -> JobFolder:
        """Lock the folder; it is created if it is missing.

        Raises:
            JobError: If another process works in it, or if the folder is somebody else's.
        """
        if self.path.exists() and not self.exists and any(p.name not in (LOCK, SEGMENTS) for p in self._contents()):
            raise JobError(f"{self.path} is there, and it is no job of this program; choose another output")
        self.path.mkdir(exist_ok=True)
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            raise JobError(f"another process works on {self.output}; its job is in {self.path}") from None
        return self

    def __exit__(self, *_: object) -> None:
        self._lock.release()
        if not self.exists:
            with suppress(OSError):
                (self.path / LOCK).unlink(missing_ok=True)
                self.path.rmdir()

    def _contents(self) -> Iterator[Path]:
        return (p for p in self.path.iterdir() if not p.name.endswith(TEMPORARY))

    def read_manifest(self) -> dict[str, Any]:
        """Return the manifest; {} if there is none."""
        facts = read_json(self.path / MANIFEST)
        return facts if isinstance(facts, dict) else {}

    def create(self, manifest: Mapping[str, Any]) -> None:
        """Begin a job."""
        self.segments.mkdir(exist_ok=True)
        write_json(self.path / MANIFEST, manifest, self.disk)
        self.disk.sync_folder(self.path.parent)

    def verify(self) -> list[str]:
        """Read the records and check the data of each; return a line for each segment that is damaged."""
        self.records, lines = {}, []
        for path in sorted(self.segments.glob("*.json")):
            record = _as_record(read_json(path))
            if record is not None and record.index == int(path.stem) and self.is_whole(record):
                self.records[record.index] = record
            else:
                lines.append(f"segment {path.stem} in {self.path} is damaged; it is restored again")
        return lines

    def is_whole(self, record: Record) -> bool:
        """Return whether the data of a segment is what its record says."""
        try:
            return all(digest(self.segments / name) == sha256 for name, sha256 in record.files.items())
        except OSError:
            return False

    def add(self, record: Record) -> None:
        """Record a segment whose data is on the disk."""
        write_json(self.segments / f"{record.index:06d}.json", asdict(record), self.disk)
        self.records[record.index] = record

    def write_partial(self, record: Record) -> None:
        """Record a segment that was stopped; it is restored again when the job goes on."""
        write_json(self.path / PARTIAL, asdict(record), self.disk)

    def read_partial(self) -> Record | None:
        """Return the segment that was stopped, if its data is there."""
        record = _as_record(read_json(self.path / PARTIAL))
        return record if record is not None and self.is_whole(record) else None

    def read_end(self) -> End | None:
        """Return what is known once the last frame is restored; None before."""
        facts = read_json(self.path / END)
        return End(**facts) if isinstance(facts, dict) and set(facts) == {f.name for f in fields(End)} else None

    def write_end(self, end: End) -> None:
        """Record that the last frame is restored."""
        write_json(self.path / END, asdict(end), self.disk)

    def read_joined(self) -> dict[str, Any] | None:
        """Return the identity of the output, None if it was never whole."""
        return read_json(self.path / JOINED)

    def write_joined(self, identity: Mapping[str, Any]) -> None:
        """Record that the output is whole, under its temporary name yet."""
        write_json(self.path / JOINED, identity, self.disk)

    def clear_join(self) -> None:
        """Delete what an earlier join left behind."""
        for path in (*self.path.glob(f"*.part*{self.output.suffix}"), self.path / JOINED):
            path.unlink(missing_ok=True)

    def remove(self) -> None:
        """Delete the files of the job, and the folder if nothing else is in it."""
        (self.path / MANIFEST).unlink(missing_ok=True)  # from here on it is no job
        shutil.rmtree(self.segments, ignore_errors=True)
        self.clear_join()
        for name in (END, PARTIAL, LOCK, *(path.name for path in self.path.glob(f"*{TEMPORARY}"))):
            (self.path / name).unlink(missing_ok=True)
        with suppress(OSError):
            self.path.rmdir()


def _as_record(facts: Any) -> Record | None:
    """Return a record from JSON; None if it is none."""
    if not isinstance(facts, dict) or set(facts) != {f.name for f in fields(Record)}:
        return None
    try:
        packets = [(int(pts), int(dts), int(size), bool(key)) for pts, dts, size, key in facts["packets"]]
        return Record(**{**facts, "packets": packets})
    except (TypeError, ValueError):
        return None
