#!/usr/bin/python3
"""What Python's library does in a function: each query string is one part.

An answer is "PART: ok" and what was found; a failure is its traceback.
"""
import os
import sys
import traceback


def part_subprocess():
    import subprocess
    sort = subprocess.run(["sort", "-r"], input="a\nc\nb\n", text=True,
                          capture_output=True, check=True)
    assert sort.stdout == "c\nb\na\n", sort
    first = subprocess.Popen(["seq", "200000"], stdout=subprocess.PIPE)
    count = subprocess.run(["wc", "-l"], stdin=first.stdout, text=True,
                           stdout=subprocess.PIPE, check=True)
    first.stdout.close()
    assert first.wait() == 0 and count.stdout.strip() == "200000", count
    try:
        subprocess.run(["sleep", "20"], timeout=0.2)
        raise AssertionError("no time-out")
    except subprocess.TimeoutExpired:
        pass
    shell = subprocess.run("echo out; echo err >&2; exit 3", shell=True,
                           text=True, capture_output=True)
    assert (shell.returncode, shell.stdout, shell.stderr) == \
        (3, "out\n", "err\n"), shell
    apart = subprocess.run(["sh", "-c", "ps >/dev/null 2>&1; pwd; echo $X"],
                           cwd="/tmp", env={"X": "1", "PATH": "/bin"},
                           start_new_session=True, text=True,
                           capture_output=True, check=True)
    assert apart.stdout == "/tmp\n1\n", apart
    return os.popen("expr 6 \\* 7").read().strip()


def square(x):
    return x * x


def part_pool():
    import concurrent.futures
    import multiprocessing
    found = []
    for method in ("fork", "spawn", "forkserver"):
        context = multiprocessing.get_context(method)
        with concurrent.futures.ProcessPoolExecutor(2, context) as pool:
            found.append(sum(pool.map(square, range(10))))
    with multiprocessing.Pool(2) as pool:
        found.append(sum(pool.map(square, range(10))))
    assert found == [285] * 4, found
    return found[0]


def add(lock, total, lines):
    for _ in range(100):
        with lock:
            total.value += 1
    lines.put(os.getpid())


def part_shared():
    import multiprocessing
    from multiprocessing import shared_memory
    lock, total = multiprocessing.Lock(), multiprocessing.Value("i", lock=False)
    lines = multiprocessing.Queue()
    workers = [multiprocessing.Process(target=add, args=(lock, total, lines))
               for _ in range(3)]
    for worker in workers:
        worker.start()
    pids = {lines.get(timeout=10) for _ in workers}
    for worker in workers:
        worker.join()
    assert len(pids) == 3 and total.value == 300, (pids, total.value)
    block = shared_memory.SharedMemory(create=True, size=1 << 20)
    other = shared_memory.SharedMemory(block.name)
    block.buf[:3] = b"abc"
    assert bytes(other.buf[:3]) == b"abc"
    other.close()
    block.close()
    block.unlink()
    with multiprocessing.Manager() as manager:
        shared = manager.dict(a=1)
        shared["b"] = 2
        assert dict(shared) == {"a": 1, "b": 2}
    return total.value


def part_sqlite():
    import sqlite3
    path = "/data/python.db"
    db = sqlite3.connect(path, timeout=20, isolation_level=None)
    mode, = db.execute("PRAGMA journal_mode = WAL").fetchone()
    assert mode == "wal", mode
    db.execute("CREATE TABLE IF NOT EXISTS hits (who INTEGER)")
    for _ in range(50):
        db.execute("BEGIN IMMEDIATE")
        db.execute("INSERT INTO hits VALUES (?)", (os.getpid(),))
        db.execute("COMMIT")
    db.execute("PRAGMA mmap_size = 1048576")
    assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    count, = db.execute("SELECT count(*) FROM hits").fetchone()
    db.close()
    return count


CERTIFICATE = """openssl req -x509 -newkey rsa:2048 -nodes -days 2
-subj /CN=localhost -addext subjectAltName=DNS:localhost
-keyout /tmp/key.pem -out /tmp/cert.pem"""


