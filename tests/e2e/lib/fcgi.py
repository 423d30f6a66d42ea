"""A FastCGI client that can misbehave.

It speaks FastCGI 1.0 over a Unix socket in raw records, so that a test decides
how bytes are cut, what is left out, and how slowly an answer is read.
"""
import fcntl
import socket
import struct
import termios
import time

BEGIN, ABORT, END, PARAMS, STDIN, STDOUT, STDERR, DATA = range(1, 9)
GET_VALUES, GET_VALUES_RESULT, UNKNOWN_TYPE = 9, 10, 11
RESPONDER, AUTHORIZER, FILTER = 1, 2, 3
KEEP_CONN = 1
REQUEST_COMPLETE, CANT_MPX_CONN, OVERLOADED, UNKNOWN_ROLE = range(4)


def record(kind, request_id, content=b"", padding=0, version=1):
    """One record, as given: nothing is checked or cut."""
    return struct.pack("!BBHHBB", version, kind, request_id, len(content),
                       padding, 0) + content + b"\0" * padding


def stream(kind, request_id, data, chunk=65535, end=True):
    """A stream as records of at most `chunk` bytes, and its empty end."""
    out = [record(kind, request_id, data[i:i + chunk])
           for i in range(0, len(data), chunk)]
    if end:
        out.append(record(kind, request_id))
    return b"".join(out)


def between(data, more):
    """The records of `data` with `more` before, between and behind them."""
    out, at = [more], 0
    while at < len(data):
        _, _, _, length, padding, _ = struct.unpack("!BBHHBB",
                                                    data[at:at + 8])
        out += [data[at:at + 8 + length + padding], more]
        at += 8 + length + padding
    return b"".join(out)


def begin(request_id=1, role=RESPONDER, flags=0):
    return record(BEGIN, request_id, struct.pack("!HB5x", role, flags))


def _length(n):
    return bytes([n]) if n < 128 else struct.pack("!I", n | 0x80000000)


def pairs(params):
    """Name-value pairs; params is a dict or a list of (name, value)."""
    items = params.items() if isinstance(params, dict) else params
    out = []
    for name, value in items:
        name = name.encode() if isinstance(name, str) else name
        value = value.encode() if isinstance(value, str) else value
        out.append(_length(len(name)) + _length(len(value)) + name + value)
    return b"".join(out)


def read_pairs(data):
    out, at = {}, 0

    def take_length():
        nonlocal at
        n = data[at]
        if n & 0x80:
            n = struct.unpack("!I", data[at:at + 4])[0] & 0x7fffffff
            at += 4
        else:
            at += 1
        return n

    while at < len(data):
        name_length = take_length()
        value_length = take_length()
        out[data[at:at + name_length]] = \
            data[at + name_length:at + name_length + value_length]
        at += name_length + value_length
    return out


def request_params(url, method="GET", length=None, **extra):
    """The params that a web server would send for a URL."""
    path, _, query = url.partition("?")
    params = {
        "GATEWAY_INTERFACE": "CGI/1.1", "SERVER_SOFTWARE": "test",
        "SERVER_PROTOCOL": "HTTP/1.1", "SERVER_NAME": "localhost",
        "SERVER_PORT": "80", "SERVER_ADDR": "127.0.0.1",
        "REMOTE_ADDR": "127.0.0.1", "REMOTE_PORT": "1234",
        "REQUEST_METHOD": method, "REQUEST_URI": url, "DOCUMENT_URI": path,
        "SCRIPT_NAME": path, "QUERY_STRING": query,
        "CONTENT_LENGTH": "" if length is None else str(length),
        "CONTENT_TYPE": "", "DOCUMENT_ROOT": "/nowhere",
    }
    params.update(extra)
    return params


def request_bytes(url, body=b"", request_id=1, flags=0, method=None,
                  role=RESPONDER, **extra):
    """A whole request: BEGIN, PARAMS, STDIN."""
    method = method or ("POST" if body else "GET")
    params = request_params(url, method, len(body) if body else None, **extra)
    return (begin(request_id, role, flags) +
            stream(PARAMS, request_id, pairs(params)) +
            stream(STDIN, request_id, body))


