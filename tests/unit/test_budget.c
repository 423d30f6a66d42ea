#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "fcgi-host/budget.h"
#include "fcgi-host/log.h"
#include "tests/unit/conf_text.h"
#include "tests/unit/prices_text.h"

#define SECOND UINT64_C(1000000)
#define HOUR (3600 * SECOND)
#define DAY (24 * HOUR)
/* 2023-11-14T22:13:20Z, and the midnight and the month's end behind it */
#define NOW (1700000000 * SECOND)
#define MIDNIGHT (1700006400 * SECOND)
#define MONTH_END (1701388800 * SECOND)

static struct budgets *budgets;
static struct conf *conf;
static struct ctl_function function;
static struct budget_refusal refusal;
static uint64_t seq;

/* The function's numbers come from the same file, as the scanner reports them. */
static void
configure(const char *text)
{
	struct conf *old = conf;

	conf = conf_of(text);
	budgets_set_conf(budgets, conf);
	conf_unref(old);
	conf_limits(conf, function.tenant, function.name, NULL,
	    &function.limits, NULL, 0);
}

static int
set_up(void **state)
{
	(void)state;
	log_init("test", LOG_WARN);
	budgets = budgets_new();
	seq = 0;
	memset(&function, 0, sizeof(function));
	strcpy(function.name, "alice/f");
	strcpy(function.tenant, "alice");
	return budgets == NULL;
}

static int
tear_down(void **state)
{
	(void)state;
	budgets_free(budgets);
	conf_unref(conf);
	conf = NULL;
	return 0;
}

static bool
refused_at(uint64_t now_us)
{
	return budgets_refuse(budgets, &function, now_us, &refusal);
}

/* One of 1 s with 512 MiB, that came and ended then. */
static void
execute_from(uint64_t from_us, uint64_t now_us, enum record_outcome outcome)
{
	struct record_exec record = { .seq = ++seq, .time_us = from_us,
		.outcome = outcome, .run_us = 999001, .mem_limit_mib = 512 };

	strcpy(record.tenant, function.tenant);
	strcpy(record.function, function.name);
	budgets_charge(budgets, &record, 0xabc, now_us);
}

static void
execute(uint64_t now_us)
{
	execute_from(now_us, now_us, OUTCOME_OK);
}

static void
executions_are_refused_when_all_are_used_until_midnight(void **state)
{
	(void)state;
	configure("[tenant alice]\nbudget_day = 2 executions\n");
	assert_false(refused_at(NOW));
	execute(NOW);
	assert_false(refused_at(NOW));
	execute(NOW + 1);
	assert_true(refused_at(NOW));
	assert_int_equal(refusal.status, 429);
	assert_int_equal(refusal.retry_s, 6400);
	assert_string_equal(refusal.reason, "the tenant's budget of "
	    "executions of this day is used up (budget_day)");
	assert_true(refused_at(MIDNIGHT - 1));
	assert_int_equal(refusal.retry_s, 1);
	assert_false(refused_at(MIDNIGHT));
	execute(MIDNIGHT);
	assert_false(refused_at(MIDNIGHT));
}

static void
gib_seconds_are_memory_times_billed_time(void **state)
{
	(void)state;
	configure("[function alice/f]\nbudget_month = 1 GiB-s\n"
	    "budget_status = 402\n");
	execute(NOW);
	assert_false(refused_at(NOW));
	execute(NOW);
	assert_true(refused_at(NOW));
	assert_int_equal(refusal.status, 402);
	assert_int_equal(refusal.retry_s, (MONTH_END - NOW) / SECOND);
	assert_string_equal(refusal.reason, "the function's budget of GiB-s "
	    "of this month is used up (budget_month)");
	assert_true(refused_at(MONTH_END - 1));
	assert_false(refused_at(MONTH_END));
}

static void
each_unit_of_a_budget_holds_and_each_period(void **state)
{
	(void)state;
	configure("[function alice/f]\n"
	    "budget_day = 100 executions, 1 GiB-s\n"
	    "budget_month = 3 executions\n");
	execute(NOW);
	execute(NOW);
	assert_true(refused_at(NOW));
	assert_non_null(strstr(refusal.reason, "GiB-s of this day"));
	assert_false(refused_at(MIDNIGHT));
	execute(MIDNIGHT);
	assert_true(refused_at(MIDNIGHT));
	assert_non_null(strstr(refusal.reason, "executions of this month"));
	execute(MIDNIGHT);
	/* who comes back after the day would be refused by the month */
	assert_true(refused_at(MIDNIGHT));
	assert_int_equal(refusal.retry_s, (MONTH_END - MIDNIGHT) / SECOND);
}

