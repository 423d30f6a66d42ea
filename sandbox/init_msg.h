/*
 * The messages between the gateway and the init of an instance, over
 * SOCK_SEQPACKET.  init is in the sandbox: for the gateway every report is
 * hostile input, taken without a control buffer and checked by
 * init_report_check.  Layout is host byte order, one build on both sides.
 */
#ifndef SANDBOX_INIT_MSG_H
#define SANDBOX_INIT_MSG_H

#include <stddef.h>
#include <stdint.h>

#define INIT_MAGIC 0x66696e31u
#define INIT_ENV_MAX (128 * 1024)
#define INIT_ENV_COUNT_MAX 4096 /* variables in one block */
/* No execution uses more than that: a larger number is a lie, and sums of it
 * would run over. */
#define INIT_TIME_MAX_US (UINT64_C(1) << 48)
#define INIT_MEMORY_MAX_KIB (UINT64_C(1) << 40)

/* What init finds open when it starts.  The listening socket is there for
 * FastCGI only; the /proc is one of init's own that is mounted nowhere, so that
 * no program can see it; from INIT_SECRETS_FD on the `env_file`s of tenant, sidecar
 * and function, those that there are. */
#define INIT_SECRETS_MAX 3
enum init_fd { INIT_SOCK_FD = 3, INIT_LISTEN_FD = 4, INIT_PROC_FD = 5,
	INIT_SECRETS_FD = 6 };

enum init_order_type {
	/*
	 * Start the program with the environment block that follows the struct
	 * ("NAME=VALUE\0"…, env_length bytes).  fds: cgi: stdin, stdout,
	 * stderr; fastcgi: stdout, stderr (fd 0 is the listening socket).
	 */
	INIT_RUN = 1,
	/* End the running CGI program's whole tree (as at a normal end).  To a
	 * FastCGI init whose program has ended: end too. */
	INIT_END,
	/* Report the peak of the largest process of the tree since the last
	 * INIT_MEASURE, and what the largest one holds now; start a new peak
	 * (clear_refs). */
	INIT_MEASURE,
	/* Report what all processes hold now, and change nothing. */
	INIT_LOOK
};

struct init_order {
	uint32_t magic;
	uint32_t type;
	uint64_t serial; /* comes back in the report */
	uint32_t env_length;
	uint32_t pad;
};

enum init_report_type {
	/*
	 * The program has ended and nothing of it is left: its tree is killed
	 * and reaped, /tmp, /dev/shm and System V objects are gone.  Of
	 * FastCGI: what it had accepted is closed, and what it had not waits
	 * in the socket that init holds, until INIT_END.
	 */
	INIT_EXIT = 1,
	/* `value` is the errno of execve; EBADMSG: an env_file is wrong, and
	 * the program's stderr has a line about it */
	INIT_EXEC_FAILED,
	INIT_DIRTY,       /* could not be cleaned: the instance must end */
	INIT_MEMORY,      /* answer to INIT_MEASURE: memory_kib, 0 not known */
	/* answer to INIT_LOOK, of all processes: memory_kib their shares of the
	 * pages that are in memory (PSS), 0 if one of them does not show its;
	 * memory_now_kib all of their pages (RSS) */
	INIT_HELD
};

struct init_report {
	uint32_t magic;
	uint32_t type;
	uint64_t serial;
	int32_t wait_status; /* as wait4 gave it */
	int32_t value;
	uint64_t user_us, system_us; /* wait4's, of the whole tree */
	uint64_t memory_kib;         /* ru_maxrss of the largest process */
	uint64_t memory_now_kib;     /* INIT_MEMORY: what the largest one holds;
	                              * INIT_HELD: what all of them do */
	uint32_t killed;             /* processes that were left behind */
	uint32_t pad;
};

/* 0 or -EPROTO: n is not the struct's size, magic, type or pad is wrong, or a
 * number is beyond all measure. */
int init_report_check(const struct init_report *report, size_t n);

#endif
