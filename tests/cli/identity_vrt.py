"""The program `vrt restore` with a restorer that returns its input, for tests that need a process.

Usage: python -m tests.cli.identity_vrt DELAY_SECONDS restore ARGUMENTS

With a delay before each frame, it prints "frame N" on standard error before frames 20 and 80.
"""

import sys
import time

import vrt_core
from tests.helpers.identity import identity_restorer
from vrt_cli.main import app


def main() -> None:
    delay_seconds = float(sys.argv[1])

    def before_pass(n: int) -> None:
        if delay_seconds and n in (20, 80):
            print(f"frame {n}", file=sys.stderr, flush=True)
        time.sleep(delay_seconds)

    vrt_core.load_restorer = lambda name, options, **overrides: identity_restorer(before_pass=before_pass)
    sys.argv = ["vrt", *sys.argv[2:], "--model", "same"]
    app()


if __name__ == "__main__":
    main()
