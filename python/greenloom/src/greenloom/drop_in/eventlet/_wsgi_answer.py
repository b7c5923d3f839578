"""Answering a request, however it was read: calls the application, sends the result, writes the log."""

import time
import traceback

import eventlet
from eventlet import greenio
from eventlet import support
from eventlet._wsgi_base import DEFAULT_LOG_FORMAT, STATE_CLOSE, WSGI_LOCAL, addr_to_host_port
from eventlet._wsgi_input import ChunkReadError
from eventlet._wsgi_response import Response


class Answering:
    """The part of :class:`eventlet.wsgi.HttpProtocol` that answers requests."""

    _asked_keep_alive = False
    _log_date = (0, "")

    def _respond(self):
        self.application = self.server.app
        self.server.outstanding_requests += 1
        try:
            self.handle_one_response()
        except OSError as error:
            if support.get_errno(error) not in eventlet.wsgi.BROKEN_SOCK:
                raise
            self.close_connection = True
        finally:
            self.server.outstanding_requests -= 1

    def handle_one_response(self):
        """Calls the application and sends what it answers."""
        environ, server = self.environ, self.server
        started = time.time() if server.log_output else 0
        # The application may replace it.
        request_input = environ["eventlet.input"]
        if server.log_x_forwarded_for:
            self._forwarded_for = environ.get("HTTP_X_FORWARDED_FOR", "")
        response = Response(self, request_input, self.protocol_version, self.command, self.capitalize_response_headers,
                            self.strict)
        result = whole = None
        try:
            try:
                result = self.application(environ, response.start)
                if request_input.wfile is None and not WSGI_LOCAL.already_handled:
                    whole = response.whole(result, self.connection_lines())
                if whole is not None:
                    self.send_bytes(whole)
                else:
                    self._answer_otherwise(response, environ, result)
            except (Exception, eventlet.Timeout) as error:
                self._fail(response, request_input, error)
            except BaseException:
                self._abandon_answer()
                raise
        finally:
            self._finish_answer(response, request_input, environ, result)
            if server.log_output:
                self._log_response(response, time.time() - started)

    # What the native part leaves, where something is out of the ordinary.

    def _answer_otherwise(self, response, environ, result):
        """Sends a result that is not simply a list of bytes."""
        minimum = environ.get("eventlet.minimum_write_chunk_size")
        response.send_result(result, self.minimum_chunk_size if minimum is None else int(minimum))

    def _answer_failed(self, response, request_input, error):
        """Answers for an application that raised ``error``; raises it again if it is no error of the application."""
        try:
            raise error
        except (Exception, eventlet.Timeout):
            self._fail(response, request_input, error)
        except BaseException:
            self._abandon_answer()
            raise
        finally:
            error = None

    def _abandon_answer(self):
        """Ends the connection with the answer: who is killed does not wait for the rest of a body."""
        self.close_connection = True
        WSGI_LOCAL.already_handled = False

    def _finish_answer(self, response, request_input, environ, result):
        """What follows an answer: leaves the connection at the end of the request, and calls hooks."""
        if hasattr(result, "close"):
            self._call_after(result.close)
        if request_input.should_send_hundred_continue or response.is_short():
            # The client may or may not send a body that it was not asked for, or waits for more of ours.
            self.close_connection = True
        if not (self.close_connection or request_input.is_read()):
            self._discard(request_input)
        for hook, args, kwargs in environ["eventlet.posthooks"]:
            self._call_after(hook, environ, *args, **kwargs)

    def _call_after(self, function, *args, **kwargs):
        """Calls what an application has left for after the answer. Nobody can be answered that it failed."""
        try:
            function(*args, **kwargs)
        except (Exception, eventlet.Timeout):
            self.close_connection = True
            self.server.log.error(traceback.format_exc())

    def _fail(self, response, request_input, error):
        """Answers for an application that raised ``error``, unless it has begun to answer by itself."""
        trace = traceback.format_exc()
        self.server.log.info(trace)
        self.close_connection = True
        if self.is_already_handled():
            return
        failure = request_input.failure
        while failure is not None and error is not None:
            if error is failure:
                # The application is not to blame, and the client cannot do anything about a traceback.
                response.fail("408 Request Timeout" if isinstance(error, TimeoutError) else "400 Bad Request")
                self._refused = True
                return
            error = error.__cause__ or error.__context__
        response.fail("500 Internal Server Error", trace.encode() if self.server.debug else b"")

    def is_already_handled(self):
        """Whether the application has answered on the socket by itself; the connection is its own then."""
        if not WSGI_LOCAL.already_handled:
            return False
        WSGI_LOCAL.already_handled = False
        self.close_connection = True
        return True

    def connection_lines(self):
        """The headers that tell the client of the connection's future, which is decided here."""
        keepalive = self.server.keepalive
        if self.close_connection or not keepalive or self.conn_state[2] == STATE_CLOSE:
            self.close_connection = True
            return b"Connection: close\r\n"
        if not self._asked_keep_alive:
            return b""
        if isinstance(keepalive, bool) or int(keepalive) == 0:
            return b"Connection: keep-alive\r\n"
        return b"Connection: keep-alive\r\nKeep-Alive: timeout=%d\r\n" % int(keepalive)

    def send_bytes(self, data):
        """Sends a part of a response."""
        self.wfile.write(data)
        self.wfile.flush()

    def plain_socket(self):
        """The socket if the kernel may write to it behind our back; None for TLS and for what somebody has wrapped."""
        return self.connection if self._is_fast and type(self.connection) is greenio.GreenSocket else None

    def _discard(self, request_input):
        """Reads the rest of a body, to get to the next request."""
        try:
            request_input.discard()
        except (ChunkReadError, OSError) as error:
            self.close_connection = True
            self.server.log.error('{} error while discarding request body. client={} request="{}" error="{}"'.format(
                "chunked encoding" if isinstance(error, ChunkReadError) else "I/O",
                self.get_client_address()[0], self.requestline, error))

    # The log.

    def get_client_address(self):
        """The client's host, behind those that proxies name if the server logs them, and its port."""
        host, port = addr_to_host_port(self.client_address)
        if self.server.log_x_forwarded_for:
            forwarded = self._forwarded_for if self._is_fast else self.headers.get("X-Forwarded-For", "")
            if forwarded:
                host = forwarded.replace(" ", "") + "," + host
        return host, port

    def log_date_time_string(self):
        """The present second as the log has it."""
        second = int(time.time())
        if Answering._log_date[0] != second:
            Answering._log_date = (second, super().log_date_time_string())
        return Answering._log_date[1]

    def _log_response(self, response, seconds):
        server = self.server
        host, port = self.get_client_address()
        date_time = self.log_date_time_string()
        if server.log_format is DEFAULT_LOG_FORMAT:
            server.log.info(f'{host} - - [{date_time}] "{self.requestline}" '
                            f"{response.code} {response.length} {seconds:.6f}")
            return
        server.log.info(server.log_format % {
            "client_ip": host,
            "client_port": port,
            "date_time": date_time,
            "request_line": self.requestline,
            "status_code": response.code,
            "body_length": response.length,
            "wall_seconds": seconds,
        })
