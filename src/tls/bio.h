/* bio.h - a BIO of OpenSSL over the loop's buffers, in both directions.
 *
 *     kept, then lent --> OpenSSL reads          OpenSSL writes --> out
 *
 * OpenSSL reads ciphertext where the system call has put it, and writes
 * ciphertext where the next system call takes it: into memory that the engine
 * lends for the time of one call. At other times the BIO has memory of its
 * own, which it frees as soon as it is empty. So an idle connection has none.
 *
 * The SSL owns the BIO, and may live longer than the engine. OpenSSL calls the
 * BIO with or without the GIL, so it uses nothing of Python's.
 *
 * Invariants
 *   (1) Bytes are read in this order: kept, lent, the ssl module's MemoryBIO.
 *   (2) out_is_lent or out_room == 0 => `out` is not owned.
 */
#ifndef AL_TLS_BIO_H
#define AL_TLS_BIO_H

#include "cpython/openssl.h"

typedef struct {
    const al_openssl *openssl;
    BIO *incoming; /* owned: of the MemoryBIO for ciphertext of the peer */
    char *kept;    /* owned; NULL <=> no bytes */
    size_t kept_from;
    size_t kept_to;
    const char *lent; /* borrowed, NULL <=> no bytes */
    size_t lent_size;
    char *out;
    size_t out_size;
    size_t out_room;
    bool out_is_lent; /* `out` is borrowed */
} al_tls_bio;

/* Make a BIO and give it to `ssl`, for both directions. -> it is valid as long as the SSL is; NULL: there is no
 * memory, and nothing has changed. */
al_tls_bio *
al_tls_bio_attach(const al_openssl *openssl, SSL *ssl);

/* How many bytes OpenSSL can read, without those in the MemoryBIO. */
static inline size_t
al_tls_bio_readable(const al_tls_bio *self)
{
    return self->kept_to - self->kept_from + self->lent_size;
}

/* Lend bytes of the peer. Call al_tls_bio_keep() before the memory changes. */
static inline void
al_tls_bio_lend(al_tls_bio *self, const char *data, size_t size)
{
    self->lent = data;
    self->lent_size = size;
}

/* Copy the lent bytes that were not read. 0, or -1 without an exception if
 * there is no memory: then they are lost. */
AL_NODISCARD int
al_tls_bio_keep(al_tls_bio *self);

/* Lend memory to write to. It begins with what was written before, if there is
 * room for it; else nothing changes. */
void
al_tls_bio_lend_out(al_tls_bio *self, char *memory, size_t room);

/* Take the memory back. *size is the number of bytes written. -> false: they
 * did not fit, and are in memory of the BIO. */
bool
al_tls_bio_end_out(al_tls_bio *self, size_t *size);

/* Drop what was written. */
void
al_tls_bio_drop_out(al_tls_bio *self);

#endif
