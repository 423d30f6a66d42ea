"""What of fcgi-host-python is Python; embedded into the program by `embed`.

load() makes a WSGI application of a function's file, adapt() one of a
handler(request), and check() says what a file is without running it.  It imports
nothing that an interpreter has not loaded when it starts; what a handler asks for
is imported when it asks.
"""
import os
import sys
from _collections_abc import Mapping
from io import TextIOWrapper

PHRASES = {
    200: "OK", 201: "Created", 202: "Accepted", 204: "No Content",
    206: "Partial Content", 301: "Moved Permanently", 302: "Found",
    303: "See Other", 304: "Not Modified", 307: "Temporary Redirect",
    308: "Permanent Redirect", 400: "Bad Request", 401: "Unauthorized",
    403: "Forbidden", 404: "Not Found", 405: "Method Not Allowed",
    409: "Conflict", 410: "Gone", 413: "Content Too Large",
    415: "Unsupported Media Type", 422: "Unprocessable Content",
    429: "Too Many Requests", 500: "Internal Server Error",
    501: "Not Implemented", 502: "Bad Gateway", 503: "Service Unavailable",
    504: "Gateway Timeout",
}
TEXT = "text/plain; charset=utf-8"
BYTES = "application/octet-stream"
ONLY_AST = 0x400
# of a form or URL: each becomes an object or more
FIELDS_MAX = 10000


class Headers(Mapping):
    """The request's header: names in any case, values as they came."""

    __slots__ = ("_environ",)

    def __init__(self, environ):
        self._environ = environ

    def __getitem__(self, name):
        key = name.upper().replace("-", "_")
        if key not in ("CONTENT_TYPE", "CONTENT_LENGTH"):
            key = "HTTP_" + key
        try:
            return self._environ[key]
        except KeyError:
            raise KeyError(name) from None

    def __iter__(self):
        for key in self._environ:
            if key.startswith("HTTP_"):
                yield key[5:].replace("_", "-").lower()
            elif key in ("CONTENT_TYPE", "CONTENT_LENGTH"):
                yield key.replace("_", "-").lower()

    def __len__(self):
        return sum(1 for _ in self)

    def __repr__(self):
        return f"Headers({dict(self)})"


class Request:
    """What handler(request) is given; environ is WSGI's."""

    __slots__ = ("environ", "headers", "_body", "_pairs", "_query")

    def __init__(self, environ):
        self.environ = environ
        self.headers = Headers(environ)
        self._body = self._pairs = self._query = None

    @property
    def method(self):
        return self.environ["REQUEST_METHOD"]

    @property
    def path(self):
        """The URL's path behind the function's own, "/" if there is none."""
        path = self.environ["PATH_INFO"].encode("latin-1")
        return path.decode("utf-8", "replace") or "/"

    @property
    def query_all(self):
        """All parameters of the URL: [(name, value)]."""
        if self._pairs is None:
            self._pairs = _pairs(self.environ["QUERY_STRING"])
        return self._pairs

    @property
    def query(self):
        """The URL's parameters; of several with one name the first."""
        if self._query is None:
            self._query = _firsts(self.query_all)
        return self._query

    @property
    def stream(self):
        """The body as it comes: read, read1, readline, iteration by lines."""
        return self.environ["wsgi.input"]

    @property
    def body(self):
        """The whole body; what of it was read by `stream` before is not here."""
        if self._body is None:
            self._body = self.stream.read()
        return self._body

    @property
    def text(self):
        return self.body.decode("utf-8")

    def json(self):
        """The body as JSON; ValueError if it is none."""
        import json
        try:
            return json.loads(self.body)
        except RecursionError:
            raise ValueError("the JSON is nested too deeply") from None

    def form(self):
        """The fields of a form, str or Upload; of several with one name the first.
        ValueError if the body is no form."""
        kind = self.headers.get("content-type", "")
        name = kind.partition(";")[0].strip().lower()
        if name == "application/x-www-form-urlencoded":
            return _firsts(_pairs(self.body.decode("latin-1")))
        if name == "multipart/form-data":
            return _firsts(_parts(self.body, kind))
        raise ValueError(f"the body is no form but {kind or 'of no type'}")

    def __repr__(self):
        return f"<Request {self.method} {self.path}>"


class Upload:
    """A file of a form: the name that the visitor's browser gives it, which is no
    path to be trusted, its type, and its bytes."""

    __slots__ = ("filename", "type", "data")

    def __init__(self, filename, kind, data):
        self.filename, self.type, self.data = filename, kind, data

    def __repr__(self):
        return f"<Upload {self.filename!r} {self.type} {len(self.data)} bytes>"


def _pairs(text):
    from urllib.parse import parse_qsl
    return parse_qsl(text, keep_blank_values=True, max_num_fields=FIELDS_MAX)


