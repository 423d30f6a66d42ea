#!/bin/sh
# Pictures by ImageMagick: each query string is one part.  Those that
# make one smaller answer with it.

fail() {
	printf 'Status: 500\nContent-Type: text/plain\n\n%s\n' "$*"
	exit 0
}

say() {
	printf 'Content-Type: text/plain\n\n%s: ok %s\n' "$QUERY_STRING" "$*"
}

part_resize() {
	convert - -auto-orient -resize 400x300 -unsharp 0x1 -strip \
	    jpeg:/tmp/small.jpg 2>/tmp/errors || fail "$(cat /tmp/errors)"
	printf 'Content-Type: image/jpeg\n\n'
	cat /tmp/small.jpg
}

# The same, with a hint for the decoder, which then makes no large picture.
part_hinted() {
	convert -define jpeg:size=800x600 - -auto-orient -resize 400x300 \
	    -unsharp 0x1 -strip jpeg:/tmp/small.jpg 2>/tmp/errors ||
		fail "$(cat /tmp/errors)"
	printf 'Content-Type: image/jpeg\n\n'
	cat /tmp/small.jpg
}

# Every core's thread, formats, a font by name, and dither of a file in /etc.
part_formats() {
	for format in png gif webp tiff bmp; do
		convert -size 300x200 gradient:red-blue -font DejaVu-Sans \
		    -pointsize 30 -fill white -gravity center \
		    -annotate 0 "$format" -ordered-dither o4x4 /tmp/a.$format \
		    2>/tmp/errors || fail "$format: $(cat /tmp/errors)"
	done
	montage /tmp/a.png /tmp/a.gif -geometry +2+2 /tmp/both.png \
	    2>/tmp/errors || fail "montage: $(cat /tmp/errors)"
	say "$(identify -format '%wx%h' /tmp/both.png)"
}

# The machine's policy holds: Debian forbids PostScript.
part_policy() {
	identify -list policy | grep -q 'Path: /etc/ImageMagick' ||
		fail "$(identify -list policy)"
	printf '%%!PS\nshowpage\n' >/tmp/a.ps
	convert /tmp/a.ps /tmp/a.png 2>/tmp/errors && fail "PostScript"
	grep -q 'not allowed by the security policy' /tmp/errors ||
		fail "$(cat /tmp/errors)"
	say forbidden
}

"part_$QUERY_STRING"
