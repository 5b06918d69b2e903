"""`resnetbk` and `python -m resnetbk`: the command line, of which Ctrl-C never shows an unfinished import."""

import signal

CTRL_C = signal.getsignal(signal.SIGINT)
if CTRL_C is signal.default_int_handler:  # and not ignored, as it is for jobs in the background
    signal.signal(signal.SIGINT, signal.SIG_DFL)

from resnetbk import whole_process  # noqa: E402, F401, I001  first: its clock begins
from resnetbk import cli  # noqa: E402


def main() -> None:
    signal.signal(signal.SIGINT, CTRL_C)
    try:
        cli.main()
    except SystemExit as end:
        import atexit
        import os
        import sys
        import threading

        # as `multiprocessing` ends processes: to take torch apart in order takes a second more
        threading._shutdown()  # type: ignore[attr-defined]
        atexit._run_exitfuncs()
        sys.stdout.flush()
        os._exit(int(end.code or 0))


if __name__ == "__main__":
    main()
