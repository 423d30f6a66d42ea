"""The five web servers, each with the example file that `make install` puts
where a user copies it from; only ports and places are filled in."""
import shutil
import subprocess

from lib import programs
from lib.servers import (APACHE_START, NGINX_START, Apache, Nginx, Server,
                         free_ports)

NGINX_CONF = NGINX_START + """
    log_format joined '$status $request_id $request';
    access_log {dir}/access.log joined;
    server {{
        listen 127.0.0.1:{plain};
        listen 127.0.0.1:{tls} ssl;
        ssl_certificate {dir}/tls.pem;
        ssl_certificate_key {dir}/tls.pem;
        root {dir}/www;
        {shipped}
    }}
    {recipes}
}}
"""

APACHE_CONF = APACHE_START + """
Listen 127.0.0.1:{tls}
LoadModule ssl_module /usr/lib/apache2/modules/mod_ssl.so
LogFormat "%>s %{{UNIQUE_ID}}e %r" joined
CustomLog {dir}/access.log joined
{shipped}
<VirtualHost 127.0.0.1:{tls}>
    SSLEngine on
    SSLCertificateFile {dir}/tls.pem
</VirtualHost>
"""

LIGHTTPD_CONF = """
server.document-root = "{dir}/www"
server.bind = "127.0.0.1"
server.port = {plain}
server.username = "www-data"
server.groupname = "www-data"
server.upload-dirs = ( "{dir}/up" )
server.modules += ( "mod_openssl" )
$SERVER["socket"] == "127.0.0.1:{tls}" {{
    ssl.engine = "enable"
    ssl.pemfile = "{dir}/tls.pem"
}}
include "{dir}/fcgi-host.conf"
include "{dir}/authorizer.conf"
"""

CADDY_CONF = """
{{
    admin off
    auto_https off
    grace_period 1s
}}
{shipped}
https://localhost:{tls} {{
    tls {dir}/tls.pem {dir}/tls.pem
    import functions
}}
"""

# As Debian has it: in a chroot, as a user of its own, with a group that may
# connect.
HAPROXY_CONF = """
global
    chroot {chroot}
    user haproxy
    group www-data
    log stderr format raw local0 info

{shipped}
"""


def shipped(name, host):
    """The text of conf/NAME.in as `make install` would fill it in."""
    text = (programs.TREE / f"conf/{name}.in").read_text()
    for word, value in (("hostrundir", host.run_dir), ("webgroup", "www-data"),
                        ("functionsdir", host.functions),
                        ("pkgdatadir", "/usr/share/fcgi-host")):
        text = text.replace(f"@{word}@", str(value))
    return text


def replace_once(text, old, new):
    assert text.count(old) == 1, f"{text.count(old)} times: {old}"
    return text.replace(old, new)


class Shipped(Server):
    """plain and tls are its ports; host.socket must be fcgi-host.sock."""

    def __init__(self, host):
        super().__init__(self.name)
        self.host = host
        self.plain, self.tls = free_ports(2)
        self.make_certificate()
        self.write()

    def make_certificate(self):
        openssl, = programs.need("openssl")
        pem = self.dir / "tls.pem"
        subprocess.run([openssl, "req", "-x509", "-nodes", "-newkey", "ec",
                        "-pkeyopt", "ec_paramgen_curve:prime256v1", "-subj",
                        "/CN=localhost", "-days", "2", "-keyout", pem, "-out",
                        self.dir / "cert.pem"], check=True,
                       stderr=subprocess.DEVNULL)
        with open(pem, "ab") as out:
            out.write((self.dir / "cert.pem").read_bytes())

    def write(self):
        raise NotImplementedError

    def fill(self, name, template, **words):
        (self.dir / name).write_text(template.format(
            dir=self.dir, plain=self.plain, tls=self.tls, **words))

    def logs(self):
        """All that it has written into its logs."""
        return "".join((self.dir / name).read_text("utf-8", "replace")
                       for name in ("error.log", "access.log", "out")
                       if (self.dir / name).exists())


