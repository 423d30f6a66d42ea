/*
 * Lets the probes loose: each in a whole sandbox, where it must find nothing,
 * and, where that is harmless, outside, where the same acts must succeed: a
 * probe that cannot find a hole proves nothing.  Some more run where several
 * layers are off, to show what a single remaining one is worth.
 *
 *   try [-v] [PROBE…]
 *   try --matrix [PROBE…]   each with each layer off in turn, for tests/probes/judge
 *
 * The whole runs in a network namespace of its own, in which the metadata
 * address and a private one stand on an interface with a listener that counts:
 * nothing outside is reached even where a sandbox has a hole.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "tests/probes/try.h"

#define NO_LL LAYER_LANDLOCK
#define NO_SC LAYER_SECCOMP
#define NO_NET LAYER_NET
#define NO_NNP LAYER_NO_NEW_PRIVS

static const struct row {
	const char *probe;
	const char *why_not; /* it is not run outside */
} rows[] = {
	{ "1", NULL },
	{ "2", NULL },
	{ "3", NULL },
	{ "4", NULL },
	{ "4-memfd", NULL },
	{ "5", "root has root's rights" },
	{ "6", NULL },
	{ "7", "it would fill the machine's memory" },
	{ "8", "it would fill the machine's memory" },
	{ "9", NULL },
	{ "10", NULL },
	{ "11", NULL },
	{ "12", NULL },
	{ "13", NULL },
	{ "14", NULL },
	{ "15", NULL },
	{ "16", NULL },
	{ "17", NULL },
	{ "18", NULL },
	{ "19", NULL },
	{ "20", "a process outside judges it" },
	{ "21", NULL },
	{ "22", NULL },
	{ "23", NULL },
	{ "24", NULL },
	{ "25", NULL },
	{ "26", NULL },
	{ "27", NULL },
	{ "28", NULL },
	{ "29", NULL },
	{ "30", NULL },
	{ "32", NULL },
	{ "33", NULL },
	{ "34", NULL },
	{ "35", "root's processes have no bound" },
	{ "36", NULL },
	{ "37", "init's report judges it" },
	{ "40", "run twice in one sandbox, it finds what it left itself" },
	{ "40-core", "it would leave a core on the machine" },
	{ "41", NULL },
	{ "41-limits", NULL },
	{ "42", NULL },
	{ "43", NULL },
	{ "44", NULL },
	{ "45", "a test's own place may well be the root" },
	{ "46", NULL },
	{ "47", NULL },
	{ "48", NULL },
	{ "49", NULL },
	{ "50", NULL },
	{ "51", NULL },
	{ "52", NULL },
	{ "53", NULL },
	{ "54", NULL },
	{ "55", NULL },
	{ "56", NULL },
	{ "57", NULL },
	{ "58", NULL },
	{ "59", NULL },
	{ "60", NULL },
	{ "61", NULL },
	{ "62", "init and a process outside judge it" },
	{ "63", NULL },
	{ "64", NULL },
	{ "65", NULL },
	{ "66", "whoever may write to a folder may make a socket there" },
	{ "67", NULL },
	{ "68", NULL },
	{ "69", NULL },
	{ "status", NULL },
};

/* Several layers off at once: what a single remaining one is worth. */
static const struct extra {
	const char *probe;
	unsigned off;
	bool is_hole;
	int least_abi; /* of Landlock, for it to be denied or not */
	const char *about;
} extras[] = {
	{ "41", NO_LL | NO_SC, false, 0, "not dumpable alone" },
	{ "28", NO_LL | NO_SC, false, 0, "a network namespace alone" },
	{ "28", NO_NET | NO_LL, false, 0, "seccomp alone" },
	{ "28", NO_NET | NO_SC, false, 4, "Landlock alone" },
	{ "28", NO_NET | NO_LL | NO_SC, true, 0, "nothing is left" },
	{ "29", NO_NET | NO_SC, false, 6, "Landlock's scope alone" },
	{ "29", NO_NET | NO_SC | NO_LL, true, 0, "nothing is left" },
	{ "3", NO_LL | NO_SC, false, 0, "the read-only mount alone" },
	{ "4", NO_LL | NO_SC, false, 0, "noexec alone" },
	{ "10", NO_LL | NO_SC, false, 0, "no capability alone" },
	{ "5", NO_NNP | NO_LL | NO_SC, false, 0, "nosuid alone" },
	{ "5", NO_NNP | NO_LL | NO_SC | LAYER_MOUNT, true, 0,
	    "nothing is left" },
	{ "1", NO_LL | NO_SC, false, 0, "the tree alone" },
	{ "2", NO_LL | NO_SC, false, 0, "the tree alone" },
};

