"""Behind a real nginx, with connections kept and not."""
import json
import pathlib
import re
import subprocess
import time

import pytest

from lib import programs as programs_room
from lib import servers, threads, web


@pytest.fixture(scope="module")
def host(start, programs):
    return start.host({"swiss.cgi": programs.cgi, "warm.fcgi": programs.fcgi,
                       "alice/app.cgi": programs.cgi,
                       "tiny.cgi": programs.cgi},
                      {"function tiny": {"body_max": "1K", "instances": "1",
                                         "queue": "0"}})


@pytest.fixture(scope="module")
def nginx(start, host):
    more = f"""
        location /shop/ {{
            include /etc/nginx/fastcgi_params;
            fastcgi_param FCGI_HOST_FUNCTION alice/app;
            fastcgi_param FCGI_HOST_PREFIX /shop;
            fastcgi_pass unix:{host.socket};
        }}"""
    return start.nginx(host, plain_more=more)


@pytest.fixture(params=["plain", "kept", "stream"])
def port(request, nginx):
    return getattr(nginx, request.param)


FUNCTIONS = pytest.mark.parametrize("name", ["swiss", "warm"])


@FUNCTIONS
# W52
def test_answers_come_through(port, name):
    """With nothing but nginx's own params and an id."""
    own = pathlib.Path("/etc/nginx/fastcgi_params").read_text()
    assert not re.search("SCRIPT_FILENAME|PATH_INFO", own)
    for _ in range(20):
        reply = web.get(port, f"/fn/{name}/p?head&raw=yes&env=PATH_INFO")
        assert (reply.status, reply.is_whole) == (200, True)
        assert reply.text == "yesPATH_INFO=/p\n"


@FUNCTIONS
def test_many_requests_share_one_client_connection(port, name):
    with web.Client(port) as client:
        for lap in range(30):
            reply = client.ask(f"/fn/{name}?head&raw={lap}").read()
            assert (reply.status, reply.text) == (200, str(lap))


def connections_to(path):
    """Connected ends of a Unix socket that were accepted at path."""
    lines = pathlib.Path("/proc/net/unix").read_text().splitlines()
    return sum(1 for line in lines if line.endswith(" " + path) and
               line.split()[5] == "03")


def test_kept_connections_are_used_again(nginx, host):
    assert web.get(nginx.kept, "/fn/swiss?head").status == 200
    kept = connections_to(host.socket)
    assert kept >= 1
    for port in (nginx.kept, nginx.plain):
        for _ in range(30):
            assert web.get(port, "/fn/swiss?head").status == 200
        until = time.monotonic() + 30
        while connections_to(host.socket) > kept:
            assert time.monotonic() < until, "connections pile up"
            time.sleep(0.05)
        assert connections_to(host.socket) >= 1


@FUNCTIONS
def test_head_has_the_header_and_no_body(port, name):
    with web.Client(port) as client:
        reply = client.ask(f"/fn/{name}?head&out=5000", "HEAD").read("HEAD")
        assert reply.status == 200
        assert reply.header("Content-Type") == "text/plain"
        reply = client.ask(f"/fn/{name}?head&raw=next").read()
        assert reply.text == "next"


@FUNCTIONS
@pytest.mark.parametrize("query,status,location", [
    ("field=Location:+http://example.org/x&end", 302, "http://example.org/x"),
    ("field=Status:+303+See+Other&field=Location:+http://example.org/y&end",
     303, "http://example.org/y"),
    ("field=Location:+/fn/elsewhere&end", 302, "/fn/elsewhere")])
def test_redirects_reach_the_client(port, name, query, status, location):
    reply = web.get(port, f"/fn/{name}?{query}")
    assert reply.status == status
    assert reply.header("Location").endswith(location)


@pytest.mark.parametrize("status", [200, 201, 400, 403, 404, 418, 500, 503])
def test_a_functions_status_is_the_clients(port, status):
    reply = web.get(port, f"/fn/swiss?field=Status:+{status}&head&raw=b")
    assert (reply.status, reply.text) == (status, "b")


