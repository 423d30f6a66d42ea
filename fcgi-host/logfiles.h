/*
 * The functions' own logs: a file for each, of which as many are open as there may
 * be.  The lines of one turn of the loop are gathered and written with one write for
 * each file.  The descriptor of a file, and how much may be written to it, comes
 * from above, when there is something to write: this room opens nothing.  What
 * cannot be written is dropped, counted, and told in the host's log.  Gateway only.
 */
#ifndef FCGI_HOST_LOGFILES_H
#define FCGI_HOST_LOGFILES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "fcgi-host/log.h"

/* Of one file, and of all, while they wait for a descriptor: what a function may write
 * in ten seconds, in lines as they are, fits, however slow the answer is. */
#define LOGFILES_HELD_MAX (512u * 1024)
#define LOGFILES_HELD_ALL (8u * 1024 * 1024)
#define LOGFILES_MAX 2048 /* that are open, or waited for */
/* Of the two above, what one tenant has at most: else who writes to a thousand logs
 * would leave the others no place. */
#define LOGFILES_SHARE 2
/* Who answers has other work: so many are asked for in a window, the others wait. */
#define LOGFILES_ASKS 200
#define LOGFILES_ASKS_US 100000
/* One that could not be written is not tried again before. */
#define LOGFILES_RETRY_US 1000000

struct logfiles;

/* Has to lead to one logfiles_give, later. */
typedef void logfiles_ask_fn(void *arg, const char *function);

/* NULL: no memory.  It is off. */
struct logfiles *logfiles_new(size_t open_max, logfiles_ask_fn *ask, void *arg);
/* What was not written is lost.  Accepts NULL. */
void logfiles_free(struct logfiles *files);

/* Whether functions log to files (NULL: no), by the configuration that holds from
 * now on: those that are open are written and closed. */
void logfiles_set(struct logfiles *files, bool is_on, uint64_t now_us);
bool logfiles_is_on(const struct logfiles *files);

/* A line, with its end, for a function's file. */
void logfiles_line(struct logfiles *files, const char *function,
    const char *line, size_t n, uint64_t now_us);

/* The same for what the host says of a function: it goes to the host's log too if
 * its threshold lets it, and if it is no chatter (LOG_DEBUG) to the file. */
void logfiles_event(struct logfiles *files, const char *function,
    uint64_t now_us, enum log_level level, const char *event, const char *fmt,
    ...) __attribute__((format(printf, 6, 7)));

/*
 * The answer: fd (taken; -1 with an error), to which `room` bytes may be written
 * before it is asked for anew; or a positive errno.  EOPNOTSUPP: functions log where
 * the host does, and what waited goes there.
 */
void logfiles_give(struct logfiles *files, const char *function, int fd,
    uint64_t room, int error, uint64_t now_us);

/* Writes what was gathered, and asks for what may be asked for.  True: something
 * waits for its turn, in LOGFILES_ASKS_US. */
bool logfiles_flush(struct logfiles *files, uint64_t now_us);

/* Closes the file that was written to longest ago.  False: none is open. */
bool logfiles_give_way(struct logfiles *files, uint64_t now_us);

/* Writes and closes all: they may have been moved away. */
void logfiles_close(struct logfiles *files, uint64_t now_us);

#endif
