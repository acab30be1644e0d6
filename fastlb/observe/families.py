"""The metrics: the name, type and meaning of each."""

from __future__ import annotations

from fastlb.observe import source_metrics
from fastlb.observe.geography import GEO_METRICS

# (name, type, meaning); docs/observe.md lists the same.
METRICS = {
    "fastlb_info": ("gauge", "1, with the version."),
    "fastlb_requests_total": (
        "counter", "Requests answered. Code 0: the client got no answer, or not all of it;"
        " code 499: because the client left."),
    "fastlb_grpc_requests_total": (
        "counter", "Calls of gRPC, by the status that their clients know."),
    "fastlb_request_duration_seconds": (
        "histogram", "From a request's head to the last byte of its answer."),
    "fastlb_sessions_total": ("counter", "Sessions of tcp and udp that have ended, by how."),
    "fastlb_session_duration_seconds": ("histogram", "From accepting to the end."),
    "fastlb_series_dropped_total": (
        "counter", "Requests and sessions of a listener, route, pool and code for which there was"
        " no series left."),
    "fastlb_listener_connections_active": ("gauge", "Clients connected now."),
    "fastlb_listener_connections_total": ("counter", "Connections accepted."),
    "fastlb_listener_refused_total": ("counter", "Connections closed without a server."),
    "fastlb_listener_full_total": (
        "counter", "Times that accepting had to wait because max_connections were open."),
    "fastlb_listener_received_bytes_total": (
        "counter", "Bodies of requests, and what tcp clients sent, of what has ended."),
    "fastlb_listener_sent_bytes_total": ("counter", "Sent to clients, of what has ended."),
    "fastlb_listener_datagrams_total": ("counter", "Passed on, of clients (in) and servers (out)."),
    "fastlb_listener_datagrams_dropped_total": ("counter", "Of both, that went nowhere."),
    "fastlb_datagrams_dropped_total": ("counter", "The same of all listeners, by why."),
    "fastlb_sessions_active": ("gauge", "Sessions of udp under way."),
    "fastlb_sessions_evicted_total": (
        "counter", "Sessions of UDP that no server had answered, ended to make room for newer ones."
    ),
    "fastlb_pool_in_flight": ("gauge", "Requests, or tcp sessions, under way."),
    "fastlb_pool_pending": ("gauge", "Requests and sessions that wait for a place."),
    "fastlb_pool_up": ("gauge", "0 when no server could be had by the last client."),
    "fastlb_pool_panic": ("gauge", "1 when so few servers are up that all are used."),
    "fastlb_server_up": ("gauge", "1 when a server gets clients."),
    "fastlb_server_state": ("gauge", "1 for the state that it is in."),
    "fastlb_server_weight": ("gauge", "Its share next to other servers'."),
    "fastlb_server_in_flight": ("gauge", "Requests, or tcp sessions, under way."),
    "fastlb_server_idle_connections": ("gauge", "Connections that wait for a request."),
    "fastlb_server_connections_total": ("counter", "Connections made."),
    "fastlb_server_connect_failures_total": ("counter", "Connections that couldn't be made."),
    "fastlb_server_requests_total": ("counter", "Requests sent."),
    "fastlb_server_errors_total": ("counter", "Answers of 5xx, and those that never came whole."),
    "fastlb_server_reused_total": ("counter", "Requests on a connection that had served before."),
    "fastlb_server_sent_bytes_total": ("counter", "Sent to it."),
    "fastlb_server_received_bytes_total": ("counter", "Received from it."),
    "fastlb_server_first_byte_seconds": (
        "histogram", "From sending a request's head to having the answer's."),
    "fastlb_policy_calls_total": ("counter", "Requests that a Python policy was asked about."),
    "fastlb_policy_failures_total": ("counter", "Calls that raised, or decided what can't be."),
    "fastlb_policy_late_total": ("counter", "Calls past their deadline."),
    "fastlb_policy_refused_total": ("counter", "Requests for which too many were waiting."),
    "fastlb_policy_cached_total": ("counter", "Requests decided by what was said before."),
    "fastlb_rate_limit_requests_total": (
        "counter", "Requests, connections and sessions by what a rate limit said (outcome):"
        " allowed, refused, reported (let pass), uncounted (let pass, as no key had room)."),
    "fastlb_rate_limit_keys": ("gauge", "Keys that have used something of a rate limit."),
    "fastlb_rate_limit_evicted_total": (
        "counter", "Keys forgotten before their time, for want of room."),
    "fastlb_rate_limit_plans": ("gauge", "Keys whose limit a rate limit's plan has said."),
    "fastlb_rate_limit_plan_calls_total": (
        "counter", "Calls of a rate limit's plan, by outcome: answered, failed, or dropped as too"
        " many waited."),
    "fastlb_rate_limit_key_refusals": (
        "gauge", "Refusals of the ten keys that a rate limit has refused most, or would have."),
    **source_metrics.METRICS,
    "fastlb_network_entries": ("gauge", "Networks in a set, by their origin: source, or added."),
    "fastlb_network_denials_total": (
        "counter", "Connections, requests and datagrams that a set had denied (outcome: denied), or"
        " would have (reported)."),
    "fastlb_network_age_seconds": (
        "gauge", "Seconds since a set was found to be what its file or URL has."),
    "fastlb_network_reads_total": (
        "counter", "Looks at a set's file or URL (outcome): read, unchanged, or failed, which keeps"
        " the set as it was."),
    **GEO_METRICS,
    "fastlb_connections_active": ("gauge", "Clients connected now, of the whole process."),
    "fastlb_connections_total": ("counter", "Connections accepted, by engine."),
    "fastlb_accept_errors_total": ("counter", "Connections lost while being accepted, by engine."),
    "fastlb_turns_total": ("counter", "Turns of an engine's loop."),
    "fastlb_retries_total": ("counter", "Requests and sessions sent to a server once more."),
    "fastlb_retries_denied_total": ("counter", "Those that the budget didn't allow."),
    "fastlb_hedges_total": ("counter", "Requests that were sent to a second server too."),
    "fastlb_hedges_won_total": ("counter", "Those that the second one answered first."),
    "fastlb_hedges_denied_total": ("counter", "Those that the budget didn't allow."),
    "fastlb_mirrored_total": ("counter", "Requests copied to a mirror."),
    "fastlb_mirrors_dropped_total": ("counter", "Requests not copied, or not to the end."),
    "fastlb_compressed_responses_total": ("counter", "Responses that were compressed."),
    "fastlb_compressed_input_bytes_total": (
        "counter", "Bytes of compressed responses before compression."),
    "fastlb_compressed_output_bytes_total": ("counter", "Bytes of compressed responses after it."),
    "fastlb_compressions_denied_total": (
        "counter", "Responses left as they were because too many were being compressed."),
    "fastlb_keys_missing_total": ("counter", "Requests without what their pool hashes."),
    "fastlb_bodies_unread_total": (
        "counter", "Bodies that a route asked about, too long or broken."),
    "fastlb_protocols_unknown_total": (
        "counter", "Connections of tcp listeners with routes that said nothing known in time."),
    "fastlb_http2_abused_total": (
        "counter", "Connections of HTTP/2 ended because of what their peer sent, by engine."),
    "fastlb_tls_connections": ("gauge", "Connections over TLS, with clients and servers."),
    "fastlb_tls_handshakes_total": (
        "counter", "Handshakes with clients or servers (side), and whether a session was resumed."),
    "fastlb_tls_handshake_failures_total": ("counter", "Those that failed, or took too long."),
    "fastlb_certificate_expires_timestamp_seconds": (
        "gauge", "When a certificate in use ends to hold, since 1970."),
    "fastlb_tls_refreshes_total": (
        "counter", "Listeners and pools whose files of certificates had changed and were read."),
    "fastlb_tls_refreshes_refused_total": (
        "counter", "Changes of such files that couldn't be used."),
    "fastlb_proxy_headers_total": (
        "counter", "Headers of the PROXY protocol, believed or refused (result)."),
    "fastlb_records_total": ("counter", "Records made for the access log and programs."),
    "fastlb_records_dropped_total": ("counter", "Records that came too fast."),
    "fastlb_log_lines_total": ("counter", "Lines written to the access log."),
    "fastlb_log_lines_lost_total": ("counter", "Lines that couldn't be written."),
    "fastlb_stderr_lines_dropped_total": (
        "counter", "Log lines of the process that nobody read from stderr in time."),
    "process_start_time_seconds": ("gauge", "When the process started, since 1970."),
    "process_cpu_seconds_total": ("counter", "CPU time used, user and system."),
    "process_resident_memory_bytes": ("gauge", "Memory in use."),
    "process_open_fds": ("gauge", "Descriptors in use."),
    "process_max_fds": ("gauge", "Descriptors allowed."),
}
