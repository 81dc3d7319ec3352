"""The program `vrt restore` with a restorer that returns its input, for tests that need a process.

Usage: python -m tests.cli.identity_vrt PAUSE_AT restore ARGUMENTS

Before it restores frame PAUSE_AT (-1 for none), it prints "frame PAUSE_AT" on standard error and waits for a line on
standard input.
"""

import sys

import vrt_core
from tests.helpers.identity import identity_restorer
from vrt_cli.main import app


def main() -> None:
    pause_at = int(sys.argv[1])

    def before_pass(n: int) -> None:
        if n == pause_at:
            print(f"frame {n}", file=sys.stderr, flush=True)
            sys.stdin.readline()

    vrt_core.load_restorer = lambda name, options, **overrides: identity_restorer(before_pass=before_pass)
    sys.argv = ["vrt", *sys.argv[2:], "--model", "same"]
    app()


if __name__ == "__main__":
    main()
