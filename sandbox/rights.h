/*
 * Giving up rights: resource limits, securebits, the bounding set, groups, ids,
 * capabilities, no_new_privs; and looking afterwards whether it is so.  By raw
 * system calls, async-signal-safe: glibc's setresuid signals other threads of a
 * process that the child of a raw clone does not have.
 */
#ifndef SANDBOX_RIGHTS_H
#define SANDBOX_RIGHTS_H

#include <stdint.h>
#include <sys/types.h>

struct rights_limits {
	uint64_t data_bytes; /* RLIMIT_DATA; 0: none */
	uint64_t processes;  /* RLIMIT_NPROC, counted over the uid; 0: none */
	uint64_t file_bytes; /* RLIMIT_FSIZE; 0: 1 GiB */
};

/* Open files of a program. */
#define RIGHTS_FILES 256

/* All but NOFILE, which counts against what the child itself opens. */
int rights_limit(const struct rights_limits *limits);
int rights_limit_files(uint64_t files);

/* Locks that root is nobody special.  Needs CAP_SETPCAP. */
int rights_lock_securebits(void);
/* Empties the bounding set, capabilities 0 … last. */
int rights_empty_bounding(int last);
/* No supplementary group.  -EPERM in the user namespace of an ordinary user,
 * whom no kernel lets put his off. */
int rights_drop_groups(void);
/* All gids, then all uids. */
int rights_take_ids(uid_t uid, gid_t gid);
/* Effective, permitted, inheritable and ambient: empty. */
int rights_empty_capabilities(void);
int rights_no_new_privs(void);

/* 0 when there is none. */
int rights_verify_groups(void);
/* 0 when the ids are all these and the way back is closed; -EPERM otherwise. */
int rights_verify_ids(uid_t uid, gid_t gid);
/* 0 when all five sets are empty; last as above. */
int rights_verify_capabilities(int last);

/* The highest capability of the running kernel.  Not for the child. */
int rights_last_capability(void);

#endif
