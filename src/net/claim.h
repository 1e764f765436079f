/* claim.h - which transport of a loop has a descriptor's number.
 *
 * A loop knows descriptors by their numbers. One that is opened anew may have
 * the number of a transport whose file the program has closed behind its
 * back: that transport has to give way. */
#ifndef AL_NET_CLAIM_H
#define AL_NET_CLAIM_H

#include "net/transport.h"

/* To be called before `fd` is watched for somebody: a transport that has the
 * number, but not the file, ends with OSError(EBADF). `just_opened`: the kernel
 * has just opened fd, so whoever had the number before has lost the file.
 * 0, or -1 with an exception set that ends the run. */
AL_NODISCARD int
al_claim_number(al_loop_head *loop, int fd, bool just_opened);

/* claim_number() for add_reader() and its like, then
 * al_fdwatch_check_free(). */
AL_NODISCARD int
al_claim_check_free(al_loop_head *loop, int fd, PyObject *fileobj);

/* What get_extra_info("socket") returns: an asyncloop._socket.TransportSocket
 * around the socket object. -> new reference, or NULL with an exception set. */
AL_NODISCARD PyObject *
al_claim_show_socket(TransportObject *transport);

/* Methods of the transports that have a socket. The socket object that
 * get_extra_info("socket") returns calls the first before it tells a number
 * or hands out the socket; the loop calls the second for a socket that it has
 * made and not shown to anybody: it is trusted if nobody else has it. */
PyObject *
al_claim_py_show_number(PyObject *op, PyObject *ignored);
PyObject *
al_claim_py_trust_number(PyObject *op, PyObject *ignored);

/* For sendfile(): the number, -1 if the descriptor is not ours any more. */
PyObject *
al_claim_py_own_number(PyObject *op, PyObject *ignored);

#endif
