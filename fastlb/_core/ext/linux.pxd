# What is used of Linux and libc. Linux's own calls (accept4, epoll, eventfd, timerfd, splice) may
# be called from base/ only: macOS is to fit in there.
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t

cdef extern from "<sys/syscall.h>" nogil:
    enum:
        SYS_accept4
        SYS_close
        SYS_connect
        SYS_epoll_pwait
        SYS_epoll_pwait2
        SYS_recvfrom
        SYS_recvmmsg
        SYS_sendmmsg
        SYS_sendmsg
        SYS_sendto
        SYS_splice

cdef extern from "<sys/mman.h>" nogil:
    enum:
        MAP_ANONYMOUS
        MAP_PRIVATE
        PROT_READ
        PROT_WRITE
    void* MAP_FAILED
    void* mmap(void*, size_t, int, int, int, long)
    int munmap(void*, size_t)

cdef extern from "<time.h>" nogil:
    struct timespec:
        long tv_sec
        long tv_nsec
    struct itimerspec:
        timespec it_interval
        timespec it_value
    enum:
        CLOCK_MONOTONIC
        CLOCK_REALTIME
    struct tm:
        int tm_sec
        int tm_min
        int tm_hour
        int tm_mday
        int tm_mon
        int tm_year
        int tm_wday
    ctypedef long time_t
    int clock_gettime(int, timespec*)
    time_t time(time_t*)
    tm* gmtime_r(const time_t*, tm*)

cdef extern from "<sys/socket.h>" nogil:
    ctypedef unsigned int socklen_t
    struct sockaddr:
        uint16_t sa_family
    struct linger:
        int l_onoff
        int l_linger
    enum:
        AF_UNIX
        AF_INET
        AF_INET6
        SOCK_DGRAM
        SOCK_STREAM
        SOCK_NONBLOCK
        SOCK_CLOEXEC
        SOL_SOCKET
        SO_ERROR
        SO_LINGER
        SO_KEEPALIVE
        SO_OOBINLINE
        SO_RCVBUF
        SO_RCVBUFFORCE
        SO_RCVLOWAT
        SO_SNDBUF
        MSG_NOSIGNAL
        MSG_MORE
        MSG_PEEK
        MSG_DONTWAIT
        SHUT_WR
        SHUT_RDWR
    int socket(int, int, int)
    int setsockopt(int, int, int, const void*, socklen_t)
    int getsockopt(int, int, int, void*, socklen_t*)
    int shutdown(int, int)
    int getsockname(int, sockaddr*, socklen_t*)
    struct iovec:
        void* iov_base
        size_t iov_len
    struct msghdr:
        void* msg_name
        socklen_t msg_namelen
        iovec* msg_iov
        size_t msg_iovlen
        void* msg_control
        size_t msg_controllen
        int msg_flags
    struct mmsghdr:
        msghdr msg_hdr
        unsigned int msg_len
    struct cmsghdr:
        size_t cmsg_len
        int cmsg_level
        int cmsg_type
    cmsghdr* CMSG_FIRSTHDR(msghdr*)
    cmsghdr* CMSG_NXTHDR(msghdr*, cmsghdr*)
    void* CMSG_DATA(cmsghdr*)
    size_t CMSG_LEN(size_t)
    size_t CMSG_SPACE(size_t)

cdef extern from "<netinet/in.h>" nogil:
    struct in_addr:
        uint32_t s_addr
    struct in6_addr:
        uint8_t s6_addr[16]
    struct sockaddr_in:
        uint16_t sin_family
        uint16_t sin_port
        in_addr sin_addr
    struct sockaddr_in6:
        uint16_t sin6_family
        uint16_t sin6_port
        uint32_t sin6_flowinfo
        in6_addr sin6_addr
        uint32_t sin6_scope_id
    uint16_t htons(uint16_t)
    uint32_t ntohl(uint32_t)
    uint16_t ntohs(uint16_t)
    struct in_pktinfo:
        int ipi_ifindex
        in_addr ipi_spec_dst
        in_addr ipi_addr
    struct in6_pktinfo:
        in6_addr ipi6_addr
        unsigned int ipi6_ifindex
    enum:
        IPPROTO_IP
        IPPROTO_IPV6
        IPPROTO_TCP
        IP_PKTINFO
        IPV6_PKTINFO
        INET6_ADDRSTRLEN

cdef extern from "<netinet/udp.h>" nogil:
    enum:
        SOL_UDP
        UDP_GRO
        UDP_SEGMENT

cdef extern from "<netinet/tcp.h>" nogil:
    enum:
        TCP_NODELAY
        TCP_KEEPIDLE
        TCP_KEEPINTVL
        TCP_KEEPCNT

cdef extern from "<arpa/inet.h>" nogil:
    int inet_pton(int, const char*, void*)
    const char* inet_ntop(int, const void*, char*, socklen_t)

cdef extern from "<sys/un.h>" nogil:
    struct sockaddr_un:
        uint16_t sun_family
        char sun_path[108]

cdef extern from "<string.h>" nogil:
    void* memmem(const void*, size_t, const void*, size_t)

cdef extern from "<dlfcn.h>" nogil:
    enum:
        RTLD_NOW
        RTLD_NOLOAD
    void* dlopen(const char*, int)
    void* dlsym(void*, const char*)

cdef extern from "<sys/epoll.h>" nogil:
    ctypedef union epoll_data_t:
        uint64_t u64
    struct epoll_event:
        uint32_t events
        epoll_data_t data
    enum:
        EPOLL_CLOEXEC
        EPOLL_CTL_ADD
        EPOLL_CTL_DEL
        EPOLL_CTL_MOD
        EPOLLIN
        EPOLLOUT
        EPOLLPRI
        EPOLLERR
        EPOLLHUP
        EPOLLRDHUP
        EPOLLET
        EPOLLEXCLUSIVE
    int epoll_create1(int)
    int epoll_ctl(int, int, int, epoll_event*)

cdef extern from "<poll.h>" nogil:
    struct pollfd:
        int fd
        short events
        short revents
    enum:
        POLLIN
        POLLOUT
        POLLPRI
        POLLERR
        POLLHUP
        POLLRDHUP
    int poll(pollfd*, unsigned long, int)

cdef extern from "<sys/eventfd.h>" nogil:
    enum:
        EFD_CLOEXEC
        EFD_NONBLOCK
    int eventfd(unsigned int, int)

cdef extern from "<sys/timerfd.h>" nogil:
    enum:
        TFD_CLOEXEC
        TFD_NONBLOCK
        TFD_TIMER_ABSTIME
    int timerfd_create(int, int)
    int timerfd_settime(int, int, const itimerspec*, itimerspec*)

cdef extern from "<fcntl.h>" nogil:
    enum:
        O_RDONLY
        O_CLOEXEC
        O_NONBLOCK
        F_DUPFD_CLOEXEC
        F_SETPIPE_SZ
        SPLICE_F_MOVE
        SPLICE_F_NONBLOCK
    int open_file "open"(const char*, int)
    int fcntl(int, int, int)

cdef extern from "<unistd.h>" nogil:
    int close(int)
    void _exit(int)
    int pipe2(int*, int)
    ssize_t read(int, void*, size_t)
    ssize_t write(int, const void*, size_t)

cdef extern from "<sys/resource.h>" nogil:
    cdef struct rlimit:
        unsigned long rlim_cur
    int RLIMIT_NOFILE
    int getrlimit(int, rlimit*)

cdef extern from "<sched.h>" nogil:
    int sched_yield()

cdef extern from "<stdlib.h>" nogil:
    void* aligned_alloc(size_t, size_t)