def _parameter(text, name):
    """A parameter of a header's value, as boundary in multipart/form-data; None:
    it is not there.  Browsers write a quote in it as %22."""
    for piece in text.split(";")[1:]:
        key, _, value = piece.strip().partition("=")
        if key.strip().lower() == name:
            # what stands in quotes may hold a semicolon
            if value.startswith('"'):
                value = text[text.index(piece) + piece.index('"') + 1:]
                return value.partition('"')[0]
            return value.strip()
    return None


def _part(head, data):
    fields = {}
    for line in head.decode("utf-8", "replace").split("\r\n"):
        key, _, value = line.partition(":")
        fields[key.strip().lower()] = value.strip()
    place = fields.get("content-disposition", "")
    name, filename = _parameter(place, "name"), _parameter(place, "filename")
    if name is None:
        raise ValueError("a part of the form has no name")
    if filename is None:
        return name, data.decode("utf-8", "replace")
    return name, Upload(filename, fields.get("content-type", BYTES), data)


def _parts(body, kind):
    """The fields of a multipart/form-data body (RFC 7578)."""
    boundary = _parameter(kind, "boundary")
    if not boundary:
        raise ValueError("the form's type has no boundary")
    _, *parts = (b"\r\n" + body).split(b"\r\n--" + boundary.encode("latin-1"),
                                       FIELDS_MAX)
    if not parts or not parts[-1].startswith(b"--"):
        raise ValueError("the form has no end, or too many fields")
    found = []
    for part in parts[:-1]:
        head, _, data = part.partition(b"\r\n\r\n")
        found.append(_part(head, data))
    return found


def _firsts(pairs):
    return dict(reversed(pairs))


class Stream:
    """A handler's iterable: text in it is sent as UTF-8."""

    __slots__ = ("_source", "_next")

    def __init__(self, source):
        self._source = source
        self._next = iter(source).__next__

    def __iter__(self):
        return self

    def __next__(self):
        part = self._next()
        return part.encode() if isinstance(part, str) else part

    def close(self):
        close = getattr(self._source, "close", None)
        if close is not None:
            close()


def _body(result):
    """A handler's body as (its Content-Type, what WSGI sends)."""
    if isinstance(result, str):
        return TEXT, [result.encode()]
    if isinstance(result, (bytes, bytearray, memoryview)):
        return BYTES, [bytes(result)]
    if isinstance(result, (dict, list)):
        import json
        return "application/json", [json.dumps(result).encode()]
    if hasattr(result, "__iter__"):
        return BYTES, Stream(result)
    raise TypeError(
        f"handler() returned {type(result).__name__}; it returns str, bytes, a "
        "dict or list (JSON), (status, headers, body), or an iterable of bytes")


def _answer(result):
    """What a handler returned as (status, header, body) of WSGI."""
    status, fields, kind = 200, [], None
    if isinstance(result, tuple):
        if len(result) != 3:
            raise TypeError(f"handler() returned a tuple of {len(result)}; it is "
                            "(status, headers, body)")
        status, fields, result = result
        items = getattr(fields, "items", None)
        fields = list(items() if items else fields or ())
        if result is None:
            result = b""
            kind = ""
    own, body = _body(result)
    if kind is None and all(name.lower() != "content-type"
                            for name, _ in fields):
        fields.append(("Content-Type", own))
    if not isinstance(status, str):
        status = f"{int(status)} {PHRASES.get(status, 'Unknown')}"
    return status, fields, body


def adapt(handler):
    """A WSGI application of handler(request)."""
    def application(environ, start_response):
        status, fields, body = _answer(handler(Request(environ)))
        start_response(status, fields)
        return body
    return application


# ------------------------------------------------------------------- log

written = bytearray(1)


class Log(TextIOWrapper):
    """sys.stdout and sys.stderr: lines for the log.  `written` says whether there
    may be something to flush at a request's end: to ask each time costs as much as
    a third of a request."""

    def write(self, text):
        written[0] = 1
        return TextIOWrapper.write(self, text)

    def writelines(self, lines):
        written[0] = 1
        return TextIOWrapper.writelines(self, lines)

    @property
    def buffer(self):
        written[0] = 1
        return TextIOWrapper.buffer.__get__(self)


def open_logs():
    """Puts them in the place of those that the interpreter has made."""
    for name in ("stdout", "stderr"):
        old = getattr(sys, name)
        encoding, errors = old.encoding, old.errors
        new = Log(old.detach(), encoding, errors, line_buffering=True)
        setattr(sys, name, new)
        setattr(sys, f"__{name}__", new)
    return sys.stdout, sys.stderr, written


# --------------------------------------------------------------- loading

def _say(text):
    print(f"fcgi-host-python: {text}", file=sys.stderr)


def _entries(folder):
    """What may be there of what a function's folder can hold: to ask for each is
    dearer than to read the folder, where it may be read."""
    try:
        return os.listdir(folder)
    except OSError:
        return ["lib", ".venv", "venv"]


