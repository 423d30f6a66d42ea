#!/bin/sh
# A picture becomes a small one, by ImageMagick: ?size=100, at most 1000.
#	curl --data-binary @photo.jpg 'http://127.0.0.1:8080/fn/thumbnail?size=100' -o small.png
fail() { # STATUS SENTENCE
	printf 'Status: %s\nContent-Type: text/plain\n\n%s\n' "$1" "$2"
	exit 0
}

size=200
case $QUERY_STRING in
size=*) size=${QUERY_STRING#size=} ;;
esac
case $size in
'' | *[!0-9]* | ?????*) fail 400 'say ?size=100' ;;
esac
[ "$size" -ge 1 ] && [ "$size" -le 1000 ] || fail 400 'from 1 to 1000'
command -v convert > /dev/null || fail 501 'ImageMagick is not installed'

# A client's bytes decide what is read: only these formats, by their first bytes.
# Half a photo would become half a picture.
cat > /tmp/in || fail 507 'there is no room for the picture'
case $(head -c 12 /tmp/in | od -An -tx1 | tr -d ' \n') in
89504e470d0a1a0a*) kind=png ;;
ffd8ff*) kind=jpeg ;;
52494646????????57454250) kind=webp ;;
*) fail 415 'a PNG, a JPEG or a WebP, please' ;;
esac
# The size as a hint, too: libjpeg then reads a photo small.
convert -define "jpeg:size=$((size * 2))x$((size * 2))" "$kind:/tmp/in[0]" \
    -auto-orient -thumbnail "${size}x$size>" -strip png:/tmp/out >&2 ||
    fail 422 'the picture cannot be read'
printf 'Content-Type: image/png\nContent-Length: %s\n\n' "$(stat -c %s /tmp/out)"
cat /tmp/out
