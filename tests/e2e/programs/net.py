#!/usr/bin/python3
"""A function that tries the network: by CGI, or with the same words as arguments.

    families                  the sockets that can be made, as "FAMILY TYPE PROTOCOL"
    own                       TCP and UDP to itself, by IPv4 and IPv6
    tcp|udp ADDRESS PORT      "ok", or how it fails (within 3 s, or what follows)
    flood ADDRESS COUNT       so many datagrams to one port each, and how many left
    spoof ADDRESS PORT SOURCE a datagram in another's name
    where                     its own address, as the internet's servers see it
    abstract NAME             the same with an abstract socket
    hold PORT NAME            listens everywhere, writes /data/held, and ends
                              when that is taken away
    options                   options of TCP and UDP, and those that go too far
    names NAME                addresses by the resolver
"""
import errno
import os
import socket
import sys
import time

UNIX, V4, V6 = socket.AF_UNIX, socket.AF_INET, socket.AF_INET6
STREAM, DATAGRAM = socket.SOCK_STREAM, socket.SOCK_DGRAM


def told(deed):
    try:
        return deed() or "ok"
    except socket.timeout:
        return "timeout"
    except socket.gaierror as error:
        return f"gai {error.errno}"
    except OSError as error:
        return errno.errorcode.get(error.errno, str(error.errno))


def families():
    protocols = [*range(20), 33, 58, 115, 132, 136, 256, 262]
    for family in range(48):
        for kind in range(1, 11):
            for protocol in protocols:
                if family != 1 and told(lambda: socket.socket(
                        family, kind, protocol).close()) == "ok":
                    print(family, kind, protocol)


def by_tcp(family, address):
    with socket.socket(family, STREAM) as server:
        server.bind((address, 0))
        server.listen()
        with socket.create_connection(server.getsockname()[:2], 5) as client:
            client.sendall(b"tcp")
            return server.accept()[0].recv(9).decode()


def by_udp(family, address):
    with socket.socket(family, DATAGRAM) as server, \
            socket.socket(family, DATAGRAM) as client:
        server.bind((address, 0))
        server.settimeout(5)
        client.sendto(b"udp", server.getsockname())
        return server.recv(9).decode()


def own():
    for deed in by_tcp, by_udp:
        for family, address in (V4, "127.0.0.1"), (V6, "::1"):
            print(told(lambda: deed(family, address)))


def tcp(address, port, seconds="3"):
    def connect():
        with socket.create_connection((address, int(port)),
                                      float(seconds)) as one:
            one.sendall(b"GET / HTTP/1.0\r\n\r\n")
    print(told(connect))


def flood(address, count):
    left = 0
    with socket.socket(V4, DATAGRAM) as one:
        for port in range(1024, 1024 + int(count)):
            left += told(lambda: one.sendto(b"x", (address, port)) and None) == "ok"
    print(left)


def udp(address, port, _=""):
    def send():
        with socket.socket(V6 if ":" in address else V4, DATAGRAM) as one:
            one.sendto(b"x", (address, int(port)))
    print(told(send))


def spoof(address, port, source):
    def send():
        with socket.socket(V4, DATAGRAM) as one:
            one.setsockopt(socket.IPPROTO_IP, 15, 1)  # IP_FREEBIND
            one.bind((source, 0))
            one.sendto(b"x", (address, int(port)))
    print(told(send))


def where():
    with socket.socket(V4, DATAGRAM) as one:
        one.connect(("203.0.113.9", 80))
        print(one.getsockname()[0])


def abstract(name):
    def connect():
        with socket.socket(UNIX, STREAM) as one:
            one.connect("\0" + name)
    print(told(connect))


def hold(port, name):
    held = [socket.create_server(("", int(port)))]
    told(lambda: held.append(socket.create_server(("::", int(port)),
                                                  family=V6)))
    held.append(socket.socket(UNIX, STREAM))
    held[-1].bind("\0" + name)
    held[-1].listen()
    open("/data/held", "w").close()
    until = time.monotonic() + 25
    while os.path.exists("/data/held") and time.monotonic() < until:
        time.sleep(0.02)
    print("held")


def options():
    def put(kind, level, option, value):
        with socket.socket(V4, kind) as one:
            one.setsockopt(level, option, value)
    for option, value in (1, 1), (30, 1), (31, b"tls"), (38, 1):
        print(option, told(lambda: put(STREAM, socket.IPPROTO_TCP, option,
                                       value)))
    # UDP_CORK, UDP_SEGMENT, UDP_GRO; UDP_ENCAP with ESP
    for option, value in (1, 1), (103, 1200), (104, 1), (100, 2):
        print("udp", option, told(lambda: put(DATAGRAM, socket.IPPROTO_UDP,
                                              option, value)))


def names(name):
    print(told(lambda: " ".join(sorted({one[4][0] for one in
                                        socket.getaddrinfo(name, 80)}))))


def main():
    words = sys.argv[1:]
    if "GATEWAY_INTERFACE" in os.environ:
        print("Content-Type: text/plain\n")
        words = os.environ["QUERY_STRING"].split("+")
    globals()[words[0]](*words[1:])


main()
