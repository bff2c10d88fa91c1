# SPDX-License-Identifier: Apache-2.0
"""`python3 -m minirt`, and what the installed command runs: main, then _exit(2) at once.

_exit skips the interpreter's tear-down (2 to 3 ms): everything was written by write(2), nothing waits in a
buffer, and what the kernel holds for a process it takes back by itself. Run as a file by an isolated interpreter
(-I, which looks nowhere by itself), it finds the package that it lies in.
"""

import os
import sys

if not __package__:
    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from minirt.cli.main import main

if __name__ == "__main__":
    os._exit(main(sys.argv[1:]))