def part_ssl():
    import socket
    import ssl
    import subprocess
    import threading
    trusting = ssl.create_default_context()
    authorities = len(trusting.get_ca_certs())
    assert authorities > 20, f"{authorities} authorities"
    subprocess.run(CERTIFICATE.split(), check=True, capture_output=True)
    trusting.load_verify_locations("/tmp/cert.pem")
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    serving.load_cert_chain("/tmp/cert.pem", "/tmp/key.pem")
    here, there = socket.socketpair()

    def serve():
        with serving.wrap_socket(there, server_side=True) as tls:
            tls.sendall(tls.recv(100).upper())
    thread = threading.Thread(target=serve)
    thread.start()
    with trusting.wrap_socket(here, server_hostname="localhost") as tls:
        tls.sendall(b"hello")
        assert tls.recv(100) == b"HELLO"
        version = tls.version()
    thread.join()
    return version


def part_network():
    import errno
    import urllib.error
    import urllib.request
    import socket
    try:
        urllib.request.urlopen("http://127.0.0.1:8/", timeout=2)
        raise AssertionError("connected")
    except urllib.error.URLError as error:
        assert error.reason.errno == errno.EAFNOSUPPORT, error
    try:
        socket.getaddrinfo("example.org", 80)
        raise AssertionError("resolved")
    except socket.gaierror as error:
        assert error.errno in (socket.EAI_AGAIN, socket.EAI_NONAME), error
    return "no network"


def part_threads():
    import concurrent.futures
    import queue
    import threading
    lines = queue.Queue()
    workers = [threading.Thread(target=lambda n=n: lines.put(n))
               for n in range(20)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert sorted(lines.get() for _ in workers) == list(range(20))
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        return sum(pool.map(square, range(100)))


def part_files():
    import fcntl
    import mmap
    import shutil
    import tempfile
    with tempfile.TemporaryDirectory() as folder, \
            tempfile.NamedTemporaryFile() as named, \
            tempfile.TemporaryFile() as nameless:
        named.write(b"x" * 100000)
        named.flush()
        shutil.copyfile(named.name, folder + "/copy")
        shutil.copy2(folder + "/copy", "/data/copy2")
        os.rename("/data/copy2", "/data/moved")
        os.replace("/data/moved", "/data/kept")
        nameless.write(b"y" * 4096)
        nameless.flush()
        fcntl.flock(nameless, fcntl.LOCK_EX)
        fcntl.lockf(named, fcntl.LOCK_EX | fcntl.LOCK_NB)
        with mmap.mmap(nameless.fileno(), 4096) as mapped:
            mapped[:1] = b"z"
            mapped.flush()
        nameless.seek(0)
        assert nameless.read(2) == b"zy"
        archive = shutil.make_archive("/tmp/a", "gztar", folder)
        shutil.unpack_archive(archive, "/tmp/unpacked")
        os.utime("/data/kept", (1, 1))
        os.chmod("/data/kept", 0o600)
        return os.path.getsize("/tmp/unpacked/copy")


def part_time():
    import datetime
    import locale
    import time
    import zoneinfo
    zone = zoneinfo.ZoneInfo("Asia/Tokyo")
    noon = datetime.datetime(2024, 7, 1, 12, tzinfo=datetime.timezone.utc)
    assert noon.astimezone(zone).hour == 21
    assert len(zoneinfo.available_timezones()) > 400
    os.environ["TZ"] = "Europe/Paris"
    time.tzset()
    assert time.tzname[0] == "CET", time.tzname
    locale.setlocale(locale.LC_ALL, "C.UTF-8")
    return noon.astimezone(zone).isoformat()


def part_timers():
    import signal
    import time
    rung = []
    for timer, number in ((signal.ITIMER_PROF, signal.SIGPROF),
                          (signal.ITIMER_VIRTUAL, signal.SIGVTALRM),
                          (signal.ITIMER_REAL, signal.SIGALRM)):
        signal.signal(number, lambda number, _: rung.append(number))
        signal.setitimer(timer, 0.02)
        until = time.monotonic() + 10
        while number not in rung and time.monotonic() < until:
            pass
    return [signal.Signals(number).name for number in rung]


def part_names():
    import getpass
    import grp
    import mimetypes
    import pathlib
    import platform
    import pwd
    import socket
    import uuid
    assert pwd.getpwuid(os.getuid()).pw_dir == str(pathlib.Path.home())
    assert grp.getgrgid(os.getgid()).gr_name and getpass.getuser()
    assert mimetypes.guess_type("a.webp")[0] == "image/webp"
    assert mimetypes.guess_type("a.docx")[0]
    assert uuid.uuid4() != uuid.uuid1()
    assert platform.platform() and socket.gethostname()
    return pwd.getpwuid(os.getuid()).pw_name


def part_ctypes():
    import ctypes
    import ctypes.util
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.getpid() == os.getpid()
    math = ctypes.CDLL(ctypes.util.find_library("m"))
    math.cos.restype, math.cos.argtypes = ctypes.c_double, [ctypes.c_double]
    assert math.cos(0) == 1.0
    compare = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_int),
                               ctypes.POINTER(ctypes.c_int))
    values = (ctypes.c_int * 5)(3, 1, 5, 2, 4)
    libc.qsort(values, 5, ctypes.sizeof(ctypes.c_int),
               compare(lambda a, b: a[0] - b[0]))
    return list(values)


