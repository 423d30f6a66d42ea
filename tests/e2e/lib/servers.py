"""Web servers, started with private configurations on loopback ports."""
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import tempfile
import time

from lib import programs

# How nginx's configurations begin: in its own directory, in the foreground.
NGINX_START = """
user www-data;
worker_processes 1;
error_log {dir}/error.log info;
pid {dir}/nginx.pid;
daemon off;
events {{ worker_connections 512; }}
http {{
    client_body_temp_path {dir}/body;
    proxy_temp_path {dir}/proxy;
    fastcgi_temp_path {dir}/fastcgi;
    uwsgi_temp_path {dir}/uwsgi;
    scgi_temp_path {dir}/scgi;
"""

NGINX_CONF = NGINX_START + """
    client_max_body_size 200m;
    log_format joined '$status $request_id $body_bytes_sent $request';
    access_log {dir}/access.log joined;
    root {dir}/www;

    upstream kept {{ server unix:{socket}; keepalive 8; }}

    # one connection for each request
    server {{
        listen 127.0.0.1:{plain};
        location /fn/ {{
            include /etc/nginx/fastcgi_params;
            fastcgi_param REQUEST_ID $request_id;
            fastcgi_pass unix:{socket};
        }}
        {plain_more}
    }}
    # connections are kept and used again
    server {{
        listen 127.0.0.1:{kept};
        location /fn/ {{
            include /etc/nginx/fastcgi_params;
            fastcgi_param REQUEST_ID $request_id;
            fastcgi_keep_conn on;
            fastcgi_pass kept;
        }}
        {kept_more}
    }}
    # nothing is buffered on either way
    server {{
        listen 127.0.0.1:{stream};
        location /fn/ {{
            include /etc/nginx/fastcgi_params;
            fastcgi_param REQUEST_ID $request_id;
            fastcgi_buffering off;
            fastcgi_request_buffering off;
            fastcgi_read_timeout 300s;
            fastcgi_pass unix:{socket};
        }}
        {stream_more}
    }}
    {http_more}
}}
"""

# The same of Apache's.
APACHE_START = """
ServerRoot {dir}
ServerName localhost
Listen 127.0.0.1:{plain}
PidFile {dir}/apache.pid
DefaultRuntimeDir {dir}
Mutex file:{dir}
ErrorLog {dir}/error.log
LogLevel warn
User www-data
Group www-data
LoadModule mpm_event_module /usr/lib/apache2/modules/mod_mpm_event.so
LoadModule authz_core_module /usr/lib/apache2/modules/mod_authz_core.so
LoadModule proxy_module /usr/lib/apache2/modules/mod_proxy.so
LoadModule proxy_fcgi_module /usr/lib/apache2/modules/mod_proxy_fcgi.so
LoadModule setenvif_module /usr/lib/apache2/modules/mod_setenvif.so
LoadModule unique_id_module /usr/lib/apache2/modules/mod_unique_id.so
DocumentRoot {dir}/www
"""

APACHE_CONF = APACHE_START + """
{proxy}
"""


def free_ports(count):
    """Loopback ports that nobody listens on right now; none that the tests which
    run beside these (E2E_SLOT) would find, too, before a server has taken it."""
    held, ports = [], []
    slot = int(os.environ.get("E2E_SLOT", "0"))
    while len(ports) < count:
        held.append(socket.socket())
        held[-1].bind(("127.0.0.1", 0))
        port = held[-1].getsockname()[1]
        # by the second bit: the kernel gives odd ones alone, or even ones
        if (port >> 1) % 2 == slot % 2:
            ports.append(port)
    for sock in held:
        sock.close()
    return ports


class Server:
    """A web server in front of a host, in a directory of its own."""

    def __init__(self, name):
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix=f"fh-{name}-",
                                                 dir="/tmp"))
        self.dir.chmod(0o755)
        (self.dir / "www").mkdir()
        self.process = None

    def command(self):
        raise NotImplementedError

    def start(self):
        with open(self.dir / "out", "wb") as out:
            self.process = subprocess.Popen(
                self.command(), stdout=out, stderr=out,
                stdin=subprocess.DEVNULL, start_new_session=True,
                preexec_fn=programs.end_with_parent,
                env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
                     "HOME": str(self.dir)})
        until = time.monotonic() + 15
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.plain), 1).close()
                return self
            except ConnectionRefusedError:
                pass
            if self.process.poll() is not None or time.monotonic() > until:
                self.stop()
                raise AssertionError(f"{self.command()[0]} does not listen:\n"
                                     f"{(self.dir / 'out').read_text()}")
            time.sleep(0.02)

    def url(self, path, port=None):
        return f"http://127.0.0.1:{port or self.plain}{path}"

    def error_log(self):
        path = self.dir / "error.log"
        return path.read_text("utf-8", "replace") if path.exists() else ""

    def stop(self):
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                os.killpg(self.process.pid, signal.SIGKILL)
                self.process.wait()
        self.process = None

    def remove(self):
        shutil.rmtree(self.dir, ignore_errors=True)


class Nginx(Server):
    """Ports: plain (no keep_conn), kept (keep_conn on), stream (unbuffered).

    *_more: directives inside that server; http_more: inside http.
    """

    def __init__(self, host, plain_more="", kept_more="", stream_more="",
                 http_more=""):
        super().__init__("nginx")
        self.host = host
        self.plain, self.kept, self.stream = free_ports(3)
        (self.dir / "nginx.conf").write_text(NGINX_CONF.format(
            dir=self.dir, socket=host.socket, plain=self.plain, kept=self.kept,
            stream=self.stream, plain_more=plain_more, kept_more=kept_more,
            stream_more=stream_more, http_more=http_more))

    def command(self):
        nginx, = programs.need("nginx")
        return [nginx, "-p", str(self.dir), "-e", f"{self.dir}/error.log",
                "-c", f"{self.dir}/nginx.conf"]

    def wait_access_log(self, text, timeout=30):
        """The lines that hold text; nginx writes them after the answer."""
        until = time.monotonic() + timeout
        while True:
            lines = (self.dir / "access.log").read_text().splitlines()
            found = [line for line in lines if text in line]
            if found:
                return found
            assert time.monotonic() < until, f"no {text} in the access log"
            time.sleep(0.02)


class Apache(Server):
    """mod_proxy_fcgi under the event MPM; proxy: other directives for it."""

    def __init__(self, host, proxy=None):
        super().__init__("apache")
        self.host = host
        self.plain, = free_ports(1)
        (self.dir / "apache.conf").write_text(APACHE_CONF.format(
            dir=self.dir, plain=self.plain, proxy=proxy or
            f'ProxyPass "/fn/" "unix:{host.socket}|fcgi://localhost/fn/"'))

    def command(self):
        apache, = programs.need("apache2")
        return [apache, "-DFOREGROUND", "-f", f"{self.dir}/apache.conf"]
