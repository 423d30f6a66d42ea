#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fcgi-host/budget.h"
#include "fcgi-host/budget_file.h"
#include "fcgi-host/ledger.h"
#include "fcgi-host/log.h"
#include "fcgi-host/loop.h"
#include "tests/unit/conf_text.h"
#include "tests/unit/folder.h"
#include "tests/unit/prices_text.h"

#define RUN 0xabc

/* A host: the files that outlive it, and what one of its gateways has. */
static int table;
static struct inflight *inflight;
static struct budgets *budgets;
static struct ledger *ledger;
static struct prices *prices;
static const struct {
	const char *tenant, *function;
} who[] = { { "alice", "alice/f" }, { "alice", "alice/g" },
	{ "default", "alice" } };

static void
gateway_start(uint64_t run_id, const char *log)
{
	inflight = inflight_open(table);
	ledger = ledger_new(inflight, run_id);
	budgets = budgets_new();
	assert_non_null(ledger);
	budgets_set_prices(budgets, prices);
	budgets_open(budgets, folder_open("budgets", 0));
	ledger_set_budgets(ledger, budgets);
	assert_int_equal(ledger_switch(ledger, folder_append(log),
	    inflight_run(inflight) != 0), 0);
	ledger_begin(ledger, 0);
}

static void
host_record(const char *event)
{
	struct record_host record = { .event = event };

	assert_int_equal(ledger_host(ledger, &record), 0);
}

/* As SIGKILL: nothing more is written. */
static void
gateway_die(void)
{
	budgets_free(budgets);
	/* what ledger_free gives back of the file is reserved space alone */
	ledger_free(ledger);
	inflight_close(inflight);
}

static void
machine_die(void)
{
	gateway_die();
	close(table);
	table = memfd_create("table", MFD_CLOEXEC);
	assert_int_equal(ftruncate(table, 100000), 0);
}

static void
on_written(void *arg, int error)
{
	(void)arg;
	(void)error;
}

static void
put(size_t i, enum record_outcome outcome)
{
	static struct ledger_entry entries[64];
	static size_t next;
	struct ledger_entry *entry = &entries[next++ % 64];
	struct record_exec record = { .time_us = loop_clock_real_us(),
		.number = 1, .trigger = "web", .outcome = outcome,
		.run_us = 1000000, .mem_limit_mib = 1024, .exit_code = -1 };

	entry->fn = on_written;
	strcpy(record.tenant, who[i].tenant);
	strcpy(record.function, who[i].function);
	strcpy(record.method, "GET");
	strcpy(record.request_id, "id");
	strcpy(record.version, "0123456789abcdef");
	assert_int_equal(ledger_exec(ledger, &record, entry), 0);
}

/* So many of alice/f, each written. */
static void
execute(int count)
{
	while (count-- > 0) {
		put(0, OUTCOME_OK);
		ledger_flush(ledger);
	}
}

static uint64_t used_executions, used_mib_ms, used_money;

static void
on_fact(const struct budget_fact *fact, void *arg)
{
	if (fact->is_tenant != *(bool *)arg || fact->period != BUDGET_MONTH)
		return;
	if (fact->unit == AMOUNT_EXECUTIONS)
		used_executions = fact->used;
	else if (fact->unit == AMOUNT_MIB_MS)
		used_mib_ms = fact->used;
	else
		used_money = fact->used;
}

/* The tests' months are real ones: at its end all begins anew, and so a test
 * that crosses one is begun again. */
static void
used(size_t i, bool is_tenant, uint64_t executions)
{
	struct ctl_function function = { .is_fastcgi = 0 };
	struct conf *conf = conf_of("[host]\nprices = /p\n[defaults]\n"
	    "budget_month = 900 executions, 900 GiB-s, 900 EUR\n");

	budgets_set_conf(budgets, conf);
	strcpy(function.tenant, who[i].tenant);
	strcpy(function.name, who[i].function);
	function.limits.value[LIMIT_BUDGET_MONTH_EXECUTIONS] = 900;
	function.limits.value[LIMIT_BUDGET_MONTH_MIB_MS] = 900000000;
	function.limits.value[LIMIT_BUDGET_MONTH_MONEY] = 900;
	used_executions = used_mib_ms = used_money = UINT64_MAX;
	budgets_tell_begin(budgets);
	budgets_tell(budgets, &function, loop_clock_real_us(), on_fact,
	    &is_tenant);
	assert_int_equal(used_executions, executions);
	assert_int_equal(used_mib_ms, executions * 1024000);
	budgets_set_conf(budgets, NULL);
	conf_unref(conf);
}

