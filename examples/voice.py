"""The policy of voice.toml: a call of SIP is where its Call-ID says."""

import re

import fastlb

# The name in any case, or its short form, then any space (RFC 3261, 7.3.1 and 20.8). The head ends
# with an empty line: what looks like a Call-ID in the body is none.
CALL_ID = re.compile(rb"^(?:call-id|i)[ \t]*:[ \t]*([^\s]+)[ \t]*\r?$", re.I | re.M)


def by_call(connection: fastlb.Connection) -> fastlb.Decision:
    head = connection.data.partition(b"\r\n\r\n")[0]
    found = CALL_ID.search(head)
    if found is None:
        return fastlb.Close()           # no SIP, or two empty lines that keep a NAT open (RFC 5626)
    return fastlb.Hashed("sip", found[1].decode("latin-1"))