static void
a_tenants_budget_is_of_all_his_functions_and_a_functions_of_it_alone(
    void **state)
{
	(void)state;
	configure("[defaults]\nbudget_day = 3 executions\n"
	    "[function alice/f]\nbudget_day = 2 executions\n");
	execute(NOW);
	execute(NOW);
	assert_true(refused_at(NOW));
	assert_non_null(strstr(refusal.reason, "the function's"));
	strcpy(function.name, "alice/g");
	conf_limits(conf, "alice", "alice/g", NULL, &function.limits, NULL, 0);
	assert_false(refused_at(NOW));
	execute(NOW);
	assert_true(refused_at(NOW));
	assert_non_null(strstr(refusal.reason, "the tenant's"));
	/* another tenant, and a function of the tenant's name */
	strcpy(function.name, "alice");
	strcpy(function.tenant, "default");
	conf_limits(conf, "default", "alice", NULL, &function.limits, NULL, 0);
	assert_false(refused_at(NOW));
}

static void
what_is_refused_or_lost_costs_nothing(void **state)
{
	(void)state;
	configure("[tenant alice]\nbudget_day = 1 execution\n");
	execute_from(NOW, NOW, OUTCOME_REFUSED);
	execute_from(NOW, NOW, OUTCOME_LOST);
	assert_false(refused_at(NOW));
	execute_from(NOW, NOW, OUTCOME_CRASH);
	assert_true(refused_at(NOW));
}

static void
an_execution_over_midnight_is_the_days_in_which_it_came(void **state)
{
	(void)state;
	configure("[tenant alice]\nbudget_day = 1 execution\n"
	    "budget_month = 2 executions\n");
	assert_false(refused_at(MIDNIGHT));
	execute_from(MIDNIGHT - 5, MIDNIGHT + 5, OUTCOME_OK);
	assert_false(refused_at(MIDNIGHT + 5));
	execute(MIDNIGHT + 5);
	assert_true(refused_at(MIDNIGHT + DAY));
	assert_non_null(strstr(refusal.reason, "this month"));
}

static void
a_clock_that_goes_back_over_midnight_brings_no_second_budget(void **state)
{
	(void)state;
	configure("[tenant alice]\nbudget_day = 2 executions\n");
	execute(MIDNIGHT + 1);
	execute(MIDNIGHT - 1);
	assert_true(refused_at(MIDNIGHT - 1));
	assert_int_equal(refusal.retry_s, 86401);
	assert_true(refused_at(MIDNIGHT + 1));
	assert_false(refused_at(MIDNIGHT + DAY));
}

static void
a_clock_that_goes_back_over_a_months_end_brings_none_either(void **state)
{
	(void)state;
	configure("[tenant alice]\nbudget_month = 2 executions\n");
	execute(MONTH_END + 1);
	execute(MONTH_END - 1);
	assert_true(refused_at(MONTH_END - 1));
	assert_true(refused_at(MONTH_END + 1));
}

static void
a_clock_that_was_far_ahead_does_not_keep_the_budget_till_then(void **state)
{
	(void)state;
	configure("[tenant alice]\nbudget_day = 1 execution\n");
	execute(NOW + 400 * DAY);
	assert_true(refused_at(NOW));
	assert_int_equal(refusal.retry_s, 6400);
	assert_false(refused_at(MIDNIGHT));
}

static void
a_reload_changes_the_budget_and_keeps_what_was_used(void **state)
{
	(void)state;
	configure("");
	execute(NOW);
	execute(NOW);
	configure("[tenant alice]\nbudget_day = 2 executions\n");
	assert_true(refused_at(NOW));
	configure("[tenant alice]\nbudget_day = 3 executions\n");
	assert_false(refused_at(NOW));
	execute(NOW);
	assert_true(refused_at(NOW));
	configure("[tenant alice]\nbudget_day = none\n");
	assert_false(refused_at(NOW));
	configure("[tenant alice]\nbudget_day = 1 GiB-s\n");
	assert_true(refused_at(NOW));
}

/* What is written to descriptor 2 meanwhile. */
struct capture {
	int saved, fd;
	char text[8192];
};

