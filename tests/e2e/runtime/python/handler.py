"""handler(request) in all the forms of its answer."""
import json


def handler(request):
    form = request.path.strip("/")
    if form == "facts":
        return {"method": request.method, "path": request.path,
                "query": request.query, "all": request.query_all,
                "type": request.headers.get("Content-Type"),
                "own": request.headers["x-Own-FIELD"],
                "missing": "X-Missing" in request.headers,
                "names": sorted(request.headers),
                "body": request.body.decode("latin-1"),
                "environ": request.environ["REQUEST_METHOD"]}
    return {"text": lambda: "plain ü", "bytes": lambda: b"\x00\xff",
            "dict": lambda: {"a": [1, None]}, "list": lambda: ["x", 2],
            "tuple": lambda: (201, {"X-Made": "yes"}, "made"),
            "pairs": lambda: (200, [("Set-Cookie", "a=1"),
                                    ("Set-Cookie", "b=2")], b"pair"),
            "phrase": lambda: ("404 Nowhere", {"Content-Type": "text/html"},
                               "<p>"),
            "empty": lambda: (204, {}, None),
            "stream": lambda: parts(), "json": lambda: body(request),
            "form": lambda: request.form(), "none": lambda: None,
            "upload": lambda: upload(request),
            "number": lambda: 7, "short": lambda: (200, "x"),
            "raise": lambda: json.loads("{"),
            "lines": lambda: (b"<" + line.strip() + b">"
                              for line in request.stream),
            }[form]()


def body(request):
    try:
        return request.json()
    except ValueError as error:
        return 400, {}, str(error)


def upload(request):
    return {name: value if isinstance(value, str) else
            [value.filename, value.type, value.data.decode("latin-1")]
            for name, value in request.form().items()}


def parts():
    yield "text and "
    yield b"bytes"