def _environment(folder, names):
    """A virtual environment's packages below folder, and whether the machine's
    packages are there beside them; or (None, True)."""
    version = "python%d.%d" % sys.version_info[:2]
    for name in (".venv", "venv"):
        if name not in names:
            continue
        place = f"{folder}/{name}"
        packages = f"{place}/lib/{version}/site-packages"
        if os.path.isdir(packages):
            sys.prefix = sys.exec_prefix = place
            return packages, _takes_machine(f"{place}/pyvenv.cfg")
        if os.path.isfile(f"{place}/pyvenv.cfg"):
            _say(f"{place} has no lib/{version}: it is of another Python, and "
                 f"is passed over; make it anew by {version} -m venv")
    return None, True


def _takes_machine(path):
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            lines = [line.partition("=") for line in file]
    except OSError:
        return False
    return any(key.strip().lower() == "include-system-site-packages" and
               value.strip().lower() == "true" for key, _, value in lines)


def _set_path(folder, extra):
    """The function's folder, PYTHONPATH, the standard library, the function's
    lib/ and virtual environment, the machine's packages."""
    machine = [path for path in sys.path
               if path.endswith(("/dist-packages", "/site-packages"))]
    standard = [path for path in sys.path if path not in machine]
    named = [path for path in (extra or "").split(":") if path]
    names, lib = _entries(folder), f"{folder}/lib"
    has_lib = "lib" in names and os.path.isdir(lib)
    sys.path[:] = [folder, *named, *standard, *([lib] if has_lib else ())]
    packages, takes_machine = _environment(folder, names)
    if packages is not None:
        import site
        site.addsitedir(packages)
    if takes_machine:
        sys.path += machine


def load(file, extra):
    """Runs a function's file and returns its WSGI application."""
    folder, _, base = file.rpartition("/")
    _set_path(folder or ".", extra)
    name = base.rpartition(".")[0] or base
    # a function of the name of a standard module does not take its place
    if name in sys.modules or name in sys.stdlib_module_names:
        name = "function_" + name
    code = compile_file(file)  # load.c
    module = type(sys)(name)
    module.__file__ = file
    sys.modules[name] = module
    exec(code, vars(module))
    application = getattr(module, "application", None)
    if application is not None:
        return application
    handler = getattr(module, "handler", None)
    if handler is not None:
        return adapt(handler)
    raise ImportError(f"{file} has neither application (WSGI) nor "
                      "handler(request); for a CGI script set runtime = python")


# -------------------------------------------------------------- checking

def _names(target):
    """The names that the left side of an assignment binds."""
    kind = type(target).__name__
    if kind == "Name":
        return [target.id]
    if kind == "Starred":
        return _names(target.value)
    return [name for one in getattr(target, "elts", ()) for name in _names(one)]


def _takes_one(node):
    """Whether a def can be called with one argument: a handler of signals has
    two."""
    args = node.args
    places = len(args.posonlyargs) + len(args.args)
    needed = places - len(args.defaults)
    return (needed <= 1 and (places >= 1 or args.vararg is not None) and
            all(default is not None for default in args.kw_defaults))


def _bound(node):
    """What one statement of a module binds, by names."""
    kind = type(node).__name__
    if kind == "FunctionDef":
        if node.name != "handler" or _takes_one(node):
            return [node.name]
    elif kind == "ClassDef":
        return [node.name]
    elif kind == "Assign":
        return [name for target in node.targets for name in _names(target)]
    elif kind == "AnnAssign" and node.value is not None:
        return _names(node.target)
    elif kind in ("Import", "ImportFrom"):
        return [one.asname or one.name.partition(".")[0] for one in node.names]
    return []


def _kind(tree):
    found, left = set(), [tree]
    while left:
        node = left.pop()
        if type(node).__name__ not in ("Module", "ExceptHandler",
                                       "match_case"):
            found.update(_bound(node))
            if type(node).__name__ in ("FunctionDef", "AsyncFunctionDef",
                                       "ClassDef"):
                continue
        for part in ("body", "orelse", "handlers", "finalbody", "cases"):
            left += getattr(node, part, ())
    return ("application" if "application" in found else
            "handler" if "handler" in found else "script")


def check(file):
    """Prints what a file is, from its syntax alone; the exit code: 0, 1 of one with
    an error, 2 of a script, which is another runtime's."""
    sys.stderr.flush()
    try:
        with open(file, "rb") as source:
            tree = compile(source.read(), file, "exec", ONLY_AST, True)
        compile(tree, file, "exec", dont_inherit=True)
    except SyntaxError as error:
        print(f"{file}:{error.lineno or 1}: {error.msg}", file=sys.stderr)
        return 1
    except (ValueError, RecursionError, MemoryError, OSError) as error:
        print(f"{file}:1: {error or type(error).__name__}", file=sys.stderr)
        return 1
    kind = _kind(tree)
    print(kind)
    return 2 if kind == "script" else 0
