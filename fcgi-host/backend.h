/*
 * One execution's transport to its instance: a CGI program's three pipes, or a
 * FastCGI connection.  The same four acts for both: write body, read answer,
 * learn of the end, let go.  The caller pulls; what it does not read stays in
 * the kernel and holds the function back.
 */
#ifndef FCGI_HOST_BACKEND_H
#define FCGI_HOST_BACKEND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "fcgi-host/buf.h"
#include "fcgi-host/cgi_env.h"
#include "fcgi-host/fcgi_record.h"
#include "fcgi-host/funclog.h"
#include "fcgi-host/instance.h"
#include "fcgi-host/loop.h"

/* Called from the loop, never from inside a call into this room. */
struct backend_events {
	void (*readable)(void *arg); /* backend_read may give something */
	void (*writable)(void *arg); /* backend_write may take something */
	void (*ended)(void *arg);    /* backend->end is set */
	void (*gone)(void *arg);     /* the instance is dead, totals are in */
	void (*measured)(void *arg, uint64_t memory_kib);
};

enum backend_end {
	BACKEND_RUNNING,
	BACKEND_ENDED, /* orderly: exit_code, signal_number tell how */
	BACKEND_LOST,  /* the connection broke, or no program came up */
	BACKEND_DIRTY  /* ended, but the sandbox could not be cleaned */
};

struct backend;

/* What differs between the two kinds. */
struct backend_kind {
	int (*start)(struct backend *backend, const struct cgi_env *env,
	    bool has_body);
	ssize_t (*read)(struct backend *backend, void *out, size_t size);
	ssize_t (*write)(struct backend *backend, const void *data, size_t n);
	int (*body_end)(struct backend *backend);
	/* nobody waits for the answer; NULL: there is no way to tell it */
	void (*abort)(struct backend *backend);
	void (*want)(struct backend *backend, bool is_read, bool is_write);
	void (*report)(struct backend *backend,
	    const struct init_report *report);
	/* the instance is dead; NULL: that says nothing */
	void (*gone)(struct backend *backend);
	void (*close)(struct backend *backend);
};

struct backend {
	const struct backend_kind *kind;
	struct instance *instance;
	const struct backend_events *events;
	void *arg;
	char request_id[RECORD_REQUEST_ID_MAX + 1];
	enum backend_end end;
	bool is_eof;   /* nothing more will come from backend_read */
	bool is_body_ended;
	bool is_instance_usable; /* it may serve again */
	bool is_undelivered;     /* LOST, and no program has seen the request */
	bool is_short;           /* that, for want of descriptors or memory */
	int exit_code;           /* -1: none */
	int signal_number;       /* 0: none */
	int exec_error;          /* errno of an execve that failed, 0 */
	uint64_t user_us, system_us, memory_kib; /* CGI: wait4's */
	const char *problem;     /* static text, when LOST */
	struct funclog log;
	/* CGI: the pipes */
	int in_fd, out_fd, err_fd;
	struct loop_io in_io, out_io, err_io;
	/* FastCGI, on the instance's channel */
	uint16_t role;
	bool wants_read, wants_write, is_broken;
	bool is_idle_talk; /* what came last held no answer */
	bool is_program_dead; /* what it wrote is all that will come */
	bool keeps;           /* the connection is to be kept */
	bool is_reused;       /* it was kept */
	bool has_begun;       /* its answer */
	bool is_aborted;      /* it was told that nobody waits for it */
	bool may_send_again;  /* a reset says that nothing was read */
	struct fcgi_parser parser;
	struct buf sending;
	struct buf sent;      /* the request, while it may be sent again */
	uint8_t small[8];
	size_t small_have;
	struct loop_timer grace;
	struct loop_task task;
};

/* Whether an execution in it begins with the start of a FastCGI program. */
bool backend_needs_program(const struct instance *instance);

/* Starts the FastCGI program of an idle instance ahead of its first request; env
 * is the program's own.  0 or negative errno: the instance is of no use. */
int backend_boot(struct instance *instance, const struct cgi_env *env);
/*
 * Takes an IDLE instance and starts an execution in it.  env is the whole
 * environment of the request; program_env that of a FastCGI process, NULL
 * unless backend_needs_program; role what it is to be: FCGI_RESPONDER, or
 * FCGI_AUTHORIZER.  That has no STDIN, but an end of one is sent: libfcgi would
 * wait for it where a program reads.
 * 0; or negative errno, and backend_close is to be called.  Of a shortage (but
 * -EAGAIN: it takes nothing) and of -E2BIG the instance knows nothing, and can
 * serve on; else it is to be killed.
 */
int backend_start(struct backend *backend, struct instance *instance,
    const struct cgi_env *env, const struct cgi_env *program_env,
    const char *request_id, uint16_t role, bool has_body,
    const struct backend_events *events, void *arg);

/* Bytes, 0 at the end (is_eof), -EAGAIN, or another negative errno. */
ssize_t backend_read(struct backend *backend, void *out, size_t size);
/* Bytes taken, -EAGAIN; -EPIPE: the function reads no more (not an error). */
ssize_t backend_write(struct backend *backend, const void *data, size_t n);
int backend_body_end(struct backend *backend);
/* Tells the program that nobody waits for its answer, where there is a way.  The
 * execution goes on to its end. */
void backend_abort(struct backend *backend);
/* Which of readable and writable are to be called; what start, write and
 * body_end have left is on its way then. */
void backend_want(struct backend *backend, bool is_read, bool is_write);
/* Whether nothing is written any more; what was may still be to be read. */
bool backend_has_ended(const struct backend *backend);
/* Asks for the memory of a warm program; `measured` is called.  Negative
 * errno: it will not be. */
int backend_measure(struct backend *backend);
/* Closes what is open and lets the instance go (which may be GONE). */
void backend_close(struct backend *backend);

/* For the kinds: sets the end once and calls `ended` from the loop. */
void backend_set_end(struct backend *backend, enum backend_end end);

extern const struct backend_kind backend_cgi, backend_fcgi;

#endif
