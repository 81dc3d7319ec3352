"""One run of `vrt restore`: one clip after another through one model."""

import logging
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path

import typer
from rich.console import Console

from vrt_core import RestoreOptions, Restorer
from vrt_jobs.callbacks import Callbacks, Result
from vrt_jobs.errors import JobError
from vrt_jobs.finishing import finish_earlier_join
from vrt_jobs.job import SegmentedJob
from vrt_jobs.manifest import facts_of
from vrt_jobs.one_pass import OnePass
from vrt_jobs.outputs import NOTHING, check_name, check_output
from vrt_jobs.pipeline import Stopped
from vrt_jobs.request import JobRequest

from .errors import EXIT_DAMAGED, EXIT_FAILED, EXIT_USAGE, exit_code_of, is_expected, one_line
from .interrupt import Interrupt
from .reporters import JsonLogHandler, JsonReporter, Reporter, TextReporter, print_json

JobMaker = Callable[[JobRequest, Restorer, Callbacks], SegmentedJob | OnePass]
"""Makes the job of a request, with a model that is loaded."""
SIGNAL_CODES = 128
"""Exit codes from here on stand for signals."""


class Session:
    """Restores clips in order, and reports each.

    A clip that fails does not stop the others.
    """

    def __init__(
        self, console: Console, *, label: str, quiet: bool, json: bool, make_job: JobMaker | None = None
    ) -> None:
        """Prepare the reports.

        Args:
            console: Console on standard error.
            label: Name of the model.
            quiet: Whether to show only what went wrong.
            json: Whether to print JSON objects instead of lines for people.
            make_job: Makes a job for the workers of a cluster; None to restore in this process.
        """
        self._console, self._label, self._quiet, self._json = console, label, quiet, json
        self._make_job, self._unit = make_job or _make_local_job, "segments" if make_job else "window"
        if json:
            logging.basicConfig(handlers=[JsonLogHandler()], force=True)

    def run(
        self,
        pairs: Sequence[tuple[str, str]],
        make_request: Callable[[str, str], JobRequest],
        load: Callable[[RestoreOptions], Restorer],
        *,
        overwrite: bool,
    ) -> None:
        """Restore all clips.

        Args:
            pairs: Each clip with its output.
            make_request: Returns the request for a pair.
            load: Loads the model; called again only if the options differ.
            overwrite: Whether outputs are replaced.

        Raises:
            typer.Exit: If not all went well: with 1 if one failed, 3 if an input was damaged, 128 + n after signal n.
        """
        loaded: list[tuple[RestoreOptions, Restorer]] = []

        def restorer(options: RestoreOptions) -> Restorer:
            if not loaded or loaded[0][0] != options:
                loaded[:] = [(options, load(options))]
            return loaded[0][1]

        codes: list[int] = []
        for clip, output in pairs:
            if len(pairs) > 1:
                self._say(f"[{len(codes) + 1}/{len(pairs)}] {clip} -> {output}")
            reporter = self._reporter()
            try:
                codes.append(self._restore(clip, output, make_request, restorer, reporter, overwrite=overwrite))
            except Exception as error:
                if not is_expected(error) or (len(pairs) == 1 and not self._json):
                    raise
                codes.append(exit_code_of(error))
                reporter.on_stopped(one_line(error) if self._json else f"vrt: {one_line(error)}", codes[-1])
            if codes[-1] >= SIGNAL_CODES:
                break
        if len(pairs) > 1:
            self._summarize(codes, len(pairs))
        errors = [code for code in codes if code in (EXIT_FAILED, EXIT_USAGE)]
        code = codes[-1] if codes[-1] >= SIGNAL_CODES or not errors else errors[0]
        code = code or max(codes)  # one damaged input among others
        if code:
            raise typer.Exit(code)

    def _restore(
        self,
        clip: str,
        output: str,
        make_request: Callable[[str, str], JobRequest],
        load: Callable[[RestoreOptions], Restorer],
        reporter: Reporter,
        *,
        overwrite: bool,
    ) -> int:
        """Restore one clip; return the exit code."""
        asked = None
        if output != "-":
            check_name(Path(output))
            asked = finish_earlier_join(Path(output))
        if asked is not None and asked == facts_of(make_request(clip, output)):
            reporter.on_warning(f"{output} was whole already; only its job was left, which is deleted")
            return 0
        check_output(output, clip, overwrite=overwrite)
        request = make_request(clip, output)
        restorer = load(request.options)
        with Interrupt(patient=request.can_continue) as interrupt, reporter:
            callbacks = Callbacks(reporter, _Check(interrupt, reporter, self._unit), interrupt.raise_if_requested)
            job = self._make_job(request, restorer, callbacks)
            with job.folder if isinstance(job, SegmentedJob) else nullcontext():
                result = self._watch(job, reporter, interrupt)
        if result is None:
            return interrupt.exit_code
        reporter.on_done(result)
        return EXIT_DAMAGED if result.damage else 0

    def _watch(self, job: SegmentedJob | OnePass, reporter: Reporter, interrupt: Interrupt) -> Result | None:
        """Run a job; say what is left if it ends early. Return None if a signal stopped it."""
        try:
            return job.run()
        except Stopped:
            self._report_damage(job, reporter)
            reporter.on_stopped(f"stopped: {job.describe_rest()}", interrupt.exit_code)
            return None
        except JobError:
            raise
        except Exception:
            self._report_damage(job, reporter)
            rest = job.describe_rest()
            if rest != NOTHING:
                reporter.on_warning(f"failed: {rest}")
            raise

    def _report_damage(self, job: SegmentedJob | OnePass, reporter: Reporter) -> None:
        for line in job.damage:
            reporter.on_warning(f"damaged input: {line}")

    def _summarize(self, codes: Sequence[int], total: int) -> None:
        """Say how many clips were restored."""
        failed = sum(code in (EXIT_FAILED, EXIT_USAGE) for code in codes)
        restored = sum(code in (0, EXIT_DAMAGED) for code in codes)
        facts = {"restored": restored, "failed": failed, "left": total - restored - failed}
        if self._json:
            print_json("summary", **facts)
        else:
            self._say(", ".join(f"{number} {word}" for word, number in facts.items() if number))

    def _reporter(self) -> Reporter:
        return JsonReporter() if self._json else TextReporter(self._console, label=self._label, quiet=self._quiet)

    def _say(self, line: str) -> None:
        if not self._quiet and not self._json:
            self._console.print(line, markup=False)


def _make_local_job(request: JobRequest, restorer: Restorer, callbacks: Callbacks) -> SegmentedJob | OnePass:
    """Return a job of this process."""
    return (SegmentedJob if request.can_continue else OnePass)(request, restorer, callbacks)


class _Check:
    """Raises `Cancelled` if the job is to stop at once; says once that a signal was received."""

    def __init__(self, interrupt: Interrupt, reporter: Reporter, unit: str) -> None:
        self._interrupt, self._reporter, self._unit, self._is_announced = interrupt, reporter, unit, False

    def __call__(self) -> None:
        self._interrupt.raise_if_cancelled()
        if self._interrupt.is_requested and not self._is_announced:
            self._is_announced = True
            self._reporter.on_warning(f"stopping after the {self._unit} in work; Ctrl-C again stops at once")
