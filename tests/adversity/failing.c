/* malloc, calloc and realloc, of which one fails when a test says so: of those that fastlb's core
 * asks for, and the libraries that it calls. Preloaded into a process of its own; see
 * test_allocations.py. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdatomic.h>
#include <stddef.h>
#include <string.h>

static void *(*next_malloc)(size_t);
static void *(*next_calloc)(size_t, size_t);
static void *(*next_realloc)(void *, size_t);
static void (*next_free)(void *);

/* What dlsym asks for before it has answered; never given back. */
static _Alignas(16) char early[65536];
static size_t early_used;

static atomic_long wanted;      /* the allocation that fails; 0: none, and none is counted */
static atomic_long count;
static char only[64];           /* those of this library alone; "": of all */

static void *take_early(size_t size)
{
    void *at = early + early_used;
    size = (size + 15) & ~(size_t)15;
    if (size > sizeof(early) - early_used)
        return NULL;
    early_used += size;
    return at;
}

static int is_early(const void *at)
{
    return (const char *)at >= early && (const char *)at < early + sizeof(early);
}

__attribute__((constructor)) static void resolve(void)
{
    if (next_free != NULL)
        return;
    next_malloc = (void *(*)(size_t))dlsym(RTLD_NEXT, "malloc");
    next_calloc = (void *(*)(size_t, size_t))dlsym(RTLD_NEXT, "calloc");
    next_realloc = (void *(*)(void *, size_t))dlsym(RTLD_NEXT, "realloc");
    next_free = (void (*)(void *))dlsym(RTLD_NEXT, "free");
}

static int fails(void *caller)
{
    Dl_info who;
    if (atomic_load_explicit(&wanted, memory_order_relaxed) == 0)
        return 0;
    if (dladdr(caller, &who) == 0 || who.dli_fname == NULL)
        return 0;
    if (only[0] != 0 && strstr(who.dli_fname, only) == NULL)
        return 0;
    if (strstr(who.dli_fname, "/fastlb/_core/") == NULL
        && strstr(who.dli_fname, "libnghttp2") == NULL && strstr(who.dli_fname, "libssl") == NULL
        && strstr(who.dli_fname, "libcrypto") == NULL && strstr(who.dli_fname, "libz") == NULL
        && strstr(who.dli_fname, "libbrotli") == NULL && strstr(who.dli_fname, "libzstd") == NULL)
        return 0;
    return atomic_fetch_add(&count, 1) + 1 == atomic_load(&wanted);
}

void *malloc(size_t size)
{
    if (next_free == NULL)
        return take_early(size);
    return fails(__builtin_return_address(0)) ? NULL : next_malloc(size);
}

void *calloc(size_t n, size_t size)
{
    if (next_free == NULL)
        return take_early(n * size);
    return fails(__builtin_return_address(0)) ? NULL : next_calloc(n, size);
}

void *realloc(void *old, size_t size)
{
    void *at;
    if (is_early(old)) {
        at = next_free == NULL ? take_early(size) : next_malloc(size);
        if (at != NULL)
            memcpy(at, old, (size_t)(early + sizeof(early) - (char *)old) < size
                   ? (size_t)(early + sizeof(early) - (char *)old) : size);
        return at;
    }
    if (next_free == NULL)
        return take_early(size);
    return fails(__builtin_return_address(0)) ? NULL : next_realloc(old, size);
}

void free(void *at)
{
    if (at != NULL && !is_early(at))
        next_free(at);
}

/* Let the n-th allocation from now on fail; 0: none. */
void fail_allocation(long n)
{
    atomic_store(&count, 0);
    atomic_store(&wanted, n);
}

/* Let only those of one library fail, by a part of its file's name; "": of all. */
void fail_only(const char *library)
{
    strncpy(only, library, sizeof(only) - 1);
}

/* How many there were since. */
long allocations(void)
{
    return atomic_load(&count);
}
