"""An explanation as a tree for people."""

from __future__ import annotations

from rich.console import Console
from rich.markup import escape
from rich.tree import Tree

from fastlb.explain.model import Explanation, PoolPick, RouteTried

COLUMNS = 100           # of the text; a terminal has what it has
CANDIDATES_SHOWN = 20


def as_text(explanation: Explanation) -> str:
    """Without colours."""
    console = Console(width=COLUMNS, no_color=True, force_terminal=False, highlight=False,
                      emoji=False)
    with console.capture() as captured:
        console.print(as_tree(explanation))
    return "\n".join(line.rstrip() for line in captured.get().splitlines())


def as_tree(explanation: Explanation) -> Tree:
    e = explanation
    tree = Tree(f"[bold]{escape(f'{e.method} {e.url}'.strip())}[/]")
    tree.add(f"listener [bold]{escape(e.listener)}[/] ({escape(e.chosen_by)})")
    client = tree.add(f"client {escape(e.client)}")
    if e.trusted:
        client.add(f"a trusted proxy; it asks for {escape(e.client_ip)}")
    if e.tls:
        client.add(escape(e.tls))
    if e.place:
        client.add(escape(e.place))
    if e.proxy:
        client.add(escape(e.proxy))
    if e.says:
        client.add(escape(e.says))
    if e.path:
        tree.add(f"path {escape(e.path)}")
    if e.routes:
        routes = tree.add("routes, in the order in which they are tried")
        for route in e.routes:
            _add_route(routes, route)
    if (e.routes or e.mode == "http") and not (
            e.answer is not None and e.action == "refuse" and e.answer.reason != "no_route"):
        _add_match(tree, e)
    if e.policy is not None:
        tree.add(f"policy [bold]{escape(e.policy.call)}[/] {escape(e.policy.said)}")
    _add_action(tree, e)
    for note in e.notes:
        tree.add(f"[dim]note: {escape(note)}[/]")
    return tree


def _add_route(tree: Tree, route: RouteTried) -> None:
    mark, style = {"taken": ("+", "green"), "later": ("=", "yellow")}.get(
        route.outcome, ("-", "dim"))
    branch = tree.add(f"[{style}]{mark} {escape(route.name)}[/]: {escape(route.what)}")
    if route.reasons:
        branch.add(f"[{style}]{escape('; '.join(route.reasons))}[/]")


def _add_match(tree: Tree, e: Explanation) -> None:
    if e.route is None:
        tree.add("no route fits")
        return
    name = f"route [bold green]{escape(e.route)}[/]" if e.route else \
        "no route fits: the listener's own pool"
    branch = tree.add(name)
    for segment, value in e.segments:
        branch.add(f"{escape(segment)} = {escape(value)}")


def _add_action(tree: Tree, e: Explanation) -> None:
    if e.action == "wait":
        tree.add("waits for the rest of its body" if e.mode == "http" else "waits for more bytes")
    if e.handed:
        handed = escape(e.handed)
        tree.add(f"goes on as a connection of listener [bold]{handed}[/]: ask for its requests with"
                 f" --listener {handed}")
    if e.answer is not None and e.mode != "http":
        tree.add("closed").add(escape(e.answer.rule))
    elif e.answer is not None:
        to = f" to {escape(e.answer.location)}" if e.answer.location else ""
        answer = tree.add(f"answered by fastlb: [bold]{e.answer.status}[/]{to}")
        answer.add(escape(e.answer.rule))
        if e.answer.reason not in ("", "responded"):
            answer.add(f"x-fastlb-error: {escape(e.answer.reason)}")
    if e.split is not None:
        parts = ", ".join(f"{name} {weight}" for name, weight in e.split.shares)
        how = "by chance"
        if e.split.key is not None:
            how = f"by {e.split.on} = {e.split.key.value}" if not e.split.key.missing else \
                f"by client.ip, as {e.split.on} is absent"
        tree.add(f"split {escape(parts)}, {escape(how)}")
    if e.sent:
        sent = tree.add("what the server gets")
        for line in e.sent.split("\r\n"):
            sent.add(escape(line))
    for pool in e.pools:
        _add_pool(tree, pool)
    if e.response_headers:
        fields = tree.add("what the client gets" if e.answer else "what the answer gets")
        for name, value in e.response_headers:
            fields.add(escape(f"{name}: {value}"))
    for line in e.services:
        tree.add(escape(line))


def _add_pool(tree: Tree, pool: PoolPick) -> None:
    chance = "" if pool.share == 1 else f" ({pool.share:.4g} of the requests)"
    branch = tree.add(f"pool [bold]{escape(pool.name)}[/], {pool.balance}{chance}")
    if pool.key is not None:
        value = f" = {pool.key.value}" if pool.key.value and not pool.key.missing else ""
        missing = " is absent: client.ip is hashed" if pool.key.missing else ""
        branch.add(escape(f"key {pool.key.on}{value}{missing}, hash {pool.key.hash:08x}"))
    if pool.sticky:
        branch.add(escape(pool.sticky))
    servers = branch.add("servers")
    for candidate in pool.candidates[:CANDIDATES_SHOWN]:
        state = "" if candidate.state in ("up", "unchecked") else f", {candidate.state}"
        extra = f", weight {candidate.weight}" if candidate.weight != 1 else ""
        extra += f", priority {candidate.priority}" if candidate.priority else ""
        extra += f", zone {candidate.zone}" if candidate.zone else ""
        extra += f", {candidate.in_flight} in flight" if candidate.in_flight else ""
        mark = "[green]" if candidate.address == pool.pick else "[dim]" if not candidate.share \
            else "[none]"
        servers.add(f"{mark}{escape(candidate.address)}[/]: {candidate.share:.0%}{state}{extra}")
    if len(pool.candidates) > CANDIDATES_SHOWN:
        servers.add(f"and {len(pool.candidates) - CANDIDATES_SHOWN} more")
    if pool.pick is None:
        branch.add(f"[red]{escape(pool.why_none)}[/]")
    else:
        word = "picked" if pool.certain else "picked next, if nobody comes before"
        of = "" if pool.picked_in == pool.name else f", of pool {pool.picked_in}, which falls in"
        branch.add(f"{word}: [bold green]{escape(pool.pick)}[/]{escape(of)}")
    if pool.fallbacks:
        branch.add(escape(f"falls back to {', then '.join(pool.fallbacks)}"))
    for text, what in (("limits", pool.limits), ("retry", pool.retry), ("hedge", pool.hedge)):
        if what:
            branch.add(f"{text}: {escape(what)}")