static void
capture_begin(struct capture *capture)
{
	capture->saved = dup(STDERR_FILENO);
	capture->fd = memfd_create("log", MFD_CLOEXEC);
	assert_int_equal(dup2(capture->fd, STDERR_FILENO), STDERR_FILENO);
}

static const char *
capture_end(struct capture *capture)
{
	ssize_t n = pread(capture->fd, capture->text,
	    sizeof(capture->text) - 1, 0);

	assert_int_equal(dup2(capture->saved, STDERR_FILENO), STDERR_FILENO);
	close(capture->saved);
	close(capture->fd);
	assert_true(n >= 0);
	capture->text[n] = '\0';
	return capture->text;
}

static int
capture_count(const char *text, const char *word)
{
	int count = 0;

	while ((text = strstr(text, word)) != NULL) {
		count++;
		text += strlen(word);
	}
	return count;
}

static void
a_budget_is_told_of_once_at_its_share_and_once_at_its_end(void **state)
{
	struct capture capture;
	const char *text;

	(void)state;
	configure("[tenant alice]\nbudget_day = 5 executions\n"
	    "budget_warn = 60%\n");
	capture_begin(&capture);
	execute(NOW);
	execute(NOW);
	text = capture_end(&capture);
	assert_null(strstr(text, "event=budget"));
	capture_begin(&capture);
	for (int i = 0; i < 3; i++)
		execute(NOW);
	for (int i = 0; i < 3; i++)
		assert_true(refused_at(NOW));
	text = capture_end(&capture);
	assert_int_equal(capture_count(text, "event=budget_warning"), 1);
	assert_int_equal(capture_count(text, "event=budget_used_up"), 1);
	assert_non_null(strstr(text, "tenant=alice key=budget_day "
	    "used=\"3 executions\" budget=\"5 executions\" "
	    "until=2023-11-15T00:00:00Z"));
	/* and anew in the next period, and where the budget was raised */
	capture_begin(&capture);
	for (int i = 0; i < 3; i++)
		execute(MIDNIGHT);
	configure("[tenant alice]\nbudget_day = 10 executions\n");
	for (int i = 0; i < 7; i++)
		execute(MIDNIGHT);
	text = capture_end(&capture);
	assert_int_equal(capture_count(text, "event=budget_warning"), 2);
	assert_int_equal(capture_count(text, "event=budget_used_up"), 1);
}

static struct budget_fact told[8];
static size_t told_count;

static void
on_fact(const struct budget_fact *fact, void *arg)
{
	(void)arg;
	told[told_count++] = *fact;
}

static void
each_budget_is_told_with_what_is_used(void **state)
{
	(void)state;
	configure("[tenant alice]\nbudget_day = 5 executions\n"
	    "[function alice/f]\nbudget_month = 1 GiB-s\n");
	execute(NOW);
	told_count = 0;
	budgets_tell_begin(budgets);
	budgets_tell(budgets, &function, NOW, on_fact, NULL);
	budgets_tell(budgets, &function, NOW, on_fact, NULL);
	assert_int_equal(told_count, 3); /* the tenant's is told once */
	assert_string_equal(told[0].owner, "alice");
	assert_true(told[0].is_tenant);
	assert_int_equal(told[0].used, 1);
	assert_int_equal(told[0].most, 5);
	assert_int_equal(told[0].ends_us, MIDNIGHT);
	assert_string_equal(told[1].owner, "alice/f");
	assert_int_equal(told[1].unit, AMOUNT_MIB_MS);
	assert_int_equal(told[1].used, 512000);
	assert_int_equal(told[1].ends_us, MONTH_END);
}