class Answer:
    """What came back for one request."""

    def __init__(self):
        self.stdout = b""
        self.stderr = b""
        self.is_complete = False  # END_REQUEST was seen
        self.app_status = None
        self.protocol_status = None
        self.stdout_ended = False
        self.is_cut = False  # the host said that it stops in the middle
        self.end_time = None

    @property
    def head(self):
        text = self.stdout.partition(b"\r\n\r\n")[0]
        return [tuple(part.strip() for part in line.split(":", 1))
                for line in text.decode("latin-1").split("\r\n") if ":" in line]

    def header(self, name):
        found = [v for k, v in self.head if k.lower() == name.lower()]
        return found[0] if found else None

    @property
    def status(self):
        text = self.header("Status")
        return int(text.split()[0]) if text else 200

    @property
    def body(self):
        return self.stdout.partition(b"\r\n\r\n")[2]

    @property
    def text(self):
        return self.body.decode("utf-8", "replace")

    def __repr__(self):
        return (f"<Answer complete={self.is_complete} "
                f"protocol={self.protocol_status} app={self.app_status} "
                f"out={self.stdout[:300]!r} err={self.stderr[:200]!r}>")


class Connection:
    """One connection to a FastCGI server."""

    def __init__(self, address, timeout=60):
        family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
        self.sock = socket.socket(family, socket.SOCK_STREAM)
        self.sock.settimeout(timeout)
        self.sock.connect(address)
        self.pending = b""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.sock.close()

    def send(self, data):
        self.sock.sendall(data)

    def send_split(self, data, pause=0.0, size=1):
        """Sends in pieces of `size` bytes."""
        for at in range(0, len(data), size):
            self.sock.sendall(data[at:at + size])
            if pause:
                time.sleep(pause)

    def wait_taken(self, timeout=30):
        """Until the peer has read all that was sent to it."""
        until = time.monotonic() + timeout
        left = bytearray(4)
        while fcntl.ioctl(self.sock, termios.TIOCOUTQ, left) == 0 and \
                any(left):
            assert time.monotonic() < until, "nobody reads it"
            time.sleep(0.002)

    def _need(self, n):
        while len(self.pending) < n:
            more = self.sock.recv(65536)
            if not more:
                return False
            self.pending += more
        return True

    def count_waiting(self):
        """Bytes that have come and are not read."""
        return struct.unpack("i", fcntl.ioctl(self.sock, termios.FIONREAD,
                                              b"\0" * 4))[0]

    def take(self, size):
        """Reads some bytes, at most so many, for read_answer()."""
        self.pending += self.sock.recv(size)

    def read_record(self):
        """(type, id, content), or None at the end of the connection."""
        if not self._need(8):
            return None
        version, kind, request_id, length, padding, reserved = \
            struct.unpack("!BBHHBB", self.pending[:8])
        assert version == 1, f"version {version} in {self.pending[:16]!r}"
        assert reserved == 0, f"reserved byte in {self.pending[:16]!r}"
        if not self._need(8 + length + padding):
            return None
        content = self.pending[8:8 + length]
        assert not any(self.pending[8 + length:8 + length + padding]), \
            "padding is not zero"
        self.pending = self.pending[8 + length + padding:]
        return kind, request_id, content

    def read_answer(self, request_id=1, answer=None, stop=None):
        """Reads until END_REQUEST, the end, or stop(answer) is true."""
        answer = answer or Answer()
        while True:
            got = self.read_record()
            if got is None:
                return answer
            if got == (ABORT, request_id, b""):
                # The mark of a cut: nginx without keep_conn takes a mere
                # close for a regular end, Caddy in any case.  A header of no
                # version must follow, and the close.
                assert self._need(8) and self.pending[:8] == bytes(8)
                self.pending = self.pending[8:]
                assert not self._need(1), "bytes after a cut"
                answer.is_cut = True
                return answer
            kind, got_id, content = got
            if got_id != request_id:
                raise AssertionError(f"record for id {got_id}: {got!r}")
            if kind == STDOUT:
                assert not answer.stdout_ended, f"behind the end: {got!r}"
                answer.stdout += content
                answer.stdout_ended = not content
            elif kind == STDERR:
                answer.stderr += content
            elif kind == END:
                answer.app_status, answer.protocol_status = \
                    struct.unpack("!IB3x", content)
                answer.is_complete = True
                answer.end_time = time.monotonic()
                return answer
            else:
                raise AssertionError(f"unexpected record {got!r}")
            if stop and stop(answer):
                return answer

    def is_answered(self, text):
        """The answer is whole and is the text; then hangs up."""
        with self:
            answer = self.read_answer()
        return answer.text == text and answer.is_complete

    def is_closed_by_peer(self, timeout=30):
        """True when the peer closes within the time; data before is an error."""
        self.sock.settimeout(timeout)
        try:
            return not self.pending and self.sock.recv(1) == b""
        except ConnectionResetError:
            return True
        except socket.timeout:
            return False


def fetch(address, url, body=b"", timeout=60, **extra):
    """One request on a connection of its own; the whole answer."""
    with Connection(address, timeout) as connection:
        connection.send(request_bytes(url, body, **extra))
        return connection.read_answer()
