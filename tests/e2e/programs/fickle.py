#!/usr/bin/python3
"""A FastCGI program that reads the first request of a connection as its kind
does, and a later one, or a body, otherwise; MODE says how.  What it begins to
do for a request it notes in /data/acts, once for each time."""
import os
import re
import select
import socket
import struct
import time

MODE = os.environ.get("MODE", "")
END, PARAMS, STDIN, STDOUT, STDERR = 3, 4, 5, 6, 7


def record(kind, number, content=b""):
    return struct.pack(">BBHHBB", 1, kind, number, len(content), 0, 0) + \
        content


def answer(number, text):
    return record(STDOUT, number, b"Content-Type: text/plain\r\n\r\n" +
                  text.encode()) + record(STDOUT, number) + \
        record(END, number, bytes(8))


def take(connection, n):
    found = b""
    while len(found) < n:
        more = connection.recv(n - len(found))
        if not more:
            raise EOFError
        found += more
    return found


def take_record(connection):
    _, kind, number, length, padding, _ = struct.unpack(
        ">BBHHBB", take(connection, 8))
    return kind, number, take(connection, length + padding)[:length]


def take_request(connection, last=STDIN):
    """Its id and nonce, when the stream `last` has ended."""
    params = b""
    while True:
        kind, number, content = take_record(connection)
        if kind == PARAMS:
            params += content
        if kind == last and not content:
            return number, re.search(rb"nonce=(\w+)", params)[1].decode()


def act(nonce):
    fd = os.open("/data/acts", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.write(fd, f"{nonce}\n".encode())
    os.close(fd)


def honest(connection):
    number, nonce = take_request(connection)
    act(nonce)
    connection.sendall(answer(number, f"nonce={nonce}"))
    return number


def is_there(connection):
    select.select([connection], [], [], 5)


def later_ahead(connection, number):
    """The next one's answer, before that has come."""
    connection.sendall(answer(number + 1, "blind"))
    return honest(connection)


def later_blind(connection, number):
    """Answers when it has come and reads nothing of it, then both."""
    is_there(connection)
    connection.sendall(answer(number + 1, "blind"))
    take_request(connection)
    return number + 1


def later_part(connection, number):
    """Reads a few bytes, acts on them, and goes."""
    act(re.search(rb"nonce=(\w+)", connection.recv(8192, socket.MSG_PEEK))[1]
        .decode())
    take(connection, 20)
    raise EOFError


def later_half(connection, number):
    """Half of an answer to what it has not read, and goes."""
    is_there(connection)
    connection.sendall(record(STDOUT, number + 1, b"Content-Type: text/plain"
                              b"\r\n\r\nblind"))
    raise EOFError


def later_rest(connection, number):
    """Answers when it has read the params, and takes the rest for the next."""
    number, nonce = take_request(connection, PARAMS)
    act(nonce)
    connection.sendall(answer(number, f"nonce={nonce}"))
    return number


def later_twice(connection, number):
    number = honest(connection)
    connection.sendall(answer(number, "twice"))
    return number


def later_behind(connection, number):
    """Goes on behind its end, a moment later."""
    number = honest(connection)
    time.sleep(0.001)
    connection.sendall(record(STDERR, number, b"behind\n") +
                       record(STDOUT, number, b"behind"))
    return number


def later_stops(connection, number):
    """Answers it, and reads none behind it."""
    honest(connection)
    time.sleep(60)
    raise EOFError


def later_slow(connection, number):
    """Byte by byte, which is its right."""
    is_there(connection)
    left = len(connection.recv(8192, socket.MSG_PEEK))
    seen = b""
    while left > 0:
        seen += take(connection, 1)
        left -= 1
    number = struct.unpack(">H", seen[2:4])[0]
    nonce = re.search(rb"nonce=(\w+)", seen)[1].decode()
    act(nonce)
    connection.sendall(answer(number, f"nonce={nonce}"))
    return number


def body_some(connection):
    """Reads a little of the body, answers, and goes."""
    number, nonce = take_request(connection, PARAMS)
    act(nonce)
    take(connection, 12)
    connection.sendall(answer(number, f"nonce={nonce}"))
    raise EOFError


def body_none(connection):
    """Acts on the params, and goes without a word."""
    _, nonce = take_request(connection, PARAMS)
    act(nonce)
    raise EOFError


def body_first(connection):
    """Answers before it has read anything, and goes."""
    is_there(connection)
    connection.sendall(answer(1, "blind"))
    raise EOFError


def serve(connection):
    if MODE.startswith("body_"):
        if b"POST" in connection.recv(8192, socket.MSG_PEEK):
            globals()[MODE](connection)
        while True:
            honest(connection)
    number = honest(connection)
    while True:
        number = globals()["later_" + MODE](connection, number)


listener = socket.socket(fileno=0)
while True:
    accepted, _ = listener.accept()
    try:
        serve(accepted)
    except (EOFError, OSError, TypeError, struct.error):
        accepted.close()
