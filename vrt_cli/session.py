"""One run of `vrt restore`: one input after another through one model."""

import logging
from collections.abc import Callable, Sequence
from pathlib import Path

import typer
from rich.console import Console

from vrt_core import Restorer
from vrt_jobs.callbacks import Callbacks, Result
from vrt_jobs.finishing import finish_earlier_join
from vrt_jobs.folder import JobError
from vrt_jobs.job import SegmentedJob
from vrt_jobs.one_pass import OnePass
from vrt_jobs.outputs import NOTHING, check_name, check_output
from vrt_jobs.pipeline import Stopped
from vrt_jobs.request import JobRequest

from .errors import EXIT_DAMAGED, EXIT_FAILED, EXIT_USAGE, exit_code_of, is_expected, one_line
from .interrupt import Interrupt
from .reporters import JsonLogHandler, JsonReporter, Reporter, TextReporter, print_json

SIGNAL_CODES = 128
"""Exit codes from here on stand for signals."""


class Session:
    """Runs requests in order, and reports each.

    A request that fails does not stop the others.
    """

    def __init__(self, console: Console, *, label: str, quiet: bool, json: bool) -> None:
        """Prepare the reports.

        Args:
            console: Console on standard error.
            label: Name of the model.
            quiet: Whether to show only what went wrong.
            json: Whether to print JSON objects instead of lines for people.
        """
        self._console, self._label, self._quiet, self._json = console, label, quiet, json
        if json:
            logging.basicConfig(handlers=[JsonLogHandler()], force=True)

    def run(self, requests: Sequence[JobRequest], load: Callable[[], Restorer]) -> None:
        """Run all requests.

        Args:
            requests: What is asked for.
            load: Loads the model; called once, before the first frame.

        Raises:
            typer.Exit: If not all went well: with 1 if one failed, 3 if an input was damaged, 128 + n after signal n.
        """
        restorers: list[Restorer] = []

        def restorer() -> Restorer:
            if not restorers:
                restorers.append(load())
            return restorers[0]

        codes: list[int] = []
        for request in requests:
            if len(requests) > 1:
                self._say(f"[{len(codes) + 1}/{len(requests)}] {request.clip} -> {request.output}")
            codes.append(self._try(request, restorer, is_alone=len(requests) == 1))
            if codes[-1] >= SIGNAL_CODES:
                break
        if len(requests) > 1:
            failed = sum(code in (EXIT_FAILED, EXIT_USAGE) for code in codes)
            left = len(requests) - sum(code < SIGNAL_CODES for code in codes)
            facts = {"restored": len(codes) - failed - (left > 0), "failed": failed, "left": left}
            if self._json:
                print_json("summary", **facts)
            else:
                self._say(", ".join(f"{number} {word}" for word, number in facts.items() if number))
        errors = [code for code in codes if code in (EXIT_FAILED, EXIT_USAGE)]
        code = codes[-1] if codes[-1] >= SIGNAL_CODES or not errors else errors[0]
        code = code or max(codes)  # one damaged input among others
        if code:
            raise typer.Exit(code)

    def _try(self, request: JobRequest, load: Callable[[], Restorer], *, is_alone: bool) -> int:
        """Run one request; report an expected error, unless the program ends with it anyway."""
        reporter = self._reporter()
        try:
            return self._run_one(request, load, reporter)
        except Exception as error:
            if not is_expected(error) or (is_alone and not self._json):
                raise
            code, text = exit_code_of(error), one_line(error)
            reporter.on_stopped(text if self._json else f"vrt: {text}", code)
            return code

    def _run_one(self, request: JobRequest, load: Callable[[], Restorer], reporter: Reporter) -> int:
        """Run one request; return its exit code."""
        check_name(Path(request.output))
        if request.can_continue and finish_earlier_join(request):
            reporter.on_warning(f"{request.output} was whole already; only its job was left, which is deleted")
            return 0
        check_output(request.output, request.clip, overwrite=request.overwrite)
        restorer = load()
        with Interrupt(patient=request.can_continue) as interrupt, reporter:
            callbacks = Callbacks(reporter, _Check(interrupt, reporter), interrupt.raise_if_requested)
            if request.can_continue:
                job = SegmentedJob(request, restorer, callbacks)
                with job.folder:
                    result = self._watch(job, reporter, interrupt)
            else:
                result = self._watch(OnePass(request, restorer, callbacks), reporter, interrupt)
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

    def _reporter(self) -> Reporter:
        return JsonReporter() if self._json else TextReporter(self._console, label=self._label, quiet=self._quiet)

    def _say(self, line: str) -> None:
        if not self._quiet and not self._json:
            self._console.print(line, markup=False)


class _Check:
    """Raises `Cancelled` if the job is to stop at once; says once that a signal was received."""

    def __init__(self, interrupt: Interrupt, reporter: Reporter) -> None:
        self._interrupt, self._reporter, self._is_told = interrupt, reporter, False

    def __call__(self) -> None:
        self._interrupt.raise_if_cancelled()
        if self._interrupt.is_requested and not self._is_told:
            self._is_told = True
            self._reporter.on_warning("stopping after the segment in work; Ctrl-C again stops at once")
