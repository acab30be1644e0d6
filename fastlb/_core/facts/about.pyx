# What a policy sees of a client: facts copied for a function that may outlive the connection, or
# runs on another thread. It has one owner, who drops it.
from libc.stdint cimport uint8_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy, memset

from fastlb._core.base.head cimport Text
from fastlb._core.base.limits cimport GEO_FACTS, PROXY_FACTS, RECORDED_FACTS_MAX, TLS_FACTS
from fastlb._core.base.net cimport address_port, address_text, net_local
from fastlb._core.base.parts cimport About, Address
from fastlb._core.base.proxyfacts cimport told_by_proxy
from fastlb._core.base.text cimport texts_copy, texts_size
from fastlb._core.base.tlsfacts cimport drop_facts, hold_facts, secured_stream, tls_facts
from fastlb._core.base.types cimport Core, Exchange
from fastlb._core.ext.atomic cimport likely, unlikely
from fastlb._core.facts.registry cimport fact_find, facts_recorded, recorded_facts

cdef enum:
    BUILT_IN = TLS_FACTS + PROXY_FACTS + GEO_FACTS      # of the recorded facts


cdef bint _keep(About* about, const Text* texts, int n) noexcept nogil:
    about.others = <Text*> malloc(n * sizeof(Text) + texts_size(texts, n))
    if unlikely(about.others == NULL):
        return False
    about.n_others = n
    texts_copy(about.others, texts, n, <uint8_t*> (about.others + n))
    return True


cdef bint about_take(Core* core, Exchange* x, int local_fd, About* about) noexcept nogil:
    """All that is known of x's client; `local_fd` is the socket that it has connected to, -1 where
    nobody asks. False when memory is gone."""
    cdef Text[RECORDED_FACTS_MAX] texts
    cdef Address local
    cdef int i, n = facts_recorded()
    memset(about, 0, sizeof(About))
    about.port = address_port(&x.peer)
    about.ip_size = x.client_ip_size
    memcpy(about.ip, x.client_ip, x.client_ip_size)
    if local_fd >= 0:
        net_local(local_fd, &local)
        about.local_ip_size = address_text(&local, about.local_ip)
        about.local_port = address_port(&local)
    about.secured = tls_facts(secured_stream(x))
    hold_facts(about.secured)
    about.is_told = told_by_proxy(x) != NULL
    if likely(not about.is_told and core.live.geo == NULL and n == BUILT_IN):
        return True         # (they would all be empty)
    for i in range(TLS_FACTS, n):
        if not fact_find(core, x, &recorded_facts[i], &texts[i]):
            texts[i].size = 0
    return _keep(about, &texts[<int> TLS_FACTS], n - TLS_FACTS)


cdef bint about_tell(About* about, const Text* told) noexcept nogil:
    """Fill in PROXY_FACTS facts as if a proxy had sent them, where there is no connection."""
    about.is_told = True
    return _keep(about, told, PROXY_FACTS)


cdef void about_drop(About* about) noexcept nogil:
    drop_facts(about.secured)
    free(about.others)
    about.secured = NULL
    about.others = NULL
