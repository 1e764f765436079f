/* bio.c - a BIO of OpenSSL over the loop's buffers, in both directions. */
#include "tls/bio.h"

#include <stdlib.h>

#define BIO_ROOM 512 /* the least to allocate for `out` */

/* --- the bytes of the peer ------------------------------------------------ */

static void
bio_forget_kept(al_tls_bio *self)
{
    free(self->kept);
    self->kept = NULL;
    self->kept_from = self->kept_to = 0;
}

/* Append to the kept bytes: 0, or -1. */
static int
bio_keep(al_tls_bio *self, const char *data, size_t size)
{
    size_t old = self->kept_to - self->kept_from;

    if (size == 0) {
        return 0;
    }
    if (self->kept_from > 0) {
        memmove(self->kept, self->kept + self->kept_from, old);
        self->kept_from = 0;
        self->kept_to = old;
    }
    char *kept = realloc(self->kept, old + size);
    if (kept == NULL) {
        return -1;
    }
    memcpy(kept + old, data, size);
    self->kept = kept;
    self->kept_to = old + size;
    return 0;
}

int
al_tls_bio_keep(al_tls_bio *self)
{
    int rc = bio_keep(self, self->lent, self->lent_size);

    al_tls_bio_lend(self, NULL, 0);
    return rc;
}

/* Read from the kept or lent bytes. */
static size_t
bio_take(al_tls_bio *self, char *data, size_t size)
{
    if (self->kept != NULL) {
        size_t n = Py_MIN(size, self->kept_to - self->kept_from);
        memcpy(data, self->kept + self->kept_from, n);
        self->kept_from += n;
        if (self->kept_from == self->kept_to) {
            bio_forget_kept(self);
        }
        return n;
    }
    size_t n = Py_MIN(size, self->lent_size);
    if (n > 0) {
        memcpy(data, self->lent, n);
        self->lent += n;
        self->lent_size -= n;
    }
    return n;
}

/* --- the bytes for the peer ----------------------------------------------- */

/* Make room for `size` more bytes in memory of our own: 0, or -1. */
static int
bio_grow_out(al_tls_bio *self, size_t size)
{
    size_t room = Py_MAX(self->out_room * 2, self->out_size + size);
    char *old = self->out_is_lent ? NULL : self->out;

    char *out = realloc(old, Py_MAX(room, BIO_ROOM));
    if (out == NULL) {
        return -1;
    }
    if (self->out_is_lent) {
        memcpy(out, self->out, self->out_size);
    }
    self->out = out;
    self->out_room = Py_MAX(room, BIO_ROOM);
    self->out_is_lent = false;
    return 0;
}

void
al_tls_bio_lend_out(al_tls_bio *self, char *memory, size_t room)
{
    size_t size = self->out_size;

    if (size > room) {
        return;
    }
    if (size > 0) {
        memcpy(memory, self->out, size);
    }
    al_tls_bio_drop_out(self);
    self->out = memory;
    self->out_size = size;
    self->out_room = room;
    self->out_is_lent = true;
}

bool
al_tls_bio_end_out(al_tls_bio *self, size_t *size)
{
    bool fits = self->out_is_lent;

    *size = self->out_size;
    if (fits) {
        al_tls_bio_drop_out(self);
    }
    return fits;
}

void
al_tls_bio_drop_out(al_tls_bio *self)
{
    if (!self->out_is_lent) {
        free(self->out);
    }
    self->out = NULL;
    self->out_size = self->out_room = 0;
    self->out_is_lent = false;
}

/* --- what OpenSSL calls --------------------------------------------------- */

/* The methods of all BIOs of the process, and the functions that they use. The
 * methods are never freed, as a BIO may live longer than the interpreter. */
static BIO_METHOD *bio_methods;
static const al_openssl *bio_openssl;

static al_tls_bio *
bio_self(BIO *bio)
{
    return bio_openssl->BIO_get_data(bio);
}

/* Read from the ssl module's BIO, which nobody fills while we are attached. So
 * it tells what it means that there is nothing: to try again, or the end. */
