# Pipes for splice(2), kept by one engine for the next flow.
# A pipe that still holds bytes is closed: they must never reach another connection.
from libc.stdlib cimport free, malloc

from fastlb._core.base.limits cimport PIPES_MAX, PIPE_BYTES
from fastlb._core.base.types cimport Core, Pipe
from fastlb._core.ext.linux cimport F_SETPIPE_SZ, O_CLOEXEC, O_NONBLOCK, close, fcntl, pipe2


cdef Pipe* take_pipe(Core* core) noexcept nogil:
    """An empty pipe, or NULL: there are enough of them, or no descriptors."""
    cdef Pipe* pipe = core.free_pipes
    cdef int[2] fds
    if pipe != NULL:
        core.free_pipes = pipe.next
        return pipe
    if core.n_pipes >= PIPES_MAX:
        return NULL
    pipe = <Pipe*> malloc(sizeof(Pipe))
    if pipe == NULL:
        return NULL
    if pipe2(fds, O_CLOEXEC | O_NONBLOCK) < 0:
        free(pipe)
        return NULL
    fcntl(fds[1], F_SETPIPE_SZ, PIPE_BYTES)     # refused where a user has too many: smaller works
    pipe.read_fd = fds[0]
    pipe.write_fd = fds[1]
    pipe.held = 0
    core.n_pipes += 1
    return pipe


cdef void _close(Core* core, Pipe* pipe) noexcept nogil:
    close(pipe.read_fd)
    close(pipe.write_fd)
    free(pipe)
    core.n_pipes -= 1


cdef void give_pipe(Core* core, Pipe* pipe) noexcept nogil:
    """One that still holds bytes is closed: they must never reach another connection."""
    if pipe.held:
        _close(core, pipe)
        return
    pipe.next = core.free_pipes
    core.free_pipes = pipe


cdef void free_pipes(Core* core) noexcept nogil:
    cdef Pipe* pipe
    if core.pipe != NULL:
        _close(core, core.pipe)
        core.pipe = NULL
    while core.free_pipes != NULL:
        pipe = core.free_pipes
        core.free_pipes = pipe.next
        _close(core, pipe)
