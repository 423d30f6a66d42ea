/*
 * What `fcgi-host check` finds: sentences with a weight.  Each names what is
 * wrong and the mend.  Looks at the machine, changes nothing.
 */
#ifndef FCGI_HOST_CMD_CHECK_H
#define FCGI_HOST_CMD_CHECK_H

#include <stddef.h>
#include <stdint.h>

#include "fcgi-host/conf.h"

enum finding_weight {
	FINDING_NOTE,    /* worth knowing */
	FINDING_WARNING, /* something will not work as one may think */
	FINDING_ERROR,   /* the host does not start, or is not safe */
	FINDING_COUNT
};

struct finding {
	enum finding_weight weight;
	char *text;
};

/* All-zero is none. */
struct findings {
	struct finding *at;
	size_t count;
	size_t counts[FINDING_COUNT];
};

void findings_add(struct findings *findings, enum finding_weight weight,
    const char *fmt, ...) __attribute__((format(printf, 3, 4)));
void findings_free(struct findings *findings);

/*
 * For an ordinary user who checks the file of a host of his own: enters the user
 * namespace that `run` would, so that all is judged as the host will find it.
 */
void check_enter(const struct conf *conf, struct findings *findings);
/* Accounts and groups that the configuration names. */
void check_accounts(const struct conf *conf, struct findings *findings);
/* Numbers that tenants have had from uid_range and must keep. */
void check_numbers(const struct conf *conf, struct findings *findings);
/* Directories and their owners and modes. */
void check_places(const struct conf *conf, struct findings *findings);
/* Where functions log. */
void check_function_logs(const struct conf *conf, struct findings *findings);
/* The namespaces that egress names. */
void check_network(const struct conf *conf, struct findings *findings);
/* TCP addresses on which another program listens. */
void check_listen(const struct conf *conf, struct findings *findings);
/* What would rotate the accounting log and lose records; root: what stands
 * before /etc. */
void check_rotation(const struct conf *conf, const char *root,
    struct findings *findings);
/* What a runtime's bind names. */
void check_runtime_binds(const struct conf_runtime *runtime,
    struct findings *findings);
/* What all others name, and whether a tenant may write what he is to. */
void check_binds(const struct conf *conf, struct findings *findings);
/* The files of `env_file` in [tenant] and [function]. */
void check_env_files(const struct conf *conf, struct findings *findings);

/* Spares of the runtimes that can never be, or take too much memory. */
void check_spares(const struct conf *conf, struct findings *findings);

/* A tenant's user and group: his account's, or the number that he has already.
 * False: none yet. */
bool check_number_of(const struct conf *conf, const char *tenant, uid_t *uid,
    gid_t *gid);

/* Our own programs, the runtimes' commands, and paths of bind. */
void check_programs(const struct conf *conf, struct findings *findings);
/* The web servers' patience against ours; root: what stands before /etc. */
void check_web_servers(const struct conf *conf, const char *root,
    struct findings *findings);

/* "90s", "1m30s", "500ms", and without a unit so many bare_ms (0: that is
 * nothing), up to a sign that ends a word; -1: something else. */
int64_t check_web_time_ms(const char *text, int64_t bare_ms);
/* How long, in ms, a server waits that has this text as its configuration, where
 * it names an address of ours; -1: not said there.  The text is changed. */
int64_t check_web_patience_ms(const char *server, const struct conf *conf,
    char *text, bool *is_named);
/* The longest execution that the configuration allows, in ms; 0: no end. */
uint64_t check_longest_ms(const struct conf *conf);

#endif