static int
set_up(void **state)
{
	(void)state;
	log_init("test", LOG_ERROR);
	table = memfd_create("table", MFD_CLOEXEC);
	if (folder_make() != 0 || ftruncate(table, 100000) < 0)
		return -1;
	gateway_start(RUN, "log");
	host_record("start");
	return 0;
}

static int
tear_down(void **state)
{
	(void)state;
	gateway_die();
	close(table);
	return folder_remove();
}

/* A batch waits that no file could take; who dies then has not executed it. */
static void
what_no_log_has_is_not_saved(void **state)
{
	struct rlimit limit, less;
	struct stat status;

	(void)state;
	execute(5);
	budgets_save(budgets);
	assert_int_equal(stat(folder_path("log"), &status), 0);
	signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
	less = (struct rlimit){ (rlim_t)status.st_size + 10, limit.rlim_max };
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &less), 0);
	put(0, OUTCOME_OK);
	assert_int_equal(ledger_switch(ledger, folder_append("next"), false),
	    0);
	assert_true(ledger_is_failing(ledger));
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
	gateway_die();
	gateway_start(RUN, "next");
	used(0, true, 5);
}

static void
what_was_saved_and_what_only_the_log_has_is_charged_once(void **state)
{
	(void)state;
	execute(3);
	budgets_save(budgets);
	execute(4);
	gateway_die();
	gateway_start(RUN, "log");
	used(0, true, 7);
	used(0, false, 7);
	execute(1);
	gateway_die();
	gateway_start(RUN, "log");
	used(0, true, 8);
}

static void
without_any_save_the_log_says_all(void **state)
{
	(void)state;
	execute(5);
	put(1, OUTCOME_OK);
	put(2, OUTCOME_ERROR);
	put(0, OUTCOME_REFUSED);
	put(0, OUTCOME_LOST);
	ledger_flush(ledger);
	gateway_die();
	gateway_start(RUN, "log");
	used(0, true, 6);
	used(0, false, 5);
	used(1, false, 1);
	used(2, false, 1);
	used(2, true, 1);
}

static void
a_line_that_was_never_written_is_not_charged(void **state)
{
	(void)state;
	execute(2);
	budgets_save(budgets);
	put(0, OUTCOME_OK); /* in the batch */
	gateway_die();
	gateway_start(RUN, "log");
	used(0, true, 2);
}

/* The write of a batch was cut in a line. */
static void
of_a_batch_that_was_cut_the_whole_lines_are_charged(void **state)
{
	struct stat st;
	uint64_t before;

	(void)state;
	execute(1);
	budgets_save(budgets);
	assert_int_equal(stat(folder_path("log"), &st), 0);
	before = (uint64_t)st.st_size;
	for (int i = 0; i < 3; i++)
		put(0, OUTCOME_OK);
	ledger_flush(ledger);
	assert_int_equal(stat(folder_path("log"), &st), 0);
	assert_true((uint64_t)st.st_size > before);
	gateway_die();
	assert_int_equal(truncate(folder_path("log"), st.st_size - 7), 0);
	gateway_start(RUN, "log");
	used(0, true, 3);
}

static void
each_run_charges_its_own(void **state)
{
	(void)state;
	execute(3);
	budgets_save(budgets);
	execute(2);
	gateway_die();
	gateway_start(RUN + 1, "log");
	host_record("start");
	used(0, true, 5);
	/* the numbers begin anew */
	execute(2);
	gateway_die();
	gateway_start(RUN + 2, "log");
	used(0, true, 7);
}

