"""Every balancer on the same work in one run: `python bench/run.py --help`."""
