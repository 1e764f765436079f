/* records.c - finds the ends of TLS records in a stream of ciphertext. */
#include "tls/records.h"

/* The types of records: change_cipher_spec, alert, handshake,
 * application_data, heartbeat. */
#define AL_TLS_TYPE_FIRST 20
#define AL_TLS_TYPE_LAST 24
#define AL_TLS_MAJOR 3 /* of the version, from SSL 3.0 to TLS 1.3 */
/* The longest body, by TLS 1.2; later versions allow less. */
#define AL_TLS_LENGTH_MAX (16384 + 2048)

#ifdef AL_DEBUG

void
al_tls_records_check(const al_tls_records *self)
{
    if (self->is_unknown) {
        return;
    }
    if (self->body == 0) {
        AL_HOLDS(1, self->header < AL_TLS_HEADER);
        AL_HOLDS(1, self->partial == self->header);
    }
    else {
        AL_HOLDS(1, self->header == 0 && self->partial >= AL_TLS_HEADER);
    }
}

#endif

/* Note one byte of a header. */
static void
records_feed_header(al_tls_records *self, unsigned char byte)
{
    if ((self->header == 0 &&
         (byte < AL_TLS_TYPE_FIRST || byte > AL_TLS_TYPE_LAST)) ||
        (self->header == 1 && byte != AL_TLS_MAJOR))
    {
        self->is_unknown = true;
        return;
    }
    self->header++;
    self->partial++;
    if (self->header > 3) { /* the two bytes of the length */
        self->length = (self->length << 8) | byte;
    }
    if (self->header == AL_TLS_HEADER) {
        if (self->length > AL_TLS_LENGTH_MAX) {
            self->is_unknown = true; /* OpenSSL fails at once */
            return;
        }
        self->body = self->length;
        self->header = 0;
        self->length = 0;
        if (self->body == 0) {
            self->partial = 0;
        }
    }
}

void
al_tls_records_feed(al_tls_records *self, const unsigned char *data,
                    size_t size)
{
    while (size > 0 && !self->is_unknown) {
        size_t n = 1;
        if (self->body == 0) {
            records_feed_header(self, *data);
        }
        else {
            n = self->body < size ? self->body : size;
            self->body -= n;
            self->partial = self->body == 0 ? 0 : self->partial + n;
        }
        data += n;
        size -= n;
    }
}