static void
after_a_reboot_all_lines_of_the_run_are_looked_at_again(void **state)
{
	char old[4096];
	ssize_t n;
	int fd;

	(void)state;
	execute(2);
	budgets_save(budgets);
	gateway_die();
	gateway_start(RUN + 1, "log");
	host_record("start");
	execute(1);
	budgets_save(budgets);
	fd = folder_open("budgets", 0);
	n = pread(fd, old, sizeof(old), 512);
	assert_int_equal(n, 1024);
	execute(5);
	/* the head came to the disk, the owners did not */
	budgets_save(budgets);
	assert_int_equal(pwrite(fd, old, (size_t)n, 512), n);
	close(fd);
	machine_die();
	gateway_start(RUN + 2, "log");
	used(0, true, 8);
	used(0, false, 8);
}

static void
after_a_good_end_the_log_is_not_read(void **state)
{
	(void)state;
	execute(4);
	budgets_finish(budgets);
	machine_die();
	/* what somebody else has put there is nobody's */
	assert_int_equal(truncate(folder_path("log"), 0), 0);
	gateway_start(RUN + 1, "log");
	used(0, true, 4);
	execute(1);
	machine_die();
	gateway_start(RUN + 2, "log");
	used(0, true, 5);
}

static void
over_a_rotation_nothing_is_lost_nor_charged_twice(void **state)
{
	(void)state;
	execute(3);
	assert_int_equal(ledger_switch(ledger, folder_append("next"),
	    false), 0);
	execute(2);
	gateway_die();
	gateway_start(RUN, "next");
	used(0, true, 5);
	/* and where it died in the switch: the old file first */
	gateway_die();
	gateway_start(RUN, "log");
	assert_int_equal(ledger_switch(ledger, folder_append("next"),
	    false), 0);
	used(0, true, 5);
	machine_die();
	gateway_start(RUN + 1, "next");
	used(0, true, 5);
}

static void
a_state_that_is_missing_is_rebuilt_from_the_log(void **state)
{
	(void)state;
	execute(3);
	put(2, OUTCOME_OK);
	ledger_flush(ledger);
	budgets_finish(budgets);
	gateway_die();
	gateway_start(RUN + 1, "log");
	host_record("start");
	execute(2);
	budgets_finish(budgets);
	gateway_die();
	unlink(folder_path("budgets"));
	gateway_start(RUN + 2, "log");
	used(0, true, 5);
	used(2, true, 1);
	execute(1);
	gateway_die();
	gateway_start(RUN + 2, "log");
	used(0, true, 6);
}

/* Else the gateway would be killed as one that does not read its messages. */
static void
of_a_log_that_is_very_long_the_end_is_read(void **state)
{
	struct stat st;
	int fd;

	(void)state;
	execute(3);
	gateway_die();
	fd = folder_append("log");
	assert_int_equal(fstat(fd, &st), 0);
	assert_int_equal(ftruncate(fd, st.st_size + (INT64_C(600) << 20)), 0);
	assert_int_equal(write(fd, "\n", 1), 1);
	close(fd);
	gateway_start(RUN, "log");
	execute(2);
	gateway_die();
	unlink(folder_path("budgets"));
	gateway_start(RUN, "log");
	used(0, true, 2);
}

static void
spoil(off_t at, size_t n)
{
	int fd = folder_open("budgets", 0);

	while (n-- > 0)
		assert_int_equal(pwrite(fd, "x", 1, at++), 1);
	close(fd);
}

static void
a_state_that_is_damaged_anywhere_is_rebuilt_from_the_log(void **state)
{
	static const off_t places[] = { 0, 8, 40, 512, 520, 600, 1023, 1024,
		1100, 1536, 1700, 2047, 2048, 3000 };

	(void)state;
	execute(3);
	put(1, OUTCOME_OK);
	put(2, OUTCOME_OK);
	ledger_flush(ledger);
	for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
		budgets_finish(budgets);
		gateway_die();
		spoil(places[i], i % 2 == 0 ? 1 : 300);
		gateway_start(RUN + 1 + i, "log");
		used(0, true, 4);
		used(0, false, 3);
		used(1, false, 1);
		used(2, false, 1);
	}
	budgets_finish(budgets);
	gateway_die();
	assert_int_equal(truncate(folder_path("budgets"), 700), 0);
	gateway_start(RUN + 99, "log");
	used(0, true, 4);
	used(2, true, 1);
}

