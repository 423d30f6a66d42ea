/*
 * Texts of the configuration ↔ values: units, near misses, checks of paths and
 * accounts that several sections share.  Pure; part of settings.
 */
#ifndef FCGI_HOST_SETTINGS_TEXT_H
#define FCGI_HOST_SETTINGS_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Writes the sentence and returns -EINVAL. */
int settings_problem(char *problem, size_t size, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* *field becomes a copy of the text; what it was is freed.  0 or -ENOMEM. */
int settings_put_text(char **field, const char *value);

/* Texts ↔ values, for messages and for other sections.  Durations: ms, s, m, h,
 * d; a unit is required except for 0.  Sizes: bytes, K, M, G (1024).  -EINVAL. */
int settings_parse_duration_ms(const char *text, uint64_t *ms);
int settings_parse_size(const char *text, uint64_t *bytes);
int settings_parse_count(const char *text, uint64_t *count);
int settings_parse_bool(const char *text, bool *value);
/* "80%", or "80". */
int settings_parse_percent(const char *text, uint64_t *percent);

/* The nearest known key to a misspelt one, or NULL: "unknown key; do you mean". */
const char *settings_nearest(const char *key, const char *const *keys,
    size_t count);
/* "0.5" → 500.  -EINVAL. */
int settings_parse_milli(const char *text, uint64_t *milli);

/* The shortest exact text: "30s", "128M". */
const char *settings_duration_text(uint64_t ms, char *out, size_t size);
const char *settings_size_text(uint64_t bytes, char *out, size_t size);

/* Absolute, no "." or ".." segment, no doubled slash, no slash at its end. */
bool settings_path_ok(const char *path);
/* [a-z_][a-z0-9_-]*, at most 32: what useradd accepts. */
bool settings_account_ok(const char *name);
/* "/path" or "/path:rw", at most SETTINGS_BIND_MAX by blanks; 0 or -EINVAL. */
#define SETTINGS_BIND_MAX 8
int settings_check_bind(const char *value, char *problem, size_t size);
/* Names of parameters and prefixes, by blanks; 0 or -EINVAL. */
int settings_check_params(const char *value, char *problem, size_t size);

#endif
