"""`resnetbk` and `python -m resnetbk`: the command line, of which Ctrl-C never shows an unfinished import."""

import signal

CTRL_C = signal.getsignal(signal.SIGINT)
if CTRL_C is signal.default_int_handler:  # and not ignored, as it is for jobs in the background
    signal.signal(signal.SIGINT, signal.SIG_DFL)

from resnetbk import cli  # noqa: E402


def main() -> None:
    signal.signal(signal.SIGINT, CTRL_C)
    cli.main()


if __name__ == "__main__":
    main()
