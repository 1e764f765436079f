/* names.h - the interned strings that the C code looks up or passes on.
 *
 * AL_NAMES(X) calls X(name) once for each; the module state owns them as
 * state->names.name. */
#ifndef AL_BASE_NAMES_H
#define AL_BASE_NAMES_H

#define AL_NAMES(X)                                                           \
    X(_ensure_resolved)                                                       \
    X(__await__)                                                              \
    X(__name__)                                                               \
    X(_ssl_protocol)                                                          \
    X(_write_appdata)                                                         \
    X(_control_app_writing)                                                   \
    X(_control_ssl_reading)                                                   \
    X(_call_eof_received)                                                     \
    X(_start_shutdown)                                                        \
    X(_do_read)                                                               \
    X(_do_write)                                                              \
    X(_do_handshake)                                                          \
    X(_do_flush)                                                              \
    X(_do_shutdown)                                                           \
    X(write)                                                                  \
    X(writelines)                                                             \
    X(_on_handshake_complete)                                                 \
    X(_set_state)                                                             \
    X(accept)                                                                 \
    X(connect)                                                                \
    X(debug)                                                                  \
    X(_repr_info)                                                             \
    X(_check_thread)                                                          \
    X(_check_callback)                                                        \
    X(_asyncio_future_blocking)                                               \
    X(_detach)                                                                \
    X(_attach)                                                                \
    X(_fut_waiter)                                                            \
    X(_loop)                                                                  \
    X(_cancel_message)                                                        \
    X(_source_traceback)                                                      \
    X(add_done_callback)                                                      \
    X(buffer_updated)                                                         \
    X(call_at)                                                                \
    X(call_exception_handler)                                                 \
    X(call_later)                                                             \
    X(call_soon)                                                              \
    X(call_soon_threadsafe)                                                   \
    X(cancel)                                                                 \
    X(close)                                                                  \
    X(connection_lost)                                                        \
    X(connection_made)                                                        \
    X(context)                                                                \
    X(create_future)                                                          \
    X(create_task)                                                            \
    X(data_received)                                                          \
    X(datagram_received)                                                      \
    X(done)                                                                   \
    X(eager_start)                                                            \
    X(eof_received)                                                           \
    X(error_received)                                                         \
    X(exception)                                                              \
    X(family)                                                                 \
    X(fileno)                                                                 \
    X(future)                                                                 \
    X(get_buffer)                                                             \
    X(get_debug)                                                              \
    X(get_loop)                                                               \
    X(getsockopt)                                                             \
    X(gettimeout)                                                             \
    X(handle)                                                                 \
    X(is_closing)                                                             \
    X(loop)                                                                   \
    X(message)                                                                \
    X(name)                                                                   \
    X(pause_writing)                                                          \
    X(pending)                                                                \
    X(peername)                                                               \
    X(proto)                                                                  \
    X(protocol)                                                               \
    X(recv)                                                                   \
    X(recv_into)                                                              \
    X(recvfrom)                                                               \
    X(recvfrom_into)                                                          \
    X(resume_writing)                                                         \
    X(send)                                                                   \
    X(sendto)                                                                 \
    X(set_name)                                                               \
    X(setblocking)                                                            \
    X(socket)                                                                 \
    X(sockname)                                                               \
    X(source_traceback)                                                       \
    X(task)                                                                   \
    X(throw)                                                                  \
    X(time)                                                                   \
    X(transport)                                                              \
    X(type)                                                                   \
    X(value)

#endif
