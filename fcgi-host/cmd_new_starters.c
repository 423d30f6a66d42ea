#include "fcgi-host/cmd_new.h"

static const char sh_text[] =
"#!/bin/sh\n"
"# A CGI program: the request is in the environment, a body on standard input.\n"
"printf 'Content-Type: text/plain; charset=utf-8\\n\\n'\n"
"printf 'Hello from %s\\n' \"$SCRIPT_NAME\"\n"
"printf 'You asked for %s %s\\n' \"$REQUEST_METHOD\" \"${PATH_INFO:-/}\"\n"
"# Lines on standard error go into the log, with the request's id.\n"
"echo 'somebody was here' >&2\n";

/* WSGI, and by the interpreter alone a CGI program. */
static const char python_text[] =
"\"\"\"A WSGI application (PEP 3333).\n"
"\n"
"It stays loaded between requests; where there is no runtime for that it is run as\n"
"a CGI program.\n"
"\"\"\"\n"
"\n"
"\n"
"def application(environ, start_response):\n"
"    body = (f\"Hello from {environ['SCRIPT_NAME']}\\n\"\n"
"            f\"You asked for {environ['REQUEST_METHOD']} \"\n"
"            f\"{environ.get('PATH_INFO') or '/'}\\n\").encode()\n"
"    # print to it, and the line is in the log with the request's id\n"
"    print(\"somebody was here\", file=environ[\"wsgi.errors\"])\n"
"    start_response(\"200 OK\", [(\"Content-Type\", \"text/plain; charset=utf-8\"),\n"
"                              (\"Content-Length\", str(len(body)))])\n"
"    return [body]\n"
"\n"
"\n"
"if __name__ == \"__main__\":\n"
"    from wsgiref.handlers import CGIHandler\n"
"    CGIHandler().run(application)\n";

static const char node_text[] =
"// A fetch handler: takes a Request, returns a Response.\n"
"export default async function (request) {\n"
"  const url = new URL(request.url);\n"
"  // What is printed is in the log, with the request's id.\n"
"  console.log('somebody was here');\n"
"  return new Response(\n"
"    `Hello from Node\\nYou asked for ${request.method} ${url.pathname}\\n`,\n"
"    { headers: { 'Content-Type': 'text/plain; charset=utf-8' } });\n"
"}\n";

static const char php_text[] =
"<?php\n"
"// An ordinary page; error_log() writes into the log, with the request's id.\n"
"header('Content-Type: text/plain; charset=utf-8');\n"
"error_log('somebody was here');\n"
"?>\n"
"Hello from <?= $_SERVER['SCRIPT_NAME'], \"\\n\" ?>\n"
"You asked for <?= $_SERVER['REQUEST_METHOD'], ' ',\n"
"    ($_SERVER['PATH_INFO'] ?? '') ?: '/', \"\\n\" ?>\n";

static const char perl_text[] =
"# A PSGI application: the file's last value.\n"
"use strict;\n"
"use warnings;\n"
"\n"
"sub {\n"
"\tmy ($env) = @_;\n"
"\tmy $path = $env->{PATH_INFO} || '/';\n"
"\n"
"\t# print, too: what is printed is in the log, with the request's id\n"
"\twarn \"somebody was here\\n\";\n"
"\treturn [200, ['Content-Type' => 'text/plain; charset=utf-8'],\n"
"\t    [\"Hello from $env->{SCRIPT_NAME}\\n\",\n"
"\t    \"You asked for $env->{REQUEST_METHOD} $path\\n\"]];\n"
"};\n";

static const char ruby_text[] =
"# frozen_string_literal: true\n"
"\n"
"# A Rack application, as a config.ru.\n"
"run(lambda do |env|\n"
"  path = env['PATH_INFO'].empty? ? '/' : env['PATH_INFO']\n"
"  # What is printed is in the log, with the request's id.\n"
"  puts 'somebody was here'\n"
"  [200, { 'content-type' => 'text/plain; charset=utf-8' },\n"
"   [\"Hello from #{env['SCRIPT_NAME']}\\n\",\n"
"    \"You asked for #{env['REQUEST_METHOD']} #{path}\\n\"]]\n"
"end)\n";

static const char c_text[] =
"/* A handler; /build/program is made of this file whenever it has changed. */\n"
"#include <fcgi-host/function.h>\n"
"#include <stdio.h>\n"
"\n"
"int\n"
"handler(struct fcgi_request *request)\n"
"{\n"
"\t/* What is printed is in the log, with the request's id. */\n"
"\tputs(\"somebody was here\");\n"
"\tfcgi_printf(request, \"Hello from %s\\n\",\n"
"\t    fcgi_param(request, \"SCRIPT_NAME\"));\n"
"\treturn fcgi_printf(request, \"You asked for %s %s\\n\",\n"
"\t    fcgi_method(request), fcgi_path(request));\n"
"}\n";

const struct starter starters[] = {
	{ "sh", "sh", 0755, sh_text },
	{ "python", "py", 0644, python_text },
	{ "node", "mjs", 0644, node_text },
	{ "php", "php", 0644, php_text },
	{ "perl", "psgi", 0644, perl_text },
	{ "ruby", "ru", 0644, ruby_text },
	{ "c", "c", 0644, c_text },
};
const size_t starter_count = sizeof(starters) / sizeof(starters[0]);

const char starter_sidecar[] =
"; Settings of the function beside it, fcgi-host.ini(5); what goes beyond its\n"
"; tenant's is lowered to that.\n"
"[function]\n"
"timeout = 10s\n"
";memory = 64M\n"
";body_max = 1M\n"
";env.greeting = Hello\n";
