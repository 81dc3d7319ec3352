"""The real program with a restorer that changes nothing, to be run as a process of its own.

Usage: python -m tests.cli.same_vrt DELAY_SECONDS restore ARGUMENTS

With a delay, standard error tells when frames 20 and 80 are about to be finished.
"""

import sys
from typing import Any

import vrt_core
from tests.cli.helpers import IdentityRestorer
from vrt_cli.main import app


class TellingRestorer(IdentityRestorer):
    def _restore(self, frame: Any, n: int, check: Any, on_step: Any) -> Any:
        if self._delay_seconds and n in (20, 80):
            print(f"frame {n}", file=sys.stderr, flush=True)
        return super()._restore(frame, n, check, on_step)


if __name__ == "__main__":
    restorer = TellingRestorer(delay_seconds=float(sys.argv[1]))
    vrt_core.load_restorer = lambda name, **_: restorer
    sys.argv = ["vrt", *sys.argv[2:], "--model", "same"]
    app()