class ShippedNginx(Shipped):
    """At the port `recipes` also conf/nginx-recipes.conf.in."""
    name = "nginx"
    command = Nginx.command

    def write(self):
        self.recipes, = free_ports(1)
        recipes = replace_once(shipped("nginx-recipes.conf", self.host),
                               "127.0.0.1:8081", f"127.0.0.1:{self.recipes}")
        self.fill("nginx.conf", NGINX_CONF,
                  shipped=self.here(shipped("nginx-location.conf", self.host)),
                  recipes=self.here(replace_once(
                      recipes, "/var/lib/nginx", str(self.dir))))

    @staticmethod
    def here(text):
        return text.replace("\tinclude fastcgi_params;",
                            "\tinclude /etc/nginx/fastcgi_params;")


class ShippedApache(Shipped):
    name = "Apache"
    command = Apache.command

    def write(self):
        self.fill("apache.conf", APACHE_CONF,
                  shipped=self.change(shipped("apache.conf", self.host)))

    def change(self, text):
        return text


class ReusingApache(ShippedApache):
    """As the comment in conf/apache.conf.in says."""

    def change(self, text):
        return replace_once(text, " flushpackets=on",
                            " flushpackets=on enablereuse=on")


class Lighttpd(Shipped):
    name = "lighttpd"

    def write(self):
        (self.dir / "up").mkdir()
        shutil.chown(self.dir / "up", "www-data")
        (self.dir / "fcgi-host.conf").write_text(
            shipped("lighttpd.conf", self.host))
        (self.dir / "authorizer.conf").write_text(
            shipped("lighttpd-authorizer.conf", self.host))
        self.fill("lighttpd.conf", LIGHTTPD_CONF)

    def command(self):
        lighttpd, = programs.need("lighttpd")
        return [lighttpd, "-D", "-f", f"{self.dir}/lighttpd.conf"]


class Caddy(Shipped):
    name = "Caddy"

    def write(self):
        text = shipped("Caddyfile", self.host)
        self.fill("Caddyfile", CADDY_CONF, shipped=replace_once(
            text, "localhost:8080", f"localhost:{self.plain}"))

    def command(self):
        caddy, = programs.need("caddy")
        return [caddy, "run", "--adapter", "caddyfile", "--config",
                f"{self.dir}/Caddyfile"]


class Haproxy(Shipped):
    """Its host listens where listen_in_chroot says, too."""
    name = "HAProxy"

    def write(self):
        bind = (f"bind 127.0.0.1:{self.plain}\n"
                f"\tbind 127.0.0.1:{self.tls} ssl crt {self.dir}/tls.pem")
        text = self.change(shipped("haproxy.cfg", self.host))
        self.fill("haproxy.cfg", HAPROXY_CONF, chroot=self.host.dir / "chroot",
                  shipped=replace_once(text, "bind 127.0.0.1:8080", bind))

    def change(self, text):
        return text

    def command(self):
        haproxy, = programs.need("haproxy")
        return [haproxy, "-db", "-f", f"{self.dir}/haproxy.cfg"]


class AskingHaproxy(Haproxy):
    """Would send many requests at a time over one connection, and asks first."""

    def change(self, text):
        return replace_once(text, "\toption keep-conn\n",
                            "\toption keep-conn\n\toption get-values\n"
                            "\toption mpxs-conns\n\toption max-reqs 32\n")


SERVERS = {server.name: server for server in
           (ShippedNginx, ShippedApache, Lighttpd, Caddy, Haproxy)}
SERVERS["reusing Apache"] = ReusingApache
SERVERS["asking HAProxy"] = AskingHaproxy


def listen_in_chroot(host):
    """Makes a host listen where HAProxy's file expects it, before its start."""
    chroot = host.dir / "chroot"
    chroot.mkdir(mode=0o755)
    host.configure({"host": {
        "listen": f"{host.socket} {chroot}/fcgi-host.sock"}})
