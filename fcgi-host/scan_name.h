/*
 * From names of files to names of functions.  Pure; the scanner's lowest room.
 *
 * NAME.EXT is the function NAME where a runtime has EXT (or it is cgi or fcgi);
 * any other dot belongs to the name.  NAME.ini is the sidecar of NAME.  What
 * begins with a dot is hidden: it is neither served nor reported; and so is
 * NAME.env, unless it can be executed.
 */
#ifndef FCGI_HOST_SCAN_NAME_H
#define FCGI_HOST_SCAN_NAME_H

#include <stdbool.h>
#include <stddef.h>

#include "fcgi-host/conf.h"
#include "fcgi-host/ctl_msg.h"

/* A file's name, taken apart. */
struct scan_stem {
	size_t length;         /* of the function's part of the name */
	const char *extension; /* into the file's name; NULL: none known */
};
struct scan_stem scan_stem(const struct conf *conf, const char *file);

bool scan_name_is_hidden(const char *file);
/* NAME.ini with a NAME; its length in *stem_length. */
bool scan_name_is_sidecar(const char *file, size_t *stem_length);
/* .env, NAME.env: what a sidecar's `env_file` may name. */
bool scan_name_is_env(const char *file);
/* main, main.EXT, index, index.EXT: makes its folder a function (the sidecars
 * main.ini and index.ini too, so that a folder whose sidecar came first shows
 * nothing of its inside). */
bool scan_name_is_main(const char *file);
/* The same, for events: true also for main.js.tmp, which costs one look. */
bool scan_name_is_main_like(const char *file);

/* prefix + "/" + segment[0..length) (no slash when prefix is empty) into out;
 * 0, or -ENAMETOOLONG, which leaves "" there. */
int scan_join(char *out, size_t size, const char *prefix, const char *segment,
    size_t length);

/* Copies what fits; everything behind it is zero, as in a message. */
void scan_set_text(char *out, size_t size, const char *text);
#define SCAN_SET(array, text) scan_set_text((array), sizeof(array), (text))

/*
 * What stands for a name that is none: prefix/file with quotes, backslashes
 * and unprintable bytes escaped, at most CTL_NAME_MAX long (a long one ends in
 * ~ and a hash of all of it).  Never equal to a good name, since the file's
 * name, or the depth, is bad.
 */
void scan_name_escape(char out[CTL_NAME_MAX + 1], const char *prefix,
    const char *file);

#endif
