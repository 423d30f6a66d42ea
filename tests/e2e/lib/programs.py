"""Where the programs under test are, and the C programs that tests need."""
import copy
import ctypes
import os
import pathlib
import shutil
import signal
import subprocess

PR_SET_PDEATHSIG = 1
# looked up before any fork
PRCTL = ctypes.CDLL(None).prctl

HERE = pathlib.Path(__file__).resolve().parent.parent
TREE = HERE.parent.parent


def end_with_parent():
    """In a forked child: SIGTERM when the test run is killed from outside, so
    that no server outlives it."""
    PRCTL(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)


class Missing(Exception):
    """The programs under test are not there."""


class Installed:
    """The command, and the directory that holds the roles' programs.

    BUILDDIR is a build directory; DESTDIR (with PREFIX, /usr/local) the root of
    an installation.  Without either the tree's own ./build is taken.
    """

    def __init__(self):
        build = os.environ.get("BUILDDIR")
        dest = os.environ.get("DESTDIR")
        if build or not dest:
            base = pathlib.Path(build or TREE / "build").resolve()
            self.command = base / "fcgi-host/fcgi-host"
            self.libexec = base
            self.sandbox = base / "fcgi-host-sandbox"
            self.user_host = base / "conf/user-host"
            self.sample = base / "conf/fcgi-host.ini"
        else:
            prefix = os.environ.get("PREFIX", "/usr/local").lstrip("/")
            base = pathlib.Path(dest).resolve() / prefix
            self.command = base / "bin/fcgi-host"
            self.libexec = base / "libexec/fcgi-host"
            self.sandbox = base / "sbin/fcgi-host-sandbox"
            self.user_host = base / "share/fcgi-host/user-host"
            config = os.environ.get("SYSCONFDIR", f"{prefix}/etc").lstrip("/")
            self.sample = (pathlib.Path(dest).resolve() / config /
                           "fcgi-host/fcgi-host.ini")
        for path in (self.command, self.sandbox,
                     *(self.libexec / f"fcgi-host-{role}" for role in
                       ("spawner", "gateway", "scanner", "init", "books"))):
            if not os.access(path, os.X_OK):
                raise Missing(f"{path} is missing; build first, and set "
                              "BUILDDIR to the build directory")
        self.is_sanitized = b"__asan_init" in self.command.read_bytes()

    def environment(self, **more):
        """The environment of a program that an administrator starts."""
        env = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8",
               "FCGI_HOST_LIBEXEC": str(self.libexec)}
        for name in ("ASAN_OPTIONS", "UBSAN_OPTIONS", "LSAN_OPTIONS"):
            if name in os.environ:
                env[name] = os.environ[name]
        env.update(more)
        return env

    def copy_to(self, directory):
        """The same programs where every user can reach them."""
        other = copy.copy(self)
        other.libexec = pathlib.Path(directory)
        for role in ("spawner", "gateway", "scanner", "init", "books"):
            shutil.copy(self.libexec / f"fcgi-host-{role}", directory)
        for name in ("user_host", "sample"):
            setattr(other, name, other.libexec / getattr(self, name).name)
            shutil.copy(getattr(self, name), directory)
        other.command = other.libexec / "fcgi-host"
        shutil.copy(self.command, other.command)
        return other

    def run(self, *args, timeout=60, wrap=(), **more):
        """Runs the command to its end, output captured as text."""
        return subprocess.run([*wrap, str(self.command), *map(str, args)],
                              env=self.environment(**more), text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              stdin=subprocess.DEVNULL, timeout=timeout)


