#!/bin/sh
# The smallest function: a CGI program in shell.
printf 'Content-Type: text/plain; charset=utf-8\n\n'
printf 'Hello from %s!\n' "${SCRIPT_NAME:-a shell}"
printf 'You asked for %s %s\n' "$REQUEST_METHOD" "${PATH_INFO:-/}"
