/*
 * STATE/budgets: a head, then 512 bytes for each owner, written a second after
 * something changed and at every switch of the log.  It never tells of a line
 * that is not in the log; what the log has beyond it is read again.  Part of
 * budget; the ledger calls it.
 */
#ifndef FCGI_HOST_BUDGET_FILE_H
#define FCGI_HOST_BUDGET_FILE_H

#include <stdbool.h>
#include <stdint.h>

struct budgets;

/* Where the log's lines are in it. */
struct budget_head {
	uint64_t run_id;    /* the last that wrote lines */
	uint64_t dev, ino;  /* of the log */
	uint64_t run_from;  /* from there on its lines are that run's */
	uint64_t offset;    /* up to there they are charged */
	uint64_t count;     /* of entries behind it, at least */
	uint64_t is_clean;  /* the host ended: nothing is behind that */
};

struct budget_keeper {
	int fd;
	bool has_found;  /* a head that could be read */
	bool is_damaged; /* some owners' entries could not */
	bool is_followed;
	bool is_unwritten; /* the log has grown since the last save */
	uint64_t written; /* places that have an entry, or a hole before one */
	struct budget_head head, found;
};

/* Reads the file (fd taken).  What is damaged in it is passed over and told. */
void budgets_open(struct budgets *budgets, int fd);

/* The file that the ledger goes on in. */
struct budget_log {
	int fd;         /* borrowed */
	uint64_t size;  /* of whole lines */
	uint64_t run_id;
	uint64_t known_run; /* of the table of executions in flight; 0: none */
	bool is_behind; /* a batch waits that could not be written */
};

/* Lines of it that are not charged yet are; then all is saved, on the disk. */
void budgets_follow(struct budgets *budgets, const struct budget_log *log);
/* The batch is written; the log has size bytes now. */
void budgets_wrote(struct budgets *budgets, uint64_t size);

/* Whether a save would have something to do.  Only what the log has may be saved:
 * not while a batch waits. */
bool budgets_is_due(const struct budgets *budgets);
void budgets_save(struct budgets *budgets);
/* The host has ended well. */
void budgets_finish(struct budgets *budgets);

#endif