static const struct {
	const char *name; /* as in `require` */
	unsigned layer;
} layers[] = {
	{ "mount", LAYER_MOUNT },
	{ "pid", LAYER_PID },
	{ "net", LAYER_NET },
	{ "ipc", LAYER_IPC },
	{ "uts", LAYER_UTS },
	{ "cgroup_ns", LAYER_CGROUP_NS },
	{ "identity", LAYER_IDENTITY },
	{ "capabilities", LAYER_CAPABILITIES },
	{ "no_new_privs", LAYER_NO_NEW_PRIVS },
	{ "landlock", LAYER_LANDLOCK },
	{ "seccomp", LAYER_SECCOMP },
	{ "rlimits", LAYER_RLIMITS },
	{ "cgroup", LAYER_CGROUP },
	{ "memfd_noexec", LAYER_MEMFD_NOEXEC },
};

static const char *const kinds[] = {
	[WORLD_PLAIN] = "none",
	[WORLD_EGRESS] = "egress",
	[WORLD_IMAGE] = "rootfs",
};

struct count {
	unsigned done, failed, skipped;
	bool is_verbose;
};

/* -------------------------------------------------------------------- verdicts */

static void
verdict(struct count *count, const char *probe, const char *where,
    enum outcome wanted, const struct tried *tried)
{
	bool is_ok = tried->outcome == wanted;

	if (tried->outcome == OUTCOME_ABSENT) {
		count->skipped++;
		printf("# SKIPPED: probe %s %s: not in this kernel\n", probe,
		    where);
		return;
	}
	count->done++;
	count->failed += !is_ok;
	printf("%s - probe %s %s%s%s\n", is_ok ? "ok" : "not ok", probe, where,
	    tried->why[0] != '\0' ? ": " : "", tried->why);
	if (!is_ok || count->is_verbose)
		printf("%s", tried->output);
	fflush(stdout);
}

static void
run_row(struct world *world, struct count *count, const struct row *row)
{
	struct tried tried;

	try_inside(world, row->probe, 0, &tried);
	verdict(count, row->probe, "in the sandbox", OUTCOME_HELD, &tried);
	if (row->why_not != NULL) {
		printf("# probe %s is not run outside: %s\n", row->probe,
		    row->why_not);
		return;
	}
	try_outside(world, row->probe, &tried);
	verdict(count, row->probe, "outside", OUTCOME_HOLE, &tried);
}

static int
landlock_version(void)
{
	long abi = syscall(SYS_landlock_create_ruleset, NULL, 0, 1);

	return abi > 0 ? (int)abi : 0;
}

/* The host's tree is shown through an overlay. */
static bool
has_overlay(void)
{
	FILE *file = fopen("/proc/filesystems", "re");
	char line[128];
	bool is_there = false;

	while (file != NULL && fgets(line, sizeof(line), file) != NULL)
		is_there |= strstr(line, "\toverlay\n") != NULL;
	if (file != NULL)
		fclose(file);
	return is_there;
}

static void
run_extra(struct world *world, struct count *count, const struct extra *extra)
{
	struct tried tried;
	int abi = landlock_version();

	if ((extra->off & LAYER_MOUNT) && !has_overlay()) {
		count->skipped++;
		printf("# SKIPPED: probe %s, %s: no overlay in this kernel, "
		       "through which the host's tree could be shown\n",
		    extra->probe, extra->about);
		return;
	}
	if (extra->least_abi > 0 && abi < extra->least_abi) {
		count->skipped++;
		printf("# SKIPPED: probe %s, %s: this kernel's Landlock has "
		       "ABI %d, %d is needed\n", extra->probe, extra->about,
		    abi, extra->least_abi);
		return;
	}
	try_inside(world, extra->probe, extra->off, &tried);
	verdict(count, extra->probe, extra->about,
	    extra->is_hole ? OUTCOME_HOLE : OUTCOME_HELD, &tried);
}