def part_asyncio():
    import asyncio
    import signal

    async def echo(reader, writer):
        writer.write((await reader.readline()).upper())
        await writer.drain()
        writer.close()

    async def work():
        server = await asyncio.start_unix_server(echo, "/tmp/echo.sock")
        reader, writer = await asyncio.open_unix_connection("/tmp/echo.sock")
        writer.write(b"hello\n")
        line = await reader.readline()
        writer.close()
        server.close()
        assert line == b"HELLO\n", line
        child = await asyncio.create_subprocess_exec(
            "cat", stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE)
        out, _ = await child.communicate(b"through a child")
        assert out == b"through a child"
        rung = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGALRM, rung.set)
        signal.setitimer(signal.ITIMER_REAL, 0.05)
        await asyncio.wait_for(rung.wait(), 5)
        return await asyncio.to_thread(square, 12)
    return asyncio.run(work())


def part_logs():
    import logging
    import logging.handlers
    handler = logging.handlers.RotatingFileHandler("/data/log", maxBytes=200,
                                                   backupCount=2)
    log = logging.getLogger("fn")
    log.addHandler(handler)
    for number in range(60):
        log.warning("line %d", number)
    print("a word for the log", file=sys.stderr)
    return sorted(n for n in os.listdir("/data") if n.startswith("log"))


def part_database():
    import dbm
    import shelve
    with dbm.open("/data/dbm", "c") as db:
        db[b"k"] = b"v"
    with shelve.open("/data/shelf") as shelf:
        shelf["k"] = {"a": [1, 2]}
    with dbm.open("/data/dbm", "r") as db, shelve.open("/data/shelf") as shelf:
        return db[b"k"].decode() + str(shelf["k"])


def put(name):
    import lmdb
    with lmdb.open("/data/lmdb", map_size=512 << 20) as db, \
            db.begin(write=True) as transaction:
        transaction.put(name.encode(), b"x" * 100000)
        return transaction.stat()["entries"]


def part_lmdb():
    """Memory-mapped: a lock file with shared mutexes, a map of 512 MiB."""
    import multiprocessing
    with multiprocessing.Pool(2) as pool:
        return max(pool.map(put, "abcd", 1))


def main():
    name = os.environ["QUERY_STRING"]
    try:
        text, status = f"{name}: ok {globals()['part_' + name]()}", 200
    except BaseException:
        text, status = traceback.format_exc(), 500
    print(f"Status: {status}\nContent-Type: text/plain\n\n{text}", end="")


if __name__ == "__main__":
    main()