class Compiler:
    """Compiles tests/e2e/programs/*.c, each once, into one directory, which several
    runs of tests may share; but takes what PROGRAMS has, a directory with some that
    were compiled elsewhere.

    Each property is a program; tests/check-compiled builds them all, so that a
    room of the project that moves is missed in `make check` and not hours later.
    """

    def __init__(self, directory):
        self.directory = pathlib.Path(directory)
        self.done = {}
        ready = os.environ.get("PROGRAMS")
        if ready:
            self.done = {path.name: path
                         for path in pathlib.Path(ready).iterdir()}

    def build(self, source, name, *flags):
        out = self.directory / name
        if name not in self.done and not out.exists():
            # whole from the first moment on
            half = self.directory / f"{name}.{os.getpid()}"
            subprocess.run(["gcc", "-std=gnu11", "-O1", "-Wall", "-o", half,
                            HERE / "programs" / source, *flags], check=True)
            half.rename(out)
        return self.done.setdefault(name, out)

    @property
    def cgi(self):
        """The swiss knife as a CGI program."""
        return self.build("swiss.c", "swiss.cgi")

    @property
    def fcgi(self):
        """The swiss knife as a FastCGI program, by libfcgi."""
        return self.build("swiss.c", "swiss.fcgi", "-DWITH_FCGI", "-lfcgi")

    @property
    def before(self):
        """kill -9 of a process before its system call of a number."""
        return self.build("before.c", "before")

    @property
    def clock(self):
        """To be preloaded: a wall clock that jumps by hours."""
        return self.build("clock.c", "clock.so", "-shared", "-fPIC", "-ldl")

    @property
    def hold(self):
        """Starts a program whose pivot_root does not return while a file is there."""
        return self.build("hold.c", "hold")

    @property
    def keeper(self):
        """Keeps its connections, or does not, as its environment says."""
        return self.build("keeper.c", "keeper.fcgi")

    @property
    def harm(self):
        """Will not end, or does not end its answer."""
        return self.build("harm.c", "harm.cgi", "-static")

    @property
    def lying_init(self):
        """In init's place: tells the gateway what MODE says."""
        return self.build("lying_init.c", "lying-init", "-static",
                          "-D_GNU_SOURCE", f"-I{TREE}")

    @property
    def rogue(self):
        """Breaks the protocol as its environment says."""
        return self.build("rogue.c", "rogue.fcgi")

    @property
    def wire(self):
        """Tells byte by byte what it was sent."""
        return self.build("wire.c", "wire.fcgi")

    @property
    def turncoat(self):
        """In the place of a gateway or scanner; it confines itself as they do."""
        rooms = [TREE / f"sandbox/{room}.c" for room in
                 ("confine", "kernfile", "landlock", "procfs", "rights",
                  "userns")]
        return self.build("turncoat.c", "turncoat", "-D_GNU_SOURCE",
                          f"-I{TREE}", TREE / "fcgi-host/sock.c",
                          TREE / "fcgi-host/ctl_msg.c",
                          TREE / "fcgi-host/ctl_msg_name.c", *rooms,
                          *sorted((TREE / "sandbox").glob("seccomp*.c")),
                          "-lseccomp", "-lcap")

    @property
    def fcgi_load(self):
        """The load generator of `make bench`."""
        rooms = [TREE / path for path in (
            "tests/bench/answer.c", "tests/bench/samples.c",
            "fcgi-host/buf.c", "fcgi-host/civil.c", "fcgi-host/fcgi_params.c",
            "fcgi-host/fcgi_record.c", "fcgi-host/log.c")]
        return self.build("../../bench/fcgi-load.c", "fcgi-load", *rooms,
                          f"-I{TREE}", "-D_GNU_SOURCE",
                          '-DPACKAGE_VERSION_TEXT="test"')

    @property
    def hello_cgi(self):
        """One write and no more, as in `make bench`."""
        return self.build("../../bench/hello-cgi.c", "hello.cgi", "-static")

    @property
    def hello_fcgi(self):
        """The same by libfcgi."""
        return self.build("../../bench/hello-fcgi.c", "hello.fcgi", "-lfcgi")

    @property
    def probe(self):
        """The hostile one: static, and not only tests/e2e's."""
        return self.build("../../probes/probe.c", "probe", "-static",
                          "-D_GNU_SOURCE", f"-I{TREE}",
                          *sorted((TREE / "tests/probes").glob("probe_*.c")))


def need(*commands):
    """Paths of programs that a test drives; a missing one is an error, since
    a test that silently does not run proves nothing."""
    found = []
    for name in commands:
        path = shutil.which(name, path="/usr/sbin:/usr/bin:/sbin:/bin")
        assert path, f"{name} is not installed; ./check installs what is missing"
        found.append(path)
    return found
