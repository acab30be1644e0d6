/* The request that load.c sends, over and over. */
#ifndef BENCH_REQUEST_H
#define BENCH_REQUEST_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define REQUEST_BYTES_MAX 4096

struct request {
    size_t length;
    char bytes[REQUEST_BYTES_MAX];
};

static inline void request_add(struct request *r, const char *text) {
    size_t length = strlen(text);
    if (r->length + length > sizeof r->bytes) {
        fputs("the request is too long\n", stderr);
        exit(2);
    }
    memcpy(r->bytes + r->length, text, length);
    r->length += length;
}

/* `fields` are a field each, up to a NULL; `lines` are whole lines. */
static inline void request_make(struct request *r, const char *path, char **fields,
                                const char *lines) {
    request_add(r, "GET ");
    request_add(r, path);
    request_add(r, " HTTP/1.1\r\nHost: bench.test\r\n");
    for (; *fields != NULL; fields++) {
        request_add(r, *fields);
        request_add(r, "\r\n");
    }
    request_add(r, lines);
    request_add(r, "\r\n");
}

#endif