def test_several_cookies_and_long_headers_survive(port):
    reply = web.get(port, "/fn/swiss?field=Set-Cookie:+a=1&field=Set-Cookie:"
                    "+b=2&field=X-Long:+" + "x" * 2000 + "&head&raw=c")
    assert reply.all("Set-Cookie") == ["a=1", "b=2"]
    assert reply.header("X-Long") == "x" * 2000


def test_the_request_id_joins_access_log_and_record(nginx, host):
    reply = web.get(nginx.plain, "/fn/swiss?head&env=REQUEST_ID")
    request_id = reply.text.strip().partition("=")[2]
    assert re.fullmatch(r"[0-9a-f]{32}", request_id)
    record = host.books.wait_request(request_id)
    assert record["status"] == 200
    found = nginx.wait_access_log(request_id)
    assert len(found) == 1 and "/fn/swiss" in found[0]


def test_a_location_sets_function_and_prefix(nginx):
    reply = web.get(nginx.plain,
                    "/shop/cart/9?head&env=SCRIPT_NAME&env=PATH_INFO")
    assert reply.text == "SCRIPT_NAME=/shop\nPATH_INFO=/cart/9\n"


def test_an_escaped_url_is_split_the_same(port):
    reply = web.get(port, "/fn/swiss/a%20b/%C3%A9?head&env=SCRIPT_NAME"
                    "&env=PATH_INFO&env=QUERY_STRING")
    assert reply.text.startswith("SCRIPT_NAME=/fn/swiss\n"
                                 "PATH_INFO=/a b/é\nQUERY_STRING=head&")


def test_the_hosts_own_refusals_reach_the_client(host, port):
    reply = web.get(port, "/fn/nobody")
    assert reply.status == 404 and reply.text.strip()
    reply = web.get(port, "/fn/tiny?head", "POST", body=b"x" * 3000)
    assert reply.status == 413
    held = threads.begin(web.get, port,
                         f"/fn/tiny?err=holds-{port}&sleep=1000&head")
    host.wait_log(f"holds-{port}")
    refused = web.get(port, "/fn/tiny?head")
    assert refused.status == 503 and refused.header("Retry-After")
    assert held.result().status == 200
    assert web.get(port, "/fn/swiss?kill=11").status == 502


# W29
def test_httpoxy_is_closed(port):
    reply = web.get(port, "/fn/swiss?head&env=HTTP_PROXY",
                    headers=[("Proxy", "http://evil")])
    assert reply.text == "HTTP_PROXY=(unset)\n"


def test_the_installed_location_works_unchanged(start_once, programs):
    """conf/nginx-location.conf.in, with only the socket's place filled in."""
    host = start_once.host({"swiss.cgi": programs.cgi},
                           socket_name="fcgi-host.sock")
    snippet = (programs_room.TREE / "conf/nginx-location.conf.in").read_text()
    snippet = snippet.replace("@hostrundir@", str(host.run_dir)).replace(
        "include fastcgi_params", "include /etc/nginx/fastcgi_params")
    assert "@" not in snippet
    port, = servers.free_ports(1)
    nginx = start_once.nginx(host, http_more=f"""
        server {{ listen 127.0.0.1:{port}; {snippet} }}""")
    reply = web.get(port, "/fn/swiss/x?head&env=PATH_INFO&env=REQUEST_ID")
    assert reply.text.startswith("PATH_INFO=/x\nREQUEST_ID=")
    request_id = reply.text.split("=")[-1].strip()
    assert host.books.wait_request(request_id)["status"] == 200
    assert nginx.wait_access_log(request_id)


def test_records_are_read_by_jq(host):
    jq, = programs_room.need("jq")
    host.execute("/fn/swiss?head")
    out = subprocess.run([jq, "-c", "select(.type==\"exec\") | "
                          "[.function, .billed_ms]", host.accounting],
                         check=True, stdout=subprocess.PIPE).stdout
    rows = [json.loads(line) for line in out.splitlines()]
    assert len(rows) == len(host.books.executions())
