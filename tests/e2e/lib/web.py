"""HTTP/1.1 in the raw: what came, when, and whether it was whole."""
import socket
import ssl
import time


class Reply:
    """An answer as a client on the wire sees it."""

    def __init__(self):
        self.status = None
        self.headers = []
        self.is_whole = False  # the framing's own end was reached
        self.pieces = []       # (seconds since the request, bytes)

    @property
    def body(self):
        return b"".join(piece for _, piece in self.pieces)

    def header(self, name):
        found = [v for k, v in self.headers if k.lower() == name.lower()]
        return found[0] if found else None

    def all(self, name):
        return [v for k, v in self.headers if k.lower() == name.lower()]

    @property
    def text(self):
        return self.body.decode("utf-8", "replace")

    def __repr__(self):
        return (f"<Reply {self.status} whole={self.is_whole} "
                f"{self.headers} {self.body[:200]!r}>")


def _trusting():
    """TLS that believes every certificate."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


class Client:
    """One connection to a web server."""

    def __init__(self, port, timeout=30, receive_buffer=None, is_tls=False):
        self.sock = socket.socket()
        if receive_buffer:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF,
                                 receive_buffer)
        self.sock.settimeout(timeout)
        self.sock.connect(("127.0.0.1", port))
        if is_tls:
            self.sock = _trusting().wrap_socket(self.sock,
                                                server_hostname="localhost")
        self.pending = b""
        self.started = time.monotonic()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.sock.close()

    def send(self, data):
        self.sock.sendall(data)

    def ask(self, path, method="GET", headers=(), body=None):
        lines = [f"{method} {path} HTTP/1.1", "Host: localhost"]
        lines += [f"{name}: {value}" for name, value in headers]
        if body is not None:
            lines.append(f"Content-Length: {len(body)}")
        self.started = time.monotonic()
        self.send("\r\n".join(lines).encode() + b"\r\n\r\n" + (body or b""))
        return self

    def send_chunk(self, data):
        self.send(b"%x\r\n" % len(data) + data + b"\r\n")

    def _more(self):
        data = self.sock.recv(65536)
        self.pending += data
        return data

    def _line(self):
        while b"\r\n" not in self.pending:
            if not self._more():
                return None
        line, _, self.pending = self.pending.partition(b"\r\n")
        return line

    def read_head(self, reply=None):
        reply = reply or Reply()
        line = self._line()
        if line is None:
            return reply
        reply.status = int(line.split()[1])
        while True:
            line = self._line()
            if line is None:
                return reply
            if not line:
                break
            name, _, value = line.decode("latin-1").partition(":")
            reply.headers.append((name.strip(), value.strip()))
        if reply.status in (100, 103):
            reply.headers = []
            return self.read_head(reply)
        return reply

    def _take(self, reply, limit):
        """Takes up to limit bytes of body; False at the end of the stream."""
        if not self.pending and not self._more():
            return 0
        piece = self.pending[:limit]
        self.pending = self.pending[limit:]
        reply.pieces.append((time.monotonic() - self.started, piece))
        return len(piece)

    def _exactly(self, reply, n):
        while n > 0:
            got = self._take(reply, n)
            if not got:
                return False
            n -= got
        return True

    def read(self, method="GET"):
        """The whole answer, or what came of it."""
        reply = self.read_head()
        if reply.status is None:
            return reply
        length = reply.header("Content-Length")
        if method == "HEAD" or reply.status in (204, 304):
            reply.is_whole = True
        elif "chunked" in (reply.header("Transfer-Encoding") or ""):
            reply.is_whole = self._read_chunks(reply)
        elif length is not None:
            reply.is_whole = self._exactly(reply, int(length))
        else:
            while self._take(reply, 1 << 20):
                pass
            reply.is_whole = None  # such an end says nothing
        return reply

    def _read_chunks(self, reply):
        while True:
            line = self._line()
            if line is None:
                return False
            size = int(line.split(b";")[0], 16)
            if size == 0:
                return self._line() == b""
            if not self._exactly(reply, size) or self._line() != b"":
                return False


def get(port, path, method="GET", headers=(), body=None, timeout=30,
        is_tls=False):
    """One request on a connection of its own."""
    with Client(port, timeout, is_tls=is_tls) as client:
        try:
            return client.ask(path, method, [*headers, ("Connection", "close")],
                              body).read(method)
        except ConnectionResetError:
            return Reply()
