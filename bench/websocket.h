/* WebSocket as load.c speaks it and origin.c echoes it: the handshake's answer to a key, and text
 * frames of WS_TEXT_BYTES bytes, masked from the client and bare from the server. */
#ifndef BENCH_WEBSOCKET_H
#define BENCH_WEBSOCKET_H

#include <stdint.h>
#include <stdio.h>
#include <string.h>

#define WS_GUID "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
#define WS_KEY_BYTES 24 /* base64 of 16 bytes */
#define WS_ACCEPT_BYTES 28 /* base64 of a SHA-1 */
#define WS_TEXT_BYTES 100
#define WS_TEXT_MAX 125 /* what fits without an extended length */
#define WS_MASK_BYTES 4
#define WS_HEAD_BYTES 2
#define WS_ECHO_BYTES (WS_HEAD_BYTES + WS_TEXT_BYTES)
#define WS_FRAME_BYTES (WS_ECHO_BYTES + WS_MASK_BYTES)
#define WS_FINAL_TEXT 0x81
#define WS_MASKED 0x80

static inline uint32_t ws_rotated(uint32_t value, int bits) {
    return value << bits | value >> (32 - bits);
}

static inline void ws_sha1_block(uint32_t hash[5], const unsigned char *block) {
    uint32_t w[80], a = hash[0], b = hash[1], c = hash[2], d = hash[3], e = hash[4];
    for (int i = 0; i < 16; i++, block += 4)
        w[i] = (uint32_t)block[0] << 24 | (uint32_t)block[1] << 16 | (uint32_t)block[2] << 8 |
               block[3];
    for (int i = 16; i < 80; i++)
        w[i] = ws_rotated(w[i - 3] ^ w[i - 8] ^ w[i - 14] ^ w[i - 16], 1);
    for (int i = 0; i < 80; i++) {
        uint32_t f = i < 20   ? ((b & c) | (~b & d)) + 0x5A827999
                     : i < 40 ? (b ^ c ^ d) + 0x6ED9EBA1
                     : i < 60 ? ((b & c) | (b & d) | (c & d)) + 0x8F1BBCDC
                              : (b ^ c ^ d) + 0xCA62C1D6;
        uint32_t next = ws_rotated(a, 5) + f + e + w[i];
        e = d;
        d = c;
        c = ws_rotated(b, 30);
        b = a;
        a = next;
    }
    hash[0] += a;
    hash[1] += b;
    hash[2] += c;
    hash[3] += d;
    hash[4] += e;
}

/* Writes base64 with its padding and a final 0. */
static inline void ws_base64(const unsigned char *from, size_t length, char *to) {
    static const char letters[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (size_t i = 0; i < length; i += 3) {
        uint32_t three = (uint32_t)from[i] << 16;
        three |= i + 1 < length ? (uint32_t)from[i + 1] << 8 : 0;
        three |= i + 2 < length ? from[i + 2] : 0;
        *to++ = letters[three >> 18];
        *to++ = letters[three >> 12 & 63];
        *to++ = i + 1 < length ? letters[three >> 6 & 63] : '=';
        *to++ = i + 2 < length ? letters[three & 63] : '=';
    }
    *to = 0;
}

/* Sec-WebSocket-Accept for a Sec-WebSocket-Key of WS_KEY_BYTES. */
static inline void ws_accept(const char *key, char accept[WS_ACCEPT_BYTES + 1]) {
    uint32_t hash[5] = {0x67452301, 0xEFCDAB89, 0x98BADCFE, 0x10325476, 0xC3D2E1F0};
    unsigned char blocks[128] = {0}, digest[20];
    size_t length = WS_KEY_BYTES + sizeof WS_GUID - 1;
    memcpy(blocks, key, WS_KEY_BYTES);
    memcpy(blocks + WS_KEY_BYTES, WS_GUID, sizeof WS_GUID - 1);
    blocks[length] = 0x80;
    blocks[126] = (unsigned char)(length * 8 >> 8);
    blocks[127] = (unsigned char)(length * 8);
    ws_sha1_block(hash, blocks);
    ws_sha1_block(hash, blocks + 64);
    for (int i = 0; i < 20; i++)
        digest[i] = (unsigned char)(hash[i / 4] >> (24 - 8 * (i % 4)));
    ws_base64(digest, sizeof digest, accept);
}

static inline void ws_mask(unsigned char *bytes, size_t length, const unsigned char *mask) {
    for (size_t i = 0; i < length; i++)
        bytes[i] ^= mask[i % WS_MASK_BYTES];
}

/* A client's frame and its echo: printable, and different from one message to the next. */
static inline void ws_make_text(unsigned char frame[WS_FRAME_BYTES],
                                unsigned char echo[WS_ECHO_BYTES], uint64_t random) {
    unsigned char *mask = frame + WS_HEAD_BYTES, *text = mask + WS_MASK_BYTES;
    frame[0] = echo[0] = WS_FINAL_TEXT;
    frame[1] = WS_MASKED | WS_TEXT_BYTES;
    echo[1] = WS_TEXT_BYTES;
    memcpy(mask, &random, WS_MASK_BYTES);
    for (uint32_t i = 0; i < WS_TEXT_BYTES; i++)
        text[i] = (unsigned char)(' ' + ((random >> 40) + i) % 95);
    memcpy(echo + WS_HEAD_BYTES, text, WS_TEXT_BYTES);
    ws_mask(text, WS_TEXT_BYTES, mask);
}

#endif
