"""What holds for every test."""

import signal

# A shell starts background jobs with Ctrl-C ignored, and processes hand that on; several tests send it on purpose.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
