"""The policy of market_data.toml: a client says who it is in its first line, "LOGON name"."""

import fastlb


def by_client(connection: fastlb.Connection) -> fastlb.Decision:
    line, ended, _ = connection.data.partition(b"\n")
    if not ended:
        return fastlb.More()            # if the line doesn't end in time, the connection does
    word, _, client = line.strip().partition(b" ")
    if word != b"LOGON" or not client:
        return fastlb.Close()
    return fastlb.Hashed("programs", client.decode("latin-1"))
