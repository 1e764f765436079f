/* claim.h - ends a transport whose descriptor number another file has got.
 *
 * A loop knows descriptors by their numbers.  The program may close the file
 * of a transport, and a new file then gets its number.  Before the loop
 * watches the new file, the old transport has to end. */
#ifndef AL_NET_CLAIM_H
#define AL_NET_CLAIM_H

#include "net/transport.h"

/* Call this before `fd` is watched. A transport that has the number, but whose
 * file is gone, ends with OSError(EBADF). `just_opened`: the kernel has just
 * returned fd, so the file of any transport with this number is gone.
 * 0, or -1 with an exception set that ends the run. */
AL_NODISCARD int
al_claim_number(al_loop_head *loop, int fd, bool just_opened);

/* al_claim_number(), then al_fdwatch_check_free(): for add_reader() and its
 * like. */
AL_NODISCARD int
al_claim_check_free(al_loop_head *loop, int fd, PyObject *fileobj);

/* What get_extra_info("socket") returns: an asyncloop._socket.TransportSocket
 * around the socket object. -> new reference, or NULL with an exception
 * set. */
AL_NODISCARD PyObject *
al_claim_show_socket(TransportObject *transport);

/* Methods of the transports that have a socket. The object that
 * get_extra_info("socket") returns calls the first one before it gives the
 * number or the socket to the program. The loop calls the second one for a
 * socket that it has made itself: the descriptor is PRIVATE if nobody else has
 * the socket. */
AL_METHOD(al_claim_py_show_number);
AL_METHOD(al_claim_py_trust_number);

/* For sendfile(): the number, or -1 if it does not name our file any more. */
AL_METHOD(al_claim_py_own_number);

#endif
