/* openssl.h - the OpenSSL of the ssl module, and the structs of its objects.
 *
 * The ssl module has no C API. Its objects are found by the structs here, and
 * OpenSSL's functions in the very library that _ssl has loaded. So one library
 * works on one connection, whoever calls it. Both are learned when the first
 * TLS connection is made; docs/cpython.md says how. */
#ifndef AL_CPYTHON_OPENSSL_H
#define AL_CPYTHON_OPENSSL_H

#include "base/state.h"

typedef struct ssl_st SSL;
typedef struct ssl_ctx_st SSL_CTX;
typedef struct ssl_method_st SSL_METHOD;
typedef struct bio_st BIO;
typedef struct bio_method_st BIO_METHOD;

/* What we call, with the signatures of OpenSSL 1.1.1 to 3.6:
 * X(result, name, parameters). */
#define AL_OPENSSL_FUNCTIONS(X)                                               \
    X(const char *, OpenSSL_version, (int))                                   \
    X(unsigned long, OpenSSL_version_num, (void))                             \
    X(unsigned long, ERR_peek_error, (void))                                  \
    X(void, ERR_clear_error, (void))                                          \
    X(const SSL_METHOD *, TLS_client_method, (void))                          \
    X(const SSL_METHOD *, SSL_get_ssl_method, (const SSL *))                  \
    X(SSL_CTX *, SSL_get_SSL_CTX, (const SSL *))                              \
    X(BIO *, SSL_get_rbio, (const SSL *))                                     \
    X(BIO *, SSL_get_wbio, (const SSL *))                                     \
    X(void, SSL_set_bio, (SSL *, BIO *, BIO *))                               \
    X(int, SSL_read_ex, (SSL *, void *, size_t, size_t *))                    \
    X(int, SSL_write_ex, (SSL *, const void *, size_t, size_t *))             \
    X(int, SSL_get_error, (const SSL *, int))                                 \
    X(int, SSL_get_shutdown, (const SSL *))                                   \
    X(const BIO_METHOD *, BIO_s_mem, (void))                                  \
    X(BIO *, BIO_new, (const BIO_METHOD *))                                   \
    X(int, BIO_free, (BIO *))                                                 \
    X(int, BIO_up_ref, (BIO *))                                               \
    X(int, BIO_read_ex, (BIO *, void *, size_t, size_t *))                    \
    X(long, BIO_ctrl, (BIO *, int, long, void *))                             \
    X(void, BIO_set_data, (BIO *, void *))                                    \
    X(void *, BIO_get_data, (BIO *))                                          \
    X(void, BIO_set_init, (BIO *, int))                                       \
    X(void, BIO_set_flags, (BIO *, int))                                      \
    X(void, BIO_clear_flags, (BIO *, int))                                    \
    X(int, BIO_test_flags, (const BIO *, int))                                \
    X(int, BIO_get_new_index, (void))                                         \
    X(BIO_METHOD *, BIO_meth_new, (int, const char *))                        \
    X(void, BIO_meth_free, (BIO_METHOD *))                                    \
    X(int, BIO_meth_set_read_ex,                                              \
      (BIO_METHOD *, int (*)(BIO *, char *, size_t, size_t *)))               \
    X(int, BIO_meth_set_write_ex,                                             \
      (BIO_METHOD *, int (*)(BIO *, const char *, size_t, size_t *)))         \
    X(int, BIO_meth_set_ctrl,                                                 \
      (BIO_METHOD *, long (*)(BIO *, int, long, void *)))                     \
    X(int, BIO_meth_set_destroy, (BIO_METHOD *, int (*)(BIO *)))

/* Results of SSL_get_error(), and a bit of SSL_get_shutdown(). */
#define AL_SSL_ERROR_WANT_READ 2
#define AL_SSL_ERROR_ZERO_RETURN 6
#define AL_SSL_RECEIVED_SHUTDOWN 2

/* Commands of BIO_ctrl(), flags and the kind of a BIO. */
#define AL_BIO_CTRL_RESET 1
#define AL_BIO_CTRL_EOF 2
#define AL_BIO_CTRL_PENDING 10
#define AL_BIO_CTRL_FLUSH 11
#define AL_BIO_CTRL_WPENDING 13
#define AL_BIO_FLAGS_RWS 0x07
#define AL_BIO_FLAGS_SHOULD_RETRY 0x08
#define AL_BIO_FLAGS_READ 0x01
#define AL_BIO_TYPE_SOURCE_SINK 0x0400

typedef struct al_openssl {
#define X(result, name, parameters) result(*name) parameters;
    AL_OPENSSL_FUNCTIONS(X)
#undef X
} al_openssl;

/* The first fields of _ssl._SSLSocket, the C object inside of an SSLObject. */
typedef struct {
    PyObject_HEAD
    PyObject *socket; /* NULL: it has BIOs */
    SSL *ssl;         /* owned */
    PyObject *context;
    char shutdown_seen_zero;
    int is_server;
    PyObject *owner; /* weak reference to the SSLObject */
    PyObject *server_hostname;
} al_ssl_socket;

/* Those of _ssl._SSLContext. */
typedef struct {
    PyObject_HEAD
    SSL_CTX *ctx; /* owned */
} al_ssl_context;

/* Those of ssl.MemoryBIO. */
typedef struct {
    PyObject_HEAD
    BIO *bio; /* owned */
} al_ssl_bio;

/* The functions of the ssl module's OpenSSL, learned by the first call. ->
 * NULL without an exception: the ssl module's own methods have to do. */
const al_openssl *
al_openssl_get(al_state *state);

/* The `SSL *` of an SSLObject's C object and BIOs. -> NULL without an
 * exception: they are not as known, or `outgoing` is not empty. */
SSL *
al_openssl_find_ssl(al_state *state, PyObject *sslsocket, PyObject *incoming,
                    PyObject *outgoing);

/* _core._tls_engine(name=None): which of the two engines new TLS connections
 * have, "openssl" or "ssl". With a name, choose it, if it is known; for
 * tests. */
PyObject *
al_openssl_py_engine(PyObject *module, PyObject *args);

#endif
