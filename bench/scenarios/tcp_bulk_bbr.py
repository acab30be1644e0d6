"""tcp_bulk where the machine's congestion control is BBR, which paces."""

from dataclasses import replace

from bench.scenarios.tcp_bulk import SCENARIO as BULK_SCENARIO

SCENARIO = replace(
    BULK_SCENARIO,
    name="tcp_bulk_bbr",
    title="1 MiB responses, 16 connections, congestion control BBR",
    congestion="bbr",
    targets=(),
    syscalls=False,
    order=31,
    notes=(
        "BBR paces what is sent with timers, which cost more here than the relaying; machines "
        "differ in their default, so both are shown.",
    ),
)
