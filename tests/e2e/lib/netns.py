"""Runs a command in a network namespace of its own, where the metadata address
and a private one stand on the loopback with a listener that counts, by TCP and
UDP; and one at the abstract socket fcgi-host-probe.

    netns.py COUNT PORT COMMAND ARGUMENT…

Each connection and each datagram adds a byte to the file COUNT.  The command takes this process's
place; the listener ends with it.
"""
import ctypes
import os
import select
import socket
import subprocess
import sys

CLONE_NEWNET = 0x40000000
ADDRESSES = ("127.0.0.1", "169.254.169.254", "10.0.0.1")
ABSTRACT = "\0fcgi-host-probe"

libc = ctypes.CDLL(None, use_errno=True)


def listen(port):
    made = [socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)]
    made[0].bind(ABSTRACT)
    for address in ADDRESSES:
        for kind in socket.SOCK_STREAM, socket.SOCK_DGRAM:
            made.append(socket.socket(socket.AF_INET, kind))
            made[-1].bind((address, port))
    for one in made:
        if one.type == socket.SOCK_STREAM:
            one.listen(64)
    return made


def count(listeners, path, command):
    """Ends with the command, which may have become an ordinary user's: then the
    kernel would send no signal of its death."""
    with open(path, "ab", buffering=0) as out:
        while True:
            ready = select.select([*listeners, command], [], [])[0]
            if command in ready:
                os._exit(0)
            for one in ready:
                if one.type == socket.SOCK_STREAM:
                    one.accept()[0].close()
                else:
                    one.recv(1)
                out.write(b"x")


def main():
    path, port, command = sys.argv[1], int(sys.argv[2]), sys.argv[3:]
    if libc.unshare(CLONE_NEWNET) != 0:
        sys.exit(f"unshare: {os.strerror(ctypes.get_errno())}")
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    for address in ADDRESSES[1:]:
        subprocess.run(["ip", "addr", "add", f"{address}/8", "dev", "lo"],
                       check=True)
    listeners = listen(port)
    with open(path, "wb"):
        pass
    own = os.pidfd_open(os.getpid())
    if os.fork() == 0:
        count(listeners, path, own)
    os.close(own)
    for one in listeners:
        one.close()
    os.execvp(command[0], command)


if __name__ == "__main__":
    main()
