/*
 * The operational log: one line per event on descriptor 2, written with one
 * write(2) so that the lines of several processes do not mix.  Accounting is
 * not logging; it lives in ledger.h.  Used by every role; knows nothing above.
 */
#ifndef FCGI_HOST_LOG_H
#define FCGI_HOST_LOG_H

#include <stddef.h>
#include <stdint.h>

enum log_level { LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG };

#define LOG_LINE_MAX 4096

/* Sets the role's name (borrowed, shown in each line) and the threshold. */
void log_init(const char *role, enum log_level level);

/* Changes the threshold; with log_set_also's descriptor the only mutable global
 * besides signal flags. */
void log_set_level(enum log_level level);

/* Errors are written to fd (borrowed) too, or with -1 no longer: who starts a
 * host that logs to a file looks at the terminal while it is not ready. */
void log_set_also(int fd);

/* Parses "error", "warn", "info", "debug".  Returns 0 or -EINVAL. */
int log_level_parse(const char *text, enum log_level *level);

/*
 * Writes one event: "time=… level=… role=… event=EVENT FMT…".  FMT holds
 * key=value pairs.  Every byte of the finished line that is a control byte or
 * not ASCII is written as \xNN, so a caller may pass outside bytes through %s;
 * a value that can hold a space is written key="%s" and then quotes and
 * backslashes of the value are the caller's to pass through log_value().
 * Lines longer than LOG_LINE_MAX are cut.
 */
void log_event(enum log_level level, const char *event, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* As log_event at LOG_INFO, whatever the threshold is: a function's own words
 * are its tenant's, not the host's chatter. */
void log_output(const char *event, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

/* The same line, with its newline, into out instead of descriptor 2, whatever the
 * threshold is.  Its length. */
size_t log_text(char out[LOG_LINE_MAX], enum log_level level, const char *event,
    const char *fmt, ...) __attribute__((format(printf, 4, 5)));

/* Escapes quotes, backslashes and unprintable bytes of text[0..n) into out
 * (size bytes, always terminated); returns out. */
const char *log_value(char *out, size_t size, const char *text, size_t n);

/*
 * A rate limit for a repeated event: at most `burst` events per `window_ms`.
 * log_limit_pass returns 1 when the event may be written and then stores in
 * *suppressed how many were swallowed before it.  Zero-initialised is ready;
 * now_us is CLOCK_MONOTONIC in microseconds.
 */
struct log_limit {
	uint64_t window_start_us;
	uint32_t passed;
	uint32_t suppressed;
};
int log_limit_pass(struct log_limit *limit, uint32_t burst, uint32_t window_ms,
    uint64_t now_us, uint32_t *suppressed);

/* A broken environment at start: logs with the mend, exits with status 1.
 * Unreachable from a web server's or a function's bytes. */
_Noreturn void log_fatal(const char *event, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

/* Our own bug: logs and aborts with a core. */
_Noreturn void log_panic(const char *file, int line, const char *claim);
#define LOG_ASSERT(claim) \
	((claim) ? (void)0 : log_panic(__FILE__, __LINE__, #claim))

#endif
