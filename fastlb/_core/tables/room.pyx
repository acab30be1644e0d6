# Memory for the tables of a snapshot, with the live state and the pools that they refer to.


cdef class Room(Arena):
    """An arena that knows the live state and how many pools the snapshot has."""

    def __cinit__(self, Live live, int n_pools):
        self.live, self.n_pools = live, n_pools
        self.rates = []

    cdef int pool_index(self, object index) except -1:
        """Check a pool's place in the snapshot."""
        if not 0 <= index < self.n_pools:
            raise ValueError("a route names a pool that isn't there")
        return index