/* ---------------------------------------------------------------------- matrix */

static void
print_cell(const char *probe, const char *layer, const struct tried *tried)
{
	static const char *const names[] = {
		[OUTCOME_HELD] = "held",
		[OUTCOME_HOLE] = "HOLE",
		[OUTCOME_REFUSED] = "refused",
		[OUTCOME_ABSENT] = "absent",
		[OUTCOME_FAULT] = "FAULT",
	};

	printf("cell\t%s\t%s\t%s\t%s\n", probe, layer, names[tried->outcome],
	    tried->why);
	fflush(stdout);
}

static void
print_facts(const struct world *world)
{
	struct utsname name;

	uname(&name);
	printf("fact\tkernel\t%s\n", name.release);
	printf("fact\tlandlock\t%d\n", landlock_version());
	printf("fact\tmemfd_noexec\t%d\n",
	    access("/proc/sys/vm/memfd_noexec", F_OK) == 0);
	printf("fact\tmemory\t%d\n", world->box.cgroup.has_memory);
	printf("fact\tpids\t%d\n", world->box.cgroup.has_pids);
}

static void
print_row(struct world *world, const struct row *row)
{
	unsigned there = sandbox_host_layers(world->box.host) &
	    ~(has_overlay() ? 0u : (unsigned)LAYER_MOUNT);
	struct tried tried;

	for (int kind = WORLD_PLAIN; kind <= WORLD_IMAGE; kind++) {
		world->kind = kind;
		try_inside(world, row->probe, 0, &tried);
		print_cell(row->probe, kinds[kind], &tried);
	}
	world->kind = WORLD_PLAIN;
	for (size_t i = 0; i < sizeof(layers) / sizeof(layers[0]); i++) {
		if (!(there & layers[i].layer))
			continue;
		try_inside(world, row->probe, layers[i].layer, &tried);
		print_cell(row->probe, layers[i].name, &tried);
	}
	if (row->why_not != NULL) {
		printf("note\t%s\tnot run outside: %s\n", row->probe,
		    row->why_not);
		return;
	}
	try_outside(world, row->probe, &tried);
	print_cell(row->probe, "outside", &tried);
}

/* ------------------------------------------------------------------------ main */

static bool
is_chosen(const char *probe, char *const *chosen)
{
	bool is_any = chosen[0] == NULL;

	for (; *chosen != NULL; chosen++)
		is_any |= strcmp(*chosen, probe) == 0;
	return is_any;
}

static int
print_matrix(struct world *world, char *const *chosen)
{
	print_facts(world);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		if (is_chosen(rows[i].probe, chosen))
			print_row(world, &rows[i]);
	}
	return 0;
}

static int
run_all(struct world *world, char *const *chosen, bool is_verbose)
{
	struct count count = { .is_verbose = is_verbose };

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		if (is_chosen(rows[i].probe, chosen))
			run_row(world, &count, &rows[i]);
	}
	for (size_t i = 0; i < sizeof(extras) / sizeof(extras[0]); i++) {
		if (is_chosen(extras[i].probe, chosen))
			run_extra(world, &count, &extras[i]);
	}
	printf("%u of %u as they must be, %u skipped\n",
	    count.done - count.failed, count.done, count.skipped);
	return count.failed == 0 && count.done > 0 ? 0 : 1;
}

int
main(int argc, char **argv)
{
	bool is_verbose = argc > 1 && strcmp(argv[1], "-v") == 0;
	bool is_matrix = argc > 1 && strcmp(argv[1], "--matrix") == 0;
	char *const *chosen = argv + (argc > 0) + (is_verbose || is_matrix);
	static struct world world;
	int result = world_make(&world);

	if (result != 0)
		return result;
	result = is_matrix ? print_matrix(&world, chosen) :
	    run_all(&world, chosen, is_verbose);
	world_remove(&world);
	return result;
}