/* The new head counts from its own log on; what stood behind the old one, in
 * other places, is not to be met when an entry is damaged later. */
static void
behind_a_damaged_head_nothing_of_before_is_met_again(void **state)
{
	(void)state;
	put(1, OUTCOME_OK);
	ledger_flush(ledger);
	execute(1);
	budgets_finish(budgets);
	gateway_die();
	spoil(8, 1);
	gateway_start(RUN + 1, "next");
	host_record("start");
	execute(3);
	budgets_finish(budgets);
	gateway_die();
	spoil(1100, 1);
	gateway_start(RUN + 2, "next");
	used(0, true, 3);
	used(0, false, 3);
	used(1, false, 0);
}

static void
a_damaged_entry_that_the_log_does_not_know_is_told_of_once(void **state)
{
	static const char none[512];
	char entry[512];
	int fd;

	(void)state;
	execute(1);
	budgets_finish(budgets);
	gateway_die();
	spoil(600, 1);
	gateway_start(RUN + 1, "next");
	gateway_die();
	fd = folder_open("budgets", 0);
	assert_int_equal(pread(fd, entry, sizeof(entry), 512), sizeof(entry));
	assert_memory_equal(entry, none, sizeof(none));
	/* the one behind it is sound, and stays */
	assert_int_equal(pread(fd, entry, sizeof(entry), 1024), sizeof(entry));
	assert_memory_not_equal(entry, none, sizeof(none));
	close(fd);
	gateway_start(RUN + 2, "next");
	used(0, false, 1);
}

/* Each GiB-s at 1 EUR, from the fourth on at half: by where on the month's axis
 * an execution lies, also after the gateway's death. */
static void
what_was_spent_survives_with_its_place_among_the_steps(void **state)
{
	(void)state;
	prices = prices_of("[book]\ncurrency = EUR\n[prices]\n"
	    "gib_second = 1, 0.5 above 3\n");
	budgets_set_prices(budgets, prices);
	execute(2);
	budgets_save(budgets);
	execute(2);
	used(0, true, 4);
	assert_int_equal(used_money, 3500000);
	gateway_die();
	gateway_start(RUN, "log");
	execute(1);
	used(0, true, 5);
	assert_int_equal(used_money, 4000000);
	used(0, false, 5);
	assert_int_equal(used_money, 4000000);
	/* rebuilt, line by line */
	budgets_finish(budgets);
	gateway_die();
	unlink(folder_path("budgets"));
	gateway_start(RUN, "log");
	used(0, true, 5);
	assert_int_equal(used_money, 4000000);
	prices_free(prices);
	prices = NULL;
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(what_was_saved_and_what_only_the_log_has_is_charged_once),
		TEST(what_no_log_has_is_not_saved),
		TEST(without_any_save_the_log_says_all),
		TEST(a_line_that_was_never_written_is_not_charged),
		TEST(of_a_batch_that_was_cut_the_whole_lines_are_charged),
		TEST(each_run_charges_its_own),
		TEST(after_a_reboot_all_lines_of_the_run_are_looked_at_again),
		TEST(after_a_good_end_the_log_is_not_read),
		TEST(over_a_rotation_nothing_is_lost_nor_charged_twice),
		TEST(a_state_that_is_missing_is_rebuilt_from_the_log),
		TEST(of_a_log_that_is_very_long_the_end_is_read),
		TEST(a_state_that_is_damaged_anywhere_is_rebuilt_from_the_log),
		TEST(what_was_spent_survives_with_its_place_among_the_steps),
		TEST(behind_a_damaged_head_nothing_of_before_is_met_again),
		TEST(a_damaged_entry_that_the_log_does_not_know_is_told_of_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
