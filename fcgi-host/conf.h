/*
 * The administrator's file and the sidecars, read with iniparser and a line
 * scan beside it that gives positions and finds duplicates.  A configuration
 * is immutable and reference-counted: a generation.  Used by every role; a
 * sidecar is read by the scanner alone.
 */
#ifndef FCGI_HOST_CONF_H
#define FCGI_HOST_CONF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "fcgi-host/conf_scan.h"
#include "fcgi-host/log.h"
#include "fcgi-host/settings.h"

#define CONF_LISTEN_MAX 16
#define CONF_BIND_MAX 32

struct conf_runtime {
	char *name;
	char **extensions; /* NULL-terminated, without dots */
	bool is_fastcgi;
	char **command; /* argv, split at blanks, quotes honoured; NULL-terminated */
	char **check;   /* likewise: looks at a file's syntax; NULL: nobody does */
	char **build;   /* likewise: makes /build/program of it, instead of that */
	char *otherwise; /* the runtime of files that `check` gives back; or NULL */
	char *rootfs;   /* a directory; NULL: the host's own tree */
	char *bind;     /* or NULL */
	uint64_t spare; /* prepared instances whose program waits booted */
	char *preload;  /* what such a program loads, by blanks; or NULL */
	struct buf env;
};

/* A [defaults], [tenant] or [function] section. */
struct conf_section {
	char *name;
	unsigned line; /* of the file */
	struct settings settings;
};

struct conf_bind {
	char *path; /* absolute, on the host and in the sandbox */
	bool is_writable;
};

struct conf {
	unsigned refs;
	char *file;
	/* [host] */
	char *listen[CONF_LISTEN_MAX];
	size_t listen_count;
	mode_t listen_mode;
	char *listen_group;
	bool allow_tcp;
	char *functions, *accounting, *run, *state;
	char *prices; /* a price book, or NULL */
	char *chain_key; /* a file; NULL: records are not chained */
	bool is_sync;
	char *url_prefix; /* no trailing slash; "" is the whole site */
	char *index;      /* function for the prefix itself, or NULL */
	char *user;
	uint32_t uid_first, uid_count;
	char *require; /* layer names, space-separated, checked; "" */
	uint64_t max_connections, max_instances, max_prepared;
	bool has_max_prepared; /* 0 is a value */
	uint64_t memory_reserve_bytes;
	bool has_memory_reserve; /* else it is the machine's to say */
	unsigned hot_nice;
	bool has_hot_nice; /* the same */
	char *log; /* "stderr" or a path */
	enum log_level log_level;
	char *function_logs; /* a directory; NULL: functions log where the host does */
	/* of one file, how many older ones, and of a tenant's all together */
	uint64_t function_log_bytes, function_log_keep, function_log_total;
	bool has_function_log_keep; /* 0 is a value */
	/* the rest */
	struct settings defaults;
	struct conf_runtime *runtimes;
	size_t runtime_count;
	struct conf_section *tenants, *functions_sections;
	size_t tenant_count, function_count;
};

/*
 * Reads the whole file from fd (from its start; path is for messages only).
 * NULL when anything is wrong; errors then says all of it, not only the first.
 * At most CONF_FILE_MAX bytes.
 */
#define CONF_FILE_MAX (1 << 20)
struct conf *conf_read(int fd, const char *path, struct conf_errors *errors);
/* Opens and reads; a missing or unreadable file is an error sentence too. */
struct conf *conf_load(const char *path, struct conf_errors *errors);
/*
 * To find the host that runs with the last good state of a file that may have
 * got errors since: fit for conf->run alone.  errors must be empty.  With errors
 * only if the file says where it runs: the built-in value may be another host's.
 */
struct conf *conf_load_running(const char *path, struct conf_errors *errors);
struct conf *conf_ref(struct conf *conf);
void conf_unref(struct conf *conf);

/* That of the budgets in money; "": there are none. */
const char *conf_currency(const struct conf *conf);

/* NULL when there is none.  extension without its dot. */
const struct conf_runtime *conf_runtime_by_extension(const struct conf *conf,
    const char *extension);
const struct conf_runtime *conf_runtime_by_name(const struct conf *conf,
    const char *name);
