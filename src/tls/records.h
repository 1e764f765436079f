/* records.h - finds the ends of TLS records in a stream of ciphertext.
 *
 *     | type | version | length | body ...... | type | version | length | bo
 *     |<------------- complete -------------->|<--------- partial -------->
 *
 * If a record is not complete, OpenSSL's read fails, and the ssl module raises
 * an exception.  That is expensive if it only means that there is nothing to
 * read.  We follow the lengths of the records, and so know it before the call.
 *
 * Invariants
 *   (1) partial is the number of bytes at the end of the stream that belong to
 *       an incomplete record.  OpenSSL may have taken some of them out of the
 *       BIO already: so a BIO without a complete record has at most this many
 *       bytes.
 *   (2) is_unknown <=> the stream does not look like TLS (an SSLv2 hello, no
 *       TLS at all, or a header that no record has): then the lengths are
 *       unknown, and OpenSSL has to be called.
 */
#ifndef AL_TLS_RECORDS_H
#define AL_TLS_RECORDS_H

#include "base/state.h"

#include <stdbool.h>

#define AL_TLS_HEADER 5

/* Zeroed: the beginning of a stream. */
typedef struct {
    size_t partial;
    size_t body;     /* bytes of the body that are missing; 0 in a header */
    unsigned header; /* bytes of the header that have come; 0 in a body */
    unsigned length; /* the bytes of the length field that have come */
    bool is_unknown;
} al_tls_records;

#ifdef AL_DEBUG
void
al_tls_records_check(const al_tls_records *self);
#endif

/* Note `size` more bytes. */
void
al_tls_records_feed(al_tls_records *self, const unsigned char *data,
                    size_t size);

/* A BIO has `pending` bytes: how many of them belong to complete records. 0:
 * there is nothing to read. */
static inline size_t
al_tls_records_complete(const al_tls_records *self, size_t pending)
{
    size_t partial = self->is_unknown ? 0 : self->partial;

    return pending > partial ? pending - partial : 0;
}

#endif
