/* As many owners as are counted, and more. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "fcgi-host/budget.h"
#include "fcgi-host/log.h"
#include "tests/unit/conf_text.h"

#define OWNERS 65536 /* as docs/DESIGN.md has it */
#define NOW (UINT64_C(1700000000) * 1000000)

static struct budgets *budgets;
static struct conf *conf;
static struct budget_refusal refusal;
static uint64_t seq;

static int
set_up(void **state)
{
	(void)state;
	log_init("test", LOG_ERROR);
	budgets = budgets_new();
	seq = 0;
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

static void
configure(const char *text)
{
	struct conf *old = conf;

	conf = conf_of(text);
	budgets_set_conf(budgets, conf);
	conf_unref(old);
}

/* With a budget of its sidecar's of so many executions; 0: none. */
static bool
is_refused(const char *tenant, const char *name, uint64_t most)
{
	struct settings sidecar = { .runtime = NULL };
	struct ctl_function function = { 0 };
	char text[40], said[200];

	strcpy(function.tenant, tenant);
	strcpy(function.name, name);
	snprintf(text, sizeof(text), "%d executions", (int)most);
	if (most > 0)
		assert_int_equal(settings_set(&sidecar, SCOPE_SIDECAR,
		    "budget_day", text, said, sizeof(said)), 0);
	conf_limits(conf, tenant, name, &sidecar, &function.limits, said,
	    sizeof(said));
	settings_free(&sidecar);
	return budgets_refuse(budgets, &function, NOW, &refusal);
}

static void
execute(const char *tenant, const char *name)
{
	struct record_exec record = { .seq = ++seq, .time_us = NOW,
		.run_us = 1000 };

	strcpy(record.tenant, tenant);
	strcpy(record.function, name);
	budgets_charge(budgets, &record, 0xabc, NOW);
}

/* So many functions that mallory makes and calls once, and removes. */
static void
many(uint32_t count, uint64_t most)
{
	static uint32_t next;
	char name[40];

	for (; count > 0; count--) {
		snprintf(name, sizeof(name), "mallory/f%u", next++);
		assert_false(is_refused("mallory", name, most));
	}
}

static void
who_makes_names_without_end_takes_no_places_but_his_own(void **state)
{
	(void)state;
	configure("[tenant alice]\nbudget_day = 1 executions\n"
	    "[function carol/f]\nbudget_day = 1 executions\n");
	assert_false(is_refused("alice", "alice/f", 0));
	execute("alice", "alice/f");
	assert_false(is_refused("bob", "bob/f", 1));
	execute("bob", "bob/f");
	execute("carol", "carol/f"); /* nobody has asked for it so far */
	many(OWNERS + 100, 1000);
	assert_true(is_refused("alice", "alice/f", 0));
	assert_true(is_refused("bob", "bob/f", 1));
	assert_true(is_refused("carol", "carol/f", 0));
	/* and those that come then are counted */
	assert_false(is_refused("dave", "dave/f", 0));
	assert_false(is_refused("erin", "erin/f", 1));
	execute("erin", "erin/f");
	assert_true(is_refused("erin", "erin/f", 1));
}

/* He is looked up first, and his function may take a place then: not his. */
static void
a_tenant_without_a_budget_keeps_what_he_used(void **state)
{
	(void)state;
	configure("");
	assert_false(is_refused("alice", "alice/f", 0));
	execute("alice", "alice/f");
	many(OWNERS, 0);
	assert_false(is_refused("alice", "alice/g", 0));
	execute("alice", "alice/g");
	many(OWNERS, 0);
	execute("alice", "alice/h");
	configure("[tenant alice]\nbudget_day = 3 executions\n");
	assert_true(is_refused("alice", "alice/i", 0));
	configure("[tenant alice]\nbudget_day = 4 executions\n");
	assert_false(is_refused("alice", "alice/i", 0));
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(who_makes_names_without_end_takes_no_places_but_his_own),
		TEST(a_tenant_without_a_budget_keeps_what_he_used),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