static void
a_sidecar_lowers_its_functions_budget_and_never_raises_it(void **state)
{
	struct settings sidecar = { .runtime = NULL };
	char problem[200], lowered[200];
	struct limits limits, ceiling;

	(void)state;
	configure("[tenant alice]\nbudget_day = 3 executions\n"
	    "[function alice/f]\nbudget_day = 50 executions\n");
	assert_int_equal(settings_set(&sidecar, SCOPE_SIDECAR, "budget_day",
	    "60 executions, 2 GiB-s", problem, sizeof(problem)), 0);
	conf_limits(conf, "alice", "alice/f", &sidecar, &limits, lowered,
	    sizeof(lowered));
	assert_int_equal(limits.value[LIMIT_BUDGET_DAY_EXECUTIONS], 50);
	assert_int_equal(limits.value[LIMIT_BUDGET_DAY_MIB_MS], 2048000);
	assert_string_equal(lowered, "budget_day");
	assert_int_equal(settings_set(&sidecar, SCOPE_SIDECAR, "budget_day",
	    "4 executions", problem, sizeof(problem)), 0);
	conf_limits(conf, "alice", "alice/f", &sidecar, &limits, lowered,
	    sizeof(lowered));
	assert_int_equal(limits.value[LIMIT_BUDGET_DAY_EXECUTIONS], 4);
	/* what a scanner that lies claims */
	conf_ceiling(conf, "alice", "alice/f", &ceiling);
	limits.value[LIMIT_BUDGET_DAY_EXECUTIONS] = 0;
	settings_admit(&limits, &ceiling);
	assert_int_equal(limits.value[LIMIT_BUDGET_DAY_EXECUTIONS], 50);
	conf_ceiling(conf, "alice", "alice/g", &ceiling);
	assert_int_equal(ceiling.value[LIMIT_BUDGET_DAY_EXECUTIONS], 0);
	settings_free(&sidecar);
}

/* A book for 1 EUR a GiB-s above 2 GiB-s, half of that above 4. */
#define BOOK "[book]\ncurrency = EUR\n[prices]\nfree_gib_seconds = 2\n" \
	"gib_second = 1, 0.5 above 4\nidle_gib_second = 0.25\n"

static void
money_is_spent_behind_the_free_tier_and_by_steps(void **state)
{
	struct prices *prices = prices_of(BOOK);

	(void)state;
	configure("[host]\nprices = /p\n"
	    "[tenant alice]\nbudget_month = 3 EUR\n");
	budgets_set_prices(budgets, prices);
	/* of 0.5 GiB-s each: 4 are free, 4 cost 0.50 each, and 0.25 then */
	for (int i = 0; i < 4 + 4 + 3; i++) {
		assert_false(refused_at(NOW));
		execute(NOW);
	}
	assert_false(refused_at(NOW));
	execute(NOW);
	assert_true(refused_at(NOW));
	assert_int_equal(refusal.status, 429);
	assert_string_equal(refusal.reason, "the tenant's budget of money of "
	    "this month is used up (budget_month)");
	assert_false(refused_at(MONTH_END));
	/* the free tier is each month's */
	for (int i = 0; i < 4; i++)
		execute(MONTH_END);
	told_count = 0;
	budgets_tell_begin(budgets);
	budgets_tell(budgets, &function, MONTH_END, on_fact, NULL);
	assert_int_equal(told[0].unit, AMOUNT_MONEY);
	assert_int_equal(told[0].used, 0);
	assert_int_equal(told[0].most, 3000000);
	assert_string_equal(told[0].currency, "EUR");
	budgets_set_prices(budgets, NULL);
	prices_free(prices);
}

static void
a_function_spends_what_its_executions_cost_its_tenant(void **state)
{
	struct prices *prices = prices_of(BOOK);

	(void)state;
	configure("[host]\nprices = /p\n"
	    "[function alice/f]\nbudget_day = 1 EUR\n");
	budgets_set_prices(budgets, prices);
	/* the free tier is used by another one's */
	strcpy(function.name, "alice/g");
	for (int i = 0; i < 4; i++)
		execute(NOW);
	strcpy(function.name, "alice/f");
	assert_false(refused_at(NOW));
	execute(NOW);
	assert_false(refused_at(NOW));
	execute(NOW);
	assert_true(refused_at(NOW));
	assert_false(refused_at(MIDNIGHT));
	budgets_set_prices(budgets, NULL);
	prices_free(prices);
}

static void
time_between_executions_is_spent_where_it_has_a_price(void **state)
{
	struct prices *prices = prices_of(BOOK);
	struct record_instance record = { .seq = 1, .time_us = NOW,
		.tenant = "alice", .function = "alice/f",
		.idle_us = 4000000, .mem_limit_mib = 1024 };

	(void)state;
	configure("[host]\nprices = /p\n"
	    "[tenant alice]\nbudget_day = 1 EUR, 1 executions\n");
	budgets_set_prices(budgets, prices);
	assert_false(refused_at(NOW));
	budgets_charge_instance(budgets, &record, 0xabc, NOW);
	assert_true(refused_at(NOW));
	assert_non_null(strstr(refusal.reason, "budget of money of this day"));
	budgets_set_prices(budgets, NULL);
	prices_free(prices);
}

