"""`vrt join`: makes a file of what a job has finished so far."""

from pathlib import Path
from typing import Annotated

import typer

from ..progress import make_console


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(join)


def join(
    folder: Annotated[Path, typer.Argument(metavar="OUT.vrt", help="Folder of a job that was stopped.")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="OUT", help="File or folder; OUT.part.SUFFIX by default.")
    ] = None,
    overwrite: Annotated[bool, typer.Option("-y", help="Replace what is there.")] = False,
) -> None:
    """Make a file of what vrt restore has finished so far.

    Sound and subtitles end with the last frame. The job stays, so that it can go on.
    """
    from vrt_jobs.errors import JobError
    from vrt_jobs.events import JobEvents
    from vrt_jobs.finishing import join_what_is_there
    from vrt_jobs.folder import SUFFIX, JobFolder
    from vrt_jobs.texts import count
    from vrt_media.part_file import part_path

    target = folder.with_name(JobFolder.name_of_output(folder))
    job = JobFolder(target)
    if folder.suffix != SUFFIX or not job.exists:
        raise JobError(f"{folder} is no folder of a job; vrt restore makes them, beside its output")
    console = make_console(soft_wrap=True, highlight=False)

    class Events(JobEvents):
        def on_warning(self, text: str) -> None:
            console.print(text, markup=False)

    with job:
        is_folder = job.read_manifest().get("fixed", {}).get("output") is None
        name = str(output or part_path(target)) + ("/" if is_folder else "")
        num_frames = join_what_is_there(job, name, overwrite=overwrite, events=Events())
    console.print(f"{count(num_frames, 'frame')} -> {name}", markup=False)
