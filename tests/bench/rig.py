"""What a benchmark drives: this host with its sample configuration, and the
others.  Every process here ends with the benchmark."""
import copy
import json
import os
import pathlib
import re
import resource
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "e2e"))

from lib import host as host_room  # noqa: E402
from lib import programs, runtimes, servers  # noqa: E402

PATH = "/usr/sbin:/usr/bin:/sbin:/bin"
HELLO = "hello world\n"


class Trouble(Exception):
    """A sentence for the person who runs the benchmark."""


def need(command, package):
    """The path of a program that a benchmark drives."""
    found = shutil.which(command, path=PATH)
    if found is None:
        raise Trouble(f"{command} is missing: install it with: "
                      f"apt-get install {package}")
    return found


def descriptors_raise():
    """2,000 connections need more descriptors than a shell allows."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


class SampleHost(host_room.Host):
    """The installed sample configuration with its places replaced, nothing
    else; `more` is added at its end and printed with the results."""

    def __init__(self, installed, more="", host_keys=None):
        self.more = more
        self.host_keys = host_keys or {}
        super().__init__(installed)

    def configure(self, sections, text=None):
        places = {**self.sections["host"], **self.host_keys}
        lines, is_host = [], False
        for line in self.installed.sample.read_text().splitlines():
            if line.startswith("["):
                if is_host:
                    lines += [f"{k} = {v}" for k, v in places.items()]
                is_host = line == "[host]"
            key = line.lstrip(";").split("=")[0].strip()
            # the group of the web server may be unknown to this machine
            if is_host and (key in places or key == "listen_group"):
                continue
            lines.append(line)
        host_room.write_atomically(
            self.ini_path, "\n".join(lines) + "\n" + self.more + "\n")


class Process:
    """A program in the foreground that listens on a Unix socket or a port."""

    def __init__(self, rig, name, command, listens=None):
        self.log_path = rig.dir / f"{name}.log"
        with open(self.log_path, "wb") as log:
            self.process = subprocess.Popen(
                [str(part) for part in command], stdout=log, stderr=log,
                stdin=subprocess.DEVNULL, start_new_session=True,
                preexec_fn=programs.end_with_parent, env={"PATH": PATH})
        rig.made.append(self)
        if listens is not None:
            self.wait(name, listens)

    @property
    def pid(self):
        return self.process.pid

    def wait(self, name, listens):
        until = time.monotonic() + 15
        while not is_listening(listens):
            if self.process.poll() is not None or time.monotonic() > until:
                raise Trouble(f"{name} does not come up:\n"
                              f"{self.log_path.read_text()[-2000:]}")
            time.sleep(0.02)

    def stop_gently(self):
        """SIGINT, and its end: for a tracer, which then says what it saw."""
        self.process.send_signal(signal.SIGINT)
        self.process.wait(10)

    def stop(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(5)
            except subprocess.TimeoutExpired:
                pass
        # workers whose master has ended; the group is ours alone
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.process.wait()


def is_listening(where):
    """where: a port, or the path of a socket."""
    is_port = isinstance(where, int)
    try:
        with socket.socket(socket.AF_INET if is_port else
                           socket.AF_UNIX) as sock:
            sock.connect(("127.0.0.1", where) if is_port else str(where))
        return True
    except OSError:
        return False


class Rig:
    """Everything that one benchmark has started."""

    def __init__(self):
        self.installed = programs.Installed()
        self.tools = self.installed.libexec / "tests/bench"
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="fhbench-",
                                                 dir="/tmp"))
        self.dir.chmod(0o755)
        self.made, self.hosts = [], []
        self.runtimes = None

    def end(self):
        for made in reversed(self.made):
            made.stop()
        for host in self.hosts:
            host.stop()
            host.remove()
        if self.runtimes is not None:
            self.runtimes.remove()
        shutil.rmtree(self.dir, ignore_errors=True)

    def tool(self, name):
        return self.tools / name

    # ------------------------------------------------------------- ours

    def unaccounted(self):
        """This host's programs with the gateway that keeps no books."""
        directory = self.dir / "unaccounted"
        directory.mkdir()
        installed = self.installed.copy_to(directory)
        shutil.copy(self.tool("unaccounted"),
                    installed.libexec / "fcgi-host-gateway")
        return installed

    def place(self):
        """The runtimes of this tree, where a sandbox can show them."""
        if self.runtimes is None:
            self.runtimes = runtimes.Place(self.installed)
        return self.runtimes

    def installed_with(self, **runtimes_keys):
        """The programs, and a sample whose runtimes are this tree's, with more keys:
        installed_with(node={"spare": 4})."""
        place, made = self.place(), copy.copy(self.installed)
        text = re.sub(r"/\S+/fcgi-host/runtimes", str(place.dir),
                      made.sample.read_text())
        for name, keys in runtimes_keys.items():
            head, section, rest = re.split(
                rf"(?ms)^(\[runtime {name}\]\n.*?)(?=^\[|\Z)", text)
            command = re.search(r"(?m)^command = .*", section)[0]
            if str(place.dir) in command and "\nbind" not in section:
                keys = {**keys, "bind": place.dir}
            more = "".join(f"{key} = {value}\n" for key, value in keys.items())
            text = head + re.sub(r"(?m)^(protocol = .*\n)", rf"\1{more}",
                                 section, count=1) + rest
        made.sample = self.dir / f"sample{len(self.hosts)}.ini"
        made.sample.write_text(text)
        return made

    def host(self, functions, more="", host_keys=None, installed=None):
        """A host with functions {"hello.fcgi": path or text}."""
        host = SampleHost(installed or self.installed, more, host_keys)
        self.hosts.append(host)
        for name, source in functions.items():
            host.add(name, source)
        return host.start()

    # ----------------------------------------------------------- others

    def spawn_fcgi(self, name, *command):
        """A FastCGI program on a socket; the socket's path."""
        path = self.dir / f"{name}.sock"
        Process(self, name, [need("spawn-fcgi", "spawn-fcgi"), "-n", "-s",
                             path, "-M", "0666", "-b", "1024", "--",
                             *command], path)
        return path

    def multiwatch(self, name, count, program):
        return self.spawn_fcgi(name, need("multiwatch", "multiwatch"), "-f",
                               str(count), program)

    def fcgiwrap(self, count):
        return self.spawn_fcgi("fcgiwrap", need("fcgiwrap", "fcgiwrap"),
                               "-c", str(count))

    def floor(self, count, is_kept, in_turn=False):
        name = f"floor{'-kept' if is_kept else ''}{'-turn' * in_turn}"
        workers = [self.spawn_fcgi(f"{name}{i}", self.tool("hello-fcgi"))
                   for i in range(count)]
        path = self.dir / f"{name}.sock"
        Process(self, name, [self.tool("floor"), *(["-k"] * is_kept),
                             *(["-r"] * in_turn), path, *workers], path)
        path.chmod(0o666)
        return path

    def php_fpm(self, manner, count, more=""):
        program = next((shutil.which(name, path=PATH) for name in
                        ("php-fpm8.2", "php-fpm8.4", "php-fpm") if
                        shutil.which(name, path=PATH)), None)
        if program is None:
            raise Trouble("php-fpm is missing: install it with: "
                          "apt-get install php-fpm")
        path, conf = self.dir / f"fpm-{manner}.sock", \
            self.dir / f"fpm-{manner}.conf"
        conf.write_text(
            f"[global]\nerror_log = {self.dir}/fpm-{manner}.err\n"
            f"daemonize = no\n[www]\nlisten = {path}\nlisten.mode = 0666\n"
            f"user = www-data\ngroup = www-data\npm = {manner}\n"
            f"pm.max_children = {count}\n{more}")
        Process(self, f"fpm-{manner}", [program, "-F", "-y", conf], path)
        return path

    def nginx(self, sites):
        """sites: {name: (socket, is_kept, more directives)}, and behind these
        "uwsgi", if that is what it speaks; {name: port}.  One nginx for all
        of a benchmark, with as many workers as cores."""
        ports = dict(zip(sites, servers.free_ports(len(sites))))
        text = [f"user www-data;\nworker_processes auto;\ndaemon off;\n"
                f"worker_rlimit_nofile 20000;\n"
                f"pid {self.dir}/nginx.pid;\n"
                f"error_log {self.dir}/nginx-error.log crit;\n"
                "events { worker_connections 8192; }\nhttp {\n"
                "access_log off; keepalive_requests 1000000;\n"]
        for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"):
            text.append(f"{kind}_temp_path {self.dir}/{kind};\n")
        for name, (path, is_kept, more, *other) in sites.items():
            speaks = other[0] if other else "fastcgi"
            text.append(
                f"upstream {name} {{ server unix:{path};"
                f"{' keepalive 64;' if is_kept else ''} }}\n"
                f"server {{ listen 127.0.0.1:{ports[name]} backlog=4096;\n"
                f"location / {{ include /etc/nginx/{speaks}_params; "
                f"{speaks}_param REQUEST_ID $request_id; {more}\n"
                f"{speaks}_pass {name};\n"
                f"{'fastcgi_keep_conn on;' if is_kept else ''} }} }}\n")
        conf = self.dir / "nginx.conf"
        conf.write_text("".join(text) + "}\n")
        Process(self, "nginx", [need("nginx", "nginx-light"), "-p", self.dir,
                                "-e", self.dir / "nginx-error.log", "-c",
                                conf], ports[next(iter(sites))])
        return ports

    def haproxy(self, sites):
        """sites: {name: (socket, is_kept)}; {name: port}.  A kept connection
        would own a process of libfcgi, as behind nginx."""
        ports = dict(zip(sites, servers.free_ports(len(sites))))
        text = ["global\n maxconn 4096\n"
                "defaults\n mode http\n timeout connect 10s\n"
                " timeout client 60s\n timeout server 60s\n"]
        for name, (path, is_kept) in sites.items():
            text.append(
                f"frontend in-{name}\n bind 127.0.0.1:{ports[name]}\n"
                f" default_backend out-{name}\n"
                f"backend out-{name}\n use-fcgi-app app-{name}\n"
                f" server one unix@{path} proto fcgi\n"
                f"fcgi-app app-{name}\n docroot /\n"
                f" {'' if is_kept else 'no '}option keep-conn\n")
        conf = self.dir / "haproxy.cfg"
        conf.write_text("".join(text))
        Process(self, "haproxy", [need("haproxy", "haproxy"), "-db", "-f",
                                  conf], ports[next(iter(sites))])
        return ports

    # ------------------------------------------------------------- load

    def fcgi_load(self, path, *arguments, params=(), timeout=120):
        """One run of our load generator: what it printed, as a dict."""
        done = subprocess.run(
            [str(self.tool("fcgi-load")), *map(str, arguments), str(path),
             *params], stdout=subprocess.PIPE, text=True, timeout=timeout,
            check=False)
        if done.returncode not in (0, 1):
            raise Trouble(f"fcgi-load ended with {done.returncode}")
        found = json.loads(done.stdout)
        return {**found, "errors": found["faults"]["all"],
                "p99_ms": found["first_byte_us"]["p99"] / 1000}

    def exec_load(self, *arguments):
        return self.started("exec-load", arguments)

    def start_load(self, *arguments):
        """It finds init where the host does."""
        return self.started("start-load", arguments,
                            {"BUILDDIR": str(self.installed.libexec)})

    def started(self, tool, arguments, env=None):
        done = subprocess.run([str(self.tool(tool)), *map(str, arguments)],
                              stdout=subprocess.PIPE, text=True, timeout=120,
                              check=True, env={"PATH": PATH, **(env or {})})
        return json.loads(done.stdout)

    @staticmethod
    def wrk(port, path, connections, seconds):
        """One run of wrk."""
        done = subprocess.run(
            [need("wrk", "wrk"), "-t1", f"-c{connections}",
             f"-d{max(1, round(seconds))}s", "--latency", "--timeout", "10s",
             f"http://127.0.0.1:{port}{path}"], stdout=subprocess.PIPE,
            text=True, timeout=seconds + 60, check=True)
        return wrk_read(done.stdout)


def wrk_read(text):
    """What wrk printed, as {"per_second", "errors", "p99_ms"}."""
    rate = re.search(r"Requests/sec:\s+([\d.]+)", text)
    bad = re.search(r"Non-2xx or 3xx responses: (\d+)", text)
    sock = re.search(r"Socket errors: connect (\d+), read (\d+), "
                     r"write (\d+), timeout (\d+)", text)
    slow = re.search(r"99%\s+([\d.]+)(us|ms|s|m)\b", text)
    if rate is None or slow is None:
        raise Trouble(f"wrk printed something unknown:\n{text}")
    unit = {"us": 0.001, "ms": 1, "s": 1000, "m": 60000}[slow.group(2)]
    return {"per_second": float(rate.group(1)),
            "errors": (int(bad.group(1)) if bad else 0) +
            (sum(map(int, sock.groups())) if sock else 0),
            "p99_ms": float(slow.group(1)) * unit}
