"""`python -m fastlb` is `fastlb`."""

from fastlb.cli import main

if __name__ == "__main__":
    main()
