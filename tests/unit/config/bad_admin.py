"""Addresses of the admin API that can't be used, and tokens that protect nothing."""

from __future__ import annotations

from .forms import top

HOW = 'write it like "http://127.0.0.1:9000" or "http://unix:/run/fastlb/admin.sock"'
ADMIN = [
    top(
        "admin-true", "admin = true",
        "admin: true is not a table with bind, or false; write admin ="
        ' { bind = "http://127.0.0.1:9000" }',
    ),
    top(
        "admin-without-bind", 'admin = { mode = "0600" }', "admin.bind: this key is missing",
    ),
    top(
        "admin-unknown-key",
        'admin = { bind = "http://127.0.0.1:9000", tokn = "x" }',
        "admin.tokn: 'tokn' is not a key here; did you mean 'token'? One of: bind, token, mode,"
        " default_socket",
    ),
    top(
        "admin-of-tcp",
        'admin = { bind = "tcp://127.0.0.1:9000" }',
        f"admin.bind: 'tcp://127.0.0.1:9000' is not an address for http; {HOW}",
    ),
    top(
        "admin-for-everybody",
        'admin = { bind = "http://0.0.0.0:9000" }',
        "admin.bind: http://0.0.0.0:9000 can be reached from elsewhere, and whoever reaches it can"
        ' change everything: give a token = "${file:/etc/fastlb/token}", or bind 127.0.0.1',
        "it is about two values",
    ),
    top(
        "admin-one-for-everybody",
        'admin = { bind = ["http://[::1]:9000", "http://[2001:db8::1]:9000"] }',
        "admin.bind[1]: http://[2001:db8::1]:9000 can be reached from elsewhere, and whoever"
        ' reaches it can change everything: give a token = "${file:/etc/fastlb/token}", or bind'
        " 127.0.0.1",
        "it is about two values",
    ),
    top(
        "admin-short-token",
        'admin = { bind = "http://0.0.0.0:9000", token = "secret" }',
        "admin.token: a token has 16 characters at least; make one: openssl rand -hex 32",
        "a schema would have to allow variables of any length",
    ),
    top(
        "admin-token-with-a-space",
        'admin = { bind = "http://127.0.0.1:9000", token = "sixteen letters or" }',
        "admin.token: a token has letters, digits and signs of ASCII, and no space",
        "a schema would have to allow variables of any kind",
    ),
    top(
        "admin-mode",
        'admin = { bind = "http://unix:/run/fastlb/admin.sock", mode = "rw" }',
        "admin.mode: 'rw' is not a file mode; write it like \"0660\"",
    ),
]
