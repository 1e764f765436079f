/* records.h - where TLS records end in a stream of ciphertext.
 *
 *     | type | version | length | body ...... | type | version | length | bo
 *     |<------------- complete -------------->|<--------- partial -------->
 *
 * OpenSSL tells that a record is not complete by an error, which the ssl
 * module makes an exception of: dear, if all it says is that there is nothing
 * to read.  Following the lengths says it beforehand.
 *
 * Invariants
 *   (1) partial is the number of bytes, at the end of what came so far, that
 *       belong to a record which is not complete.  OpenSSL may have taken
 *       some of them already: its BIO holds at most so many if it holds no
 *       complete record.
 *   (2) is_lost <=> what came does not look like TLS (an SSLv2 hello, no TLS
 *       at all, or a header that no record has): nothing is known any more,
 *       and OpenSSL has to be asked.
 */
#ifndef AL_TLS_RECORDS_H
#define AL_TLS_RECORDS_H

#include "base/state.h"

#include <stdbool.h>

#define AL_TLS_HEADER 5

/* All zero is the beginning of a stream. */
typedef struct {
    size_t partial;
    size_t body; /* bytes that its body still lacks, once its header is in */
    unsigned header; /* bytes of the header that have come; 0 in a body */
    unsigned length; /* of the body, as far as it has come */
    bool is_lost;
} al_tls_records;

/* Note `size` more bytes. */
void
al_tls_records_feed(al_tls_records *self, const unsigned char *data,
                    size_t size);

/* How many of the `pending` bytes of the stream that a BIO holds belong to
 * complete records, as far as is known: if none, there is nothing to read. */
static inline size_t
al_tls_records_complete(const al_tls_records *self, size_t pending)
{
    size_t partial = self->is_lost ? 0 : self->partial;

    return pending > partial ? pending - partial : 0;
}

#endif
