"""How many threads are worth having here."""

from __future__ import annotations

import math
import os

from fastlb.config.limits import THREADS_MAX


def auto_threads(root: str = "/sys/fs/cgroup") -> int:
    """The lesser of the CPUs that we may run on and the cgroup's quota, 1 at least."""
    allowed = len(os.sched_getaffinity(0))
    quota = _quota(root)
    return max(1, min(allowed, quota if quota is not None else allowed, THREADS_MAX))


def _quota(root: str) -> int | None:
    """CPUs of the cgroup, version 2 (cpu.max) or 1 (cpu.cfs_*), rounded up; None: no limit."""
    try:
        with open(os.path.join(root, "cpu.max")) as file:
            quota, period = file.read().split()
    except (OSError, ValueError):
        try:
            with open(os.path.join(root, "cpu/cpu.cfs_quota_us")) as file:
                quota = file.read().strip()
            with open(os.path.join(root, "cpu/cpu.cfs_period_us")) as file:
                period = file.read().strip()
        except OSError:
            return None
    if not quota.isdigit() or not period.isdigit() or int(period) == 0:
        return None                 # "max", or -1
    return max(1, math.ceil(int(quota) / int(period)))