const struct settings *conf_tenant(const struct conf *conf, const char *tenant);
const struct settings *conf_function(const struct conf *conf, const char *name);

/* The tenant of a function, by its name as the scanner cuts it. */
void conf_tenant_of(const char *function, char tenant[CTL_NAME_MAX + 1]);

/* What a function's log is called in its tenant's folder of function_logs: its name
 * below the tenant, a slash as '+', and ".log". */
#define CONF_LOG_NAME_MAX (CTL_NAME_MAX + 5)
void conf_function_log(const char *function, char out[CONF_LOG_NAME_MAX]);
/* The function of which a file in a tenant's folder is the log, or (*is_old) an older
 * one.  False: it is neither. */
bool conf_function_of_log(const char *tenant, const char *file,
    char function[CTL_NAME_MAX + 1], bool *is_old);
/* What functions' logs leave free on a file system of so many bytes. */
uint64_t conf_function_log_reserve(uint64_t whole);

/* True when the extension belongs to a runtime or is "cgi" or "fcgi". */
bool conf_extension_known(const struct conf *conf, const char *extension);

/* The names that `require` knows, and their number. */
const char *const *conf_layers(size_t *count);

/*
 * The numbers of a function: built-in, [defaults], [tenant], then the sidecar
 * (NULL: none) clamped to what stood so far, then [function], which may go
 * above.  lowered as in settings_clamp.
 */
void conf_limits(const struct conf *conf, const char *tenant, const char *name,
    const struct settings *sidecar, struct limits *limits, char *lowered,
    size_t lowered_size);
/* The tenant's alone. */
void conf_tenant_limits(const struct conf *conf, const char *tenant,
    struct limits *limits);
/* The most that any sidecar of the tenant or the [function] section allows:
 * what the spawner clamps a scanner's numbers to. */
void conf_ceiling(const struct conf *conf, const char *tenant, const char *name,
    struct limits *ceiling);
enum settings_network conf_network(const struct conf *conf, const char *tenant,
    const char *name);
/* The namespace that `network = egress` means for the function; NULL: none. */
const char *conf_egress(const struct conf *conf, const char *tenant,
    const char *name);
/* `env_file` of [tenant] and of [function]: paths, or NULL. */
#define CONF_ENV_FILES 2
void conf_env_files(const struct conf *conf, const char *tenant,
    const char *name, const char *paths[CONF_ENV_FILES]);
/* Appends env of [defaults], runtime, [tenant], [function], in this order
 * ("NAME=VALUE\0"…; a later one overrides). */
int conf_env(const struct conf *conf, const char *tenant, const char *name,
    const char *runtime, struct buf *out);
/* bind of [defaults], runtime, [tenant], [function]: of one path the last counts;
 * sorted by path, the order in which they are mounted.  Returns how many, at
 * most CONF_BIND_MAX; the paths are allocated (conf_binds_free). */
size_t conf_binds(const struct conf *conf, const char *tenant, const char *name,
    const char *runtime, struct conf_bind out[CONF_BIND_MAX]);
/* Of one checked `bind`, NULL: none.  As above, in the order of its words. */
size_t conf_bind_words(const char *text, struct conf_bind out[CONF_BIND_MAX]);
void conf_binds_free(struct conf_bind *binds, size_t count);
/* pass_params of [defaults], [tenant], [function], joined by blanks; appended
 * with a terminating NUL. */
int conf_pass_params(const struct conf *conf, const char *tenant,
    const char *name, struct buf *out);

/*
 * Says a sentence, with file and line, about each [tenant] and [function] of
 * which is_known tells that there is no such one: it may be to come, or misspelt.
 */
void conf_each_unused(const struct conf *conf,
    bool (*is_known)(void *arg, bool is_tenant, const char *name),
    void (*say)(void *arg, const char *sentence), void *arg);

/*
 * Reads a sidecar (section [function]).  0; -EINVAL with the first error's
 * sentence (FILE:LINE: …) in problem.  path is for messages.  Hostile input:
 * at most 64 KiB, checked line by line.
 */
#define CONF_SIDECAR_MAX (64 * 1024)
int conf_read_sidecar(int fd, const char *path, struct settings *out,
    char *problem, size_t size);

#endif
