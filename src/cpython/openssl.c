/* openssl.c - finds the OpenSSL of the ssl module, and the SSL of an object.
 *
 *     asyncloop/_layout.py --> a specimen: context, two BIOs, SSLObject
 *                                 | its fields are the objects that we know
 *     file of _ssl --> dlsym() ---+ and OpenSSL itself confirms the pointers
 *                                 v
 *                        state->layout.openssl
 *
 * The functions are looked up from the file of _ssl, which is loaded already,
 * and the libraries that it needs.  Another OpenSSL of the process might come
 * first for _ssl, but not for us.  Two addresses that only one library has
 * tell whether it is the same: the methods of a BIO in memory (libcrypto), and
 * those of a client's SSL (libssl).
 */
#include "cpython/openssl.h"

#include <dlfcn.h>

/* The versions whose documentation was read. */
#define OPENSSL_IS_LISTED(number)                                             \
    ((number) >= 0x1010100FUL && (number) < 0x40000000UL)

/* The functions that all interpreters of the process use; written once. */
static const al_openssl *openssl_shared;

/* Look up all functions. -> whether all of them exist */
static bool
openssl_load(al_openssl *functions, const char *file)
{
    /* The handle is kept: the functions must stay. */
    void *handle = dlopen(file, RTLD_LAZY | RTLD_NOLOAD);
    if (handle == NULL) {
        return false;
    }
#define X(result, name, parameters)                                           \
    *(void **)&functions->name = dlsym(handle, #name);                        \
    if (functions->name == NULL) {                                            \
        dlclose(handle);                                                      \
        return false;                                                         \
    }
    AL_OPENSSL_FUNCTIONS(X)
#undef X
    return true;
}

/* Whether a pointer can be one of OpenSSL to an object. */
static bool
openssl_is_pointer(const void *pointer)
{
    return pointer != NULL && (uintptr_t)pointer % sizeof(void *) == 0;
}

/* Whether a BIO is one in memory, of this library: its first or second field
 * points to its methods. */
static bool
openssl_is_memory(const al_openssl *functions, const BIO *bio)
{
    const void *const *fields = (const void *const *)bio;
    const void *methods = functions->BIO_s_mem();

    return fields[0] == methods || fields[1] == methods;
}

/* The specimen, of whose objects all are borrowed. */
typedef struct {
    const char *file; /* of _ssl */
    const char *version;
    al_ssl_context *context;
    al_ssl_bio *incoming;
    al_ssl_bio *outgoing;
    PyObject *sslobject;
    al_ssl_socket *sslsocket;
    PyObject *server_hostname;
} openssl_specimen;

/* Whether the fields of the specimen are what they should be. */
static bool
openssl_check_fields(const openssl_specimen *found)
{
    const al_ssl_socket *sslsocket = found->sslsocket;
    const size_t sizes[][2] = {
        {(size_t)Py_TYPE(sslsocket)->tp_basicsize, sizeof(al_ssl_socket)},
        {(size_t)Py_TYPE(found->context)->tp_basicsize,
         sizeof(al_ssl_context)},
        {(size_t)Py_TYPE(found->incoming)->tp_basicsize, sizeof(al_ssl_bio)},
    };

    for (size_t i = 0; i < Py_ARRAY_LENGTH(sizes); i++) {
        if (sizes[i][0] < sizes[i][1]) {
            return false;
        }
    }
    /* Who asks for a weak reference without a callback gets the same one. */
    PyObject *owner = PyWeakref_NewRef(found->sslobject, NULL);
    Py_XDECREF(owner);
    return owner != NULL && sslsocket->owner == owner &&
           sslsocket->socket == NULL &&
           sslsocket->context == (PyObject *)found->context &&
           sslsocket->shutdown_seen_zero == 0 && sslsocket->is_server == 0 &&
           sslsocket->server_hostname == found->server_hostname &&
           openssl_is_pointer(sslsocket->ssl) &&
           openssl_is_pointer(found->context->ctx) &&
           openssl_is_pointer(found->incoming->bio) &&
           openssl_is_pointer(found->outgoing->bio);
}

/* Whether the functions are those of the library that made the specimen. */
static bool
openssl_check_library(const al_openssl *functions,
                      const openssl_specimen *found)
{
    const SSL *ssl = found->sslsocket->ssl;

    return strncmp(found->version, "OpenSSL ", strlen("OpenSSL ")) == 0 &&
           strcmp(found->version, functions->OpenSSL_version(0)) == 0 &&
           OPENSSL_IS_LISTED(functions->OpenSSL_version_num()) &&
           openssl_is_memory(functions, found->incoming->bio) &&
           openssl_is_memory(functions, found->outgoing->bio) &&
           functions->SSL_get_ssl_method(ssl) ==
               functions->TLS_client_method() &&
           functions->SSL_get_SSL_CTX(ssl) == found->context->ctx &&
           functions->SSL_get_rbio(ssl) == found->incoming->bio &&
           functions->SSL_get_wbio(ssl) == found->outgoing->bio;
}

/* -> the functions for all interpreters, or NULL if there is no memory */
static const al_openssl *
openssl_share(const al_openssl *functions)
{
    const al_openssl *shared =
        __atomic_load_n(&openssl_shared, __ATOMIC_ACQUIRE);
    if (shared != NULL) {
        return shared;
    }
    al_openssl *copy = malloc(sizeof(*copy));
    if (copy == NULL) {
        return NULL;
    }
    *copy = *functions;
    if (!__atomic_compare_exchange_n(&openssl_shared, &shared, copy, false,
                                     __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
    {
        free(copy); /* another thread was faster */
        return shared;
    }
    return copy;
}

/* Learn from a specimen, a tuple of make_ssl_object(). -> NULL if something is
 * unknown; there may be an exception. */
static const al_openssl *
openssl_learn_from(al_state *state, PyObject *specimen)
{
    openssl_specimen found;
    al_openssl functions;

    if (!PyArg_ParseTuple(specimen, "ysOOOOOO", &found.file, &found.version,
                          &found.context, &found.incoming, &found.outgoing,
                          &found.sslobject, &found.sslsocket,
                          &found.server_hostname) ||
        !openssl_check_fields(&found) ||
        !openssl_load(&functions, found.file) ||
        !openssl_check_library(&functions, &found))
    {
        return NULL;
    }
    Py_XSETREF(state->tls_SSLSocket,
               (PyTypeObject *)Py_NewRef(Py_TYPE(found.sslsocket)));
    Py_XSETREF(state->tls_MemoryBIO,
               (PyTypeObject *)Py_NewRef(Py_TYPE(found.incoming)));
    return openssl_share(&functions);
}

/* -> NULL without an exception if something is unknown. */
static const al_openssl *
openssl_learn(al_state *state)
{
    const al_openssl *found = NULL;
    const char *wanted = Py_GETENV("ASYNCLOOP_TLS_ENGINE");

    if (!state->layout.is_allowed ||
        (wanted != NULL && strcmp(wanted, "ssl") == 0))
    {
        return NULL;
    }
    PyObject *helper = PyImport_ImportModule("asyncloop._layout");
    PyObject *specimen =
        helper == NULL ? NULL
                       : PyObject_CallMethod(helper, "make_ssl_object", NULL);
    if (specimen != NULL && PyTuple_Check(specimen)) {
        found = openssl_learn_from(state, specimen);
    }
    Py_XDECREF(specimen);
    Py_XDECREF(helper);
    PyErr_Clear();
    return found;
}

const al_openssl *
al_openssl_get(al_state *state)
{
    if (AL_UNLIKELY(!AL_LOAD(state->layout.openssl_is_learned))) {
        PyObject *exc = PyErr_GetRaisedException();
        AL_LOCK((PyObject *)state->SSLProtocolType);
        const al_openssl *found = openssl_learn(state);
        AL_STORE(state->layout.openssl, found);
        AL_STORE(state->layout.openssl_is_learned, true);
        AL_UNLOCK();
        PyErr_SetRaisedException(exc);
    }
    return AL_LOAD(state->layout.openssl);
}

SSL *
al_openssl_find_ssl(al_state *state, PyObject *sslsocket, PyObject *incoming,
                    PyObject *outgoing)
{
    const al_openssl *openssl = al_openssl_get(state);

    if (openssl == NULL || Py_TYPE(sslsocket) != state->tls_SSLSocket ||
        Py_TYPE(incoming) != state->tls_MemoryBIO ||
        Py_TYPE(outgoing) != state->tls_MemoryBIO)
    {
        return NULL;
    }
    SSL *ssl = ((al_ssl_socket *)sslsocket)->ssl;
    BIO *in = ((al_ssl_bio *)incoming)->bio;
    BIO *out = ((al_ssl_bio *)outgoing)->bio;
    return openssl->SSL_get_rbio(ssl) == in &&
                   openssl->SSL_get_wbio(ssl) == out &&
                   openssl->BIO_ctrl(out, AL_BIO_CTRL_PENDING, 0, NULL) == 0
               ? ssl
               : NULL;
}

PyObject *
al_openssl_py_engine(PyObject *module, PyObject *args)
{
    al_state *state = al_state_from_module(module);
    const char *name = NULL;

    if (!PyArg_ParseTuple(args, "|z:_tls_engine", &name)) {
        return NULL;
    }
    const al_openssl *openssl = al_openssl_get(state);
    if (name != NULL && strcmp(name, "ssl") == 0) {
        openssl = NULL;
    }
    else if (name != NULL && strcmp(name, "openssl") == 0) {
        openssl = state->tls_SSLSocket == NULL
                      ? NULL
                      : __atomic_load_n(&openssl_shared, __ATOMIC_ACQUIRE);
    }
    AL_STORE(state->layout.openssl, openssl);
    return PyUnicode_FromString(openssl == NULL ? "ssl" : "openssl");
}
