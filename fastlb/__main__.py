"""`python -m fastlb` is `fastlb`."""

import os
import sys

if __name__ == "__main__":
    # Python has put the working directory before everything else: a file there that happens to be
    # called click.py must not be taken for the library.
    if sys.path and sys.path[0] == os.getcwd():
        sys.path.append(sys.path.pop(0))
    from fastlb.cli import main

    main()
