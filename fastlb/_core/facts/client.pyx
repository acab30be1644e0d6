# Facts of a client and its connection: its address, what TLS and a proxy in front say of it.
from libc.stdint cimport uint8_t, uint32_t

from fastlb._core.base.address cimport address_key
from fastlb._core.base.enums cimport EXCHANGE_TRUSTED
from fastlb._core.base.facts cimport (
    FACT_CLIENT_ADDRESS, FACT_CLIENT_IP, FACT_CLIENT_PORT, FACT_MQTT_CLIENT_ID, FACT_MQTT_LEVEL,
    FACT_MQTT_USERNAME, FACT_PROXY, FACT_TLS, FACT_TLS_ALPN, FactRef,
)
from fastlb._core.base.head cimport Text
from fastlb._core.base.net cimport address_port, address_text
from fastlb._core.base.parts cimport Address
from fastlb._core.base.proxyfacts cimport proxy_fact
from fastlb._core.base.text cimport equal, put_number, text_of
from fastlb._core.base.tlsfacts cimport secured_stream, tls_fact
from fastlb._core.base.types cimport Core, Exchange
from fastlb._core.facts.registry cimport (
    FACT_FITS_PATHS, FACT_IN_BYTES, FACT_IN_MATCH, FACT_IS_RECORDED, FACT_OF_CONNECTIONS,
    new_fact, register_fact,
)
from fastlb._core.proto.addresses cimport parse_address


cdef bint client_address(const Exchange* x, Address* address) noexcept nogil:
    """The client's address, as trusted proxies saw it. False: a proxy hides it behind a word."""
    if not x.flags & EXCHANGE_TRUSTED or equal(
            <const uint8_t*> x.client_ip, x.client_ip_size,
            <const uint8_t*> x.peer_ip, x.peer_ip_size):
        address[0] = x.peer             # (it speaks for itself)
        return True
    return parse_address(text_of(<const uint8_t*> x.client_ip, x.client_ip_size), address)


cdef bint _ip(Core* core, Exchange* x, const FactRef* fact, Text* value) noexcept nogil:
    if x.client_ip_size == 0:
        x.client_ip_size = address_text(&x.peer, x.client_ip)
    value[0] = text_of(<const uint8_t*> x.client_ip, x.client_ip_size)
    return True


cdef bint _port(Core* core, Exchange* x, const FactRef* fact, Text* value) noexcept nogil:
    value[0] = text_of(core.port_text, <uint32_t> put_number(core.port_text, address_port(&x.peer)))
    return True


cdef bint _address(Core* core, Exchange* x, const FactRef* fact, Text* value) noexcept nogil:
    value[0] = text_of(
        core.address_text, <uint32_t> address_key(&x.peer, True, <char*> core.address_text))
    return True


cdef bint _tls(Core* core, Exchange* x, const FactRef* fact, Text* value) noexcept nogil:
    value[0] = tls_fact(secured_stream(x), fact.fact - FACT_TLS)
    return True


cdef bint _proxy(Core* core, Exchange* x, const FactRef* fact, Text* value) noexcept nogil:
    value[0] = proxy_fact(secured_stream(x), fact.fact - FACT_PROXY)
    return True


_RECORDED = FACT_OF_CONNECTIONS | FACT_IS_RECORDED
_MATCHED = FACT_OF_CONNECTIONS | FACT_IN_BYTES | FACT_IN_MATCH
register_fact(FACT_CLIENT_IP, "client.ip", FACT_OF_CONNECTIONS | FACT_FITS_PATHS, _ip,
              "The client's IP address, as trusted proxies saw it.")
register_fact(FACT_CLIENT_PORT, "client.port", FACT_OF_CONNECTIONS | FACT_FITS_PATHS, _port,
              "The port of the client's connection.")
register_fact(FACT_CLIENT_ADDRESS, "client.address", FACT_OF_CONNECTIONS, _address,
              "The IP address and the port of the client's connection.")
for _i, (_name, _meaning) in enumerate((
    ("sni", "The host that the client asked TLS for, in lower case."),
    ("version", "The version of TLS: `TLSv1.2` or `TLSv1.3`."),
    ("client_subject", "The subject of the client's verified certificate, as RFC 4514 writes it."),
    ("client_fingerprint", "The SHA-256 of that certificate (DER), in hexadecimal digits."),
)):
    register_fact(FACT_TLS + _i, f"tls.{_name}", _RECORDED, _tls, _meaning)
register_fact(FACT_TLS_ALPN, "tls.alpn", _MATCHED, NULL,
              "For TCP: the protocols that the client offers, or behind `tls://` the one chosen.")
register_fact(FACT_MQTT_CLIENT_ID, "mqtt.client_id", FACT_OF_CONNECTIONS | FACT_IN_BYTES, NULL,
              "For TCP: the client identifier of MQTT.")
register_fact(FACT_MQTT_USERNAME, "mqtt.username", FACT_OF_CONNECTIONS | FACT_IN_BYTES, NULL,
              "For TCP: the user name of MQTT.")
register_fact(FACT_MQTT_LEVEL, "mqtt.level", _MATCHED, NULL,
              "For TCP: the version of MQTT: `3.1`, `3.1.1` or `5`.")
for _i, (_name, _meaning) in enumerate((
    ("authority", "The host that the client asked the proxy for, in lower case."),
    ("unique_id", "The connection's id at the proxy."),
    ("alpn", "The protocol that the proxy chose with the client."),
    ("vpce", "AWS: the id of the client's VPC endpoint."),
    ("dst", "The address and port that the client connected to at the proxy."),
)):
    register_fact(FACT_PROXY + _i, f"proxy.{_name}", _RECORDED, _proxy, _meaning)
register_fact(new_fact(), "client.network", FACT_OF_CONNECTIONS | FACT_IN_MATCH, NULL,
              "The name of a set (`[networks.NAME]`) that the client's address is in.")
