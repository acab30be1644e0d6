# Bulk bytes from socket to socket without a copy (splice(2)). Where the system has no such call,
# take_pipe gives none, and they are copied.
from fastlb._core.base.limits cimport PIPE_BYTES
from fastlb._core.base.types cimport Core, Pipe, Stream
from fastlb._core.ext.atomic cimport fl_syscall
from fastlb._core.ext.linux cimport SPLICE_F_MOVE, SPLICE_F_NONBLOCK, SYS_splice


cdef inline ssize_t pipe_fill(Pipe* pipe, Stream* source, size_t limit) noexcept nogil:
    """Bytes moved from the stream, `limit` at most, into an empty pipe; 0 at the peer's end, or
    -errno."""
    cdef ssize_t n = fl_syscall(SYS_splice, source.fd, 0, pipe.write_fd, 0,
                                limit if limit < PIPE_BYTES else PIPE_BYTES,
                                SPLICE_F_MOVE | SPLICE_F_NONBLOCK)
    if n > 0:
        pipe.held = <unsigned int> n
    return n


cdef inline ssize_t pipe_drain(Pipe* pipe, Stream* to) noexcept nogil:
    """Bytes moved on from the pipe to the stream, or -errno."""
    cdef ssize_t n = fl_syscall(SYS_splice, pipe.read_fd, 0, to.fd, 0, pipe.held,
                                SPLICE_F_MOVE | SPLICE_F_NONBLOCK)
    if n > 0:
        pipe.held -= <unsigned int> n
    return n


cdef Pipe* take_pipe(Core* core) noexcept nogil
cdef void give_pipe(Core* core, Pipe* pipe) noexcept nogil
cdef void free_pipes(Core* core) noexcept nogil