static int
bio_read_incoming(al_tls_bio *self, BIO *bio, char *data, size_t size,
                  size_t *n)
{
    const al_openssl *openssl = self->openssl;

    int rc = openssl->BIO_read_ex(self->incoming, data, size, n);
    openssl->BIO_clear_flags(bio,
                             AL_BIO_FLAGS_RWS | AL_BIO_FLAGS_SHOULD_RETRY);
    openssl->BIO_set_flags(
        bio,
        openssl->BIO_test_flags(self->incoming,
                                AL_BIO_FLAGS_RWS | AL_BIO_FLAGS_SHOULD_RETRY));
    return rc;
}

static int
bio_on_read(BIO *bio, char *data, size_t size, size_t *n)
{
    al_tls_bio *self = bio_self(bio);

    *n = bio_take(self, data, size);
    return *n > 0 ? 1 : bio_read_incoming(self, bio, data, size, n);
}

static int
bio_on_write(BIO *bio, const char *data, size_t size, size_t *n)
{
    al_tls_bio *self = bio_self(bio);

    *n = 0;
    if (size > self->out_room - self->out_size && bio_grow_out(self, size) < 0)
    {
        return 0;
    }
    if (size > 0) {
        memcpy(self->out + self->out_size, data, size);
        self->out_size += size;
    }
    *n = size;
    return 1;
}

static long
bio_on_ctrl(BIO *bio, int command, long Py_UNUSED(number),
            void *Py_UNUSED(pointer))
{
    al_tls_bio *self = bio_self(bio);
    size_t readable = al_tls_bio_readable(self);

    switch (command) {
    case AL_BIO_CTRL_EOF:
        return readable == 0 &&
               self->openssl->BIO_ctrl(self->incoming, command, 0, NULL);
    case AL_BIO_CTRL_PENDING:
        return (long)readable +
               self->openssl->BIO_ctrl(self->incoming, command, 0, NULL);
    case AL_BIO_CTRL_WPENDING:
        return (long)self->out_size;
    case AL_BIO_CTRL_FLUSH:
        return 1;
    default:
        return 0;
    }
}

static int
bio_on_destroy(BIO *bio)
{
    al_tls_bio *self = bio_self(bio);

    if (self != NULL) {
        (void)self->openssl->BIO_free(self->incoming);
        bio_forget_kept(self);
        al_tls_bio_drop_out(self);
        free(self);
    }
    return 1;
}

/* --- attaching ------------------------------------------------------------ */

/* Make the methods, the first time. -> NULL if there is no memory */
static const BIO_METHOD *
bio_get_methods(const al_openssl *openssl)
{
    BIO_METHOD *methods = __atomic_load_n(&bio_methods, __ATOMIC_ACQUIRE);

    if (AL_LIKELY(methods != NULL)) {
        return methods;
    }
    int index = openssl->BIO_get_new_index();
    BIO_METHOD *made =
        index == -1 ? NULL
                    : openssl->BIO_meth_new(index | AL_BIO_TYPE_SOURCE_SINK,
                                            "asyncloop buffers");
    if (made == NULL) {
        return NULL;
    }
    (void)openssl->BIO_meth_set_read_ex(made, bio_on_read);
    (void)openssl->BIO_meth_set_write_ex(made, bio_on_write);
    (void)openssl->BIO_meth_set_ctrl(made, bio_on_ctrl);
    (void)openssl->BIO_meth_set_destroy(made, bio_on_destroy);
    __atomic_store_n(&bio_openssl, openssl, __ATOMIC_RELEASE);
    if (!__atomic_compare_exchange_n(&bio_methods, &methods, made, false,
                                     __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
    {
        openssl->BIO_meth_free(made); /* another thread was faster */
        return methods;
    }
    return made;
}

al_tls_bio *
al_tls_bio_attach(const al_openssl *openssl, SSL *ssl)
{
    const BIO_METHOD *methods = bio_get_methods(openssl);
    al_tls_bio *self = methods == NULL ? NULL : calloc(1, sizeof(*self));
    if (self == NULL) {
        return NULL;
    }
    BIO *bio = openssl->BIO_new(methods);
    if (bio == NULL) {
        free(self);
        return NULL;
    }
    self->openssl = openssl;
    self->incoming = openssl->SSL_get_rbio(ssl);
    (void)openssl->BIO_up_ref(self->incoming);
    openssl->BIO_set_data(bio, self);
    openssl->BIO_set_init(bio, 1);
    openssl->SSL_set_bio(ssl, bio, bio); /* it takes the one reference */
    return self;
}