static void
without_its_price_book_a_budget_in_money_refuses(void **state)
{
	struct prices *prices = prices_of(
	    "[book]\ncurrency = USD\n[prices]\ngib_second = 1\n");

	(void)state;
	configure("[host]\nprices = /p\n"
	    "[tenant alice]\nbudget_day = 1 EUR\n");
	assert_true(refused_at(NOW));
	assert_int_equal(refusal.status, 503);
	budgets_set_prices(budgets, prices);
	assert_true(refused_at(NOW));
	assert_non_null(strstr(refusal.reason, "no price book in its "
	    "currency"));
	configure("[host]\nprices = /p\n"
	    "[tenant alice]\nbudget_day = 1 USD\n");
	assert_false(refused_at(NOW));
	budgets_set_prices(budgets, NULL);
	prices_free(prices);
}

static void
a_clock_that_goes_back_over_a_months_end_keeps_the_steps(void **state)
{
	struct prices *prices = prices_of(BOOK);

	(void)state;
	configure("[host]\nprices = /p\n"
	    "[tenant alice]\nbudget_month = 1 EUR\n");
	budgets_set_prices(budgets, prices);
	for (int i = 0; i < 4; i++)
		execute(MONTH_END + 1);
	/* no second free tier */
	execute(MONTH_END - 1);
	assert_false(refused_at(MONTH_END - 1));
	execute(MONTH_END - 1);
	assert_true(refused_at(MONTH_END - 1));
	assert_true(refused_at(MONTH_END + 1));
	budgets_set_prices(budgets, NULL);
	prices_free(prices);
}

static void
a_clock_that_was_far_ahead_brings_no_second_free_tier(void **state)
{
	struct prices *prices = prices_of(BOOK);

	(void)state;
	configure("[host]\nprices = /p\n"
	    "[tenant alice]\nbudget_month = 1 EUR\n");
	budgets_set_prices(budgets, prices);
	for (int i = 0; i < 4; i++)
		execute(NOW + 70 * DAY);
	execute(NOW);
	assert_false(refused_at(NOW));
	execute(NOW);
	assert_true(refused_at(NOW));
	budgets_set_prices(budgets, NULL);
	prices_free(prices);
}

static void
a_sidecar_sets_no_budget_in_money(void **state)
{
	struct settings sidecar = { .runtime = NULL };
	char problem[200];

	(void)state;
	assert_int_not_equal(settings_set(&sidecar, SCOPE_SIDECAR,
	    "budget_day", "5 EUR", problem, sizeof(problem)), 0);
	assert_non_null(strstr(problem, "only the administrator's file"));
	settings_free(&sidecar);
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(executions_are_refused_when_all_are_used_until_midnight),
		TEST(gib_seconds_are_memory_times_billed_time),
		TEST(each_unit_of_a_budget_holds_and_each_period),
		TEST(a_tenants_budget_is_of_all_his_functions_and_a_functions_of_it_alone),
		TEST(what_is_refused_or_lost_costs_nothing),
		TEST(an_execution_over_midnight_is_the_days_in_which_it_came),
		TEST(a_clock_that_goes_back_over_midnight_brings_no_second_budget),
		TEST(a_clock_that_goes_back_over_a_months_end_brings_none_either),
		TEST(a_clock_that_was_far_ahead_does_not_keep_the_budget_till_then),
		TEST(a_reload_changes_the_budget_and_keeps_what_was_used),
		TEST(a_budget_is_told_of_once_at_its_share_and_once_at_its_end),
		TEST(each_budget_is_told_with_what_is_used),
		TEST(money_is_spent_behind_the_free_tier_and_by_steps),
		TEST(a_function_spends_what_its_executions_cost_its_tenant),
		TEST(time_between_executions_is_spent_where_it_has_a_price),
		TEST(without_its_price_book_a_budget_in_money_refuses),
		TEST(a_clock_that_goes_back_over_a_months_end_keeps_the_steps),
		TEST(a_clock_that_was_far_ahead_brings_no_second_free_tier),
		TEST(a_sidecar_sets_no_budget_in_money),
		TEST(a_sidecar_lowers_its_functions_budget_and_never_raises_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
