/*
 * A shortened filter answers every call as the one it was made of: both are run
 * as the kernel runs them, on every number that a program speaks of or that lies
 * beside one, on all of the kernel's calls, and on some thousands of others, with
 * arguments around each value that the program compares with.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <linux/audit.h>
#include <linux/seccomp.h>
#include <stdlib.h>
#include <string.h>

#include "sandbox/seccomp.h"
#include "sandbox/seccomp_shrink.h"

#define NUMBERS 1024 /* the kernel's calls lie below */
#define TRIES 96     /* of each number, with other arguments */
#define OTHERS 20000

struct pair {
	struct seccomp_program whole;
	struct sock_fprog shorter;
};

/* -------------------------------------------------- the kernel's interpreter */

static bool
holds(const struct sock_filter *op, uint32_t a)
{
	switch (BPF_OP(op->code)) {
	case BPF_JEQ:
		return a == op->k;
	case BPF_JGT:
		return a > op->k;
	case BPF_JGE:
		return a >= op->k;
	default:
		fail_msg("a jump of another kind: %#x", op->code);
		return false;
	}
}

static uint32_t
run(const struct sock_fprog *code, const struct seccomp_data *data)
{
	uint32_t a = 0;

	for (size_t at = 0; at < code->len; at++) {
		const struct sock_filter *op = &code->filter[at];

		if (op->code == (BPF_RET | BPF_K))
			return op->k;
		if (op->code == (BPF_LD | BPF_W | BPF_ABS))
			memcpy(&a, (const char *)data + op->k, sizeof(a));
		else if (op->code == (BPF_ALU | BPF_AND | BPF_K))
			a &= op->k;
		else if (op->code == (BPF_JMP | BPF_JA))
			at += op->k;
		else if (BPF_CLASS(op->code) == BPF_JMP)
			at += holds(op, a) ? op->jt : op->jf;
		else
			fail_msg("an operation of another kind: %#x", op->code);
	}
	fail_msg("a program without an end");
	return 0;
}

/* ------------------------------------------------------------------ both, by turns */

static uint32_t
some_word(const struct sock_fprog *code)
{
	uint32_t word = code->filter[(size_t)random() % code->len].k;

	switch (random() % 4) {
	case 0:
		return word + (uint32_t)(random() % 3) - 1;
	case 1:
		return UINT32_C(1) << (random() % 32);
	case 2:
		return (uint32_t)random() << 1;
	default:
		return word;
	}
}

static void
compare(const struct pair *pair, uint32_t arch, uint32_t number)
{
	struct seccomp_data data = { .nr = (int)number, .arch = arch };

	for (size_t i = 0; i < 6; i++) {
		uint64_t high = random() % 4 != 0 ? 0 :
		    random() % 2 != 0 ? UINT32_MAX : some_word(&pair->whole.code);

		data.args[i] = high << 32 | some_word(&pair->whole.code);
	}
	if (run(&pair->whole.code, &data) != run(&pair->shorter, &data))
		fail_msg("call %u of architecture %#x is answered otherwise",
		    number, arch);
}

static void
compare_all(const struct pair *pair)
{
	const struct sock_fprog *code = &pair->whole.code;
	const uint32_t native = code->filter[1].k;

	for (uint32_t number = 0; number < NUMBERS; number++)
		for (int i = 0; i < TRIES; i++)
			compare(pair, native, number);
	for (size_t i = 0; i < code->len; i++)
		for (uint32_t beside = 0; beside < 3; beside++)
			compare(pair, native, code->filter[i].k + beside - 1);
	for (int i = 0; i < OTHERS; i++) {
		compare(pair, native, (uint32_t)random() << 1);
		compare(pair, some_word(code), (uint32_t)(random() % NUMBERS));
	}
	compare(pair, native, UINT32_MAX);
	compare(pair, native, 0x40000000);
	compare(pair, AUDIT_ARCH_I386, 1);
}

static bool
make(struct pair *pair, enum seccomp_role role, unsigned bits)
{
	const struct seccomp_options options = { .has_memfd = bits & 1,
		.has_sysv = bits & 2, .has_terminal = bits & 4,
		.has_internet = bits & 8 };
	size_t bytes;

	assert_int_equal(seccomp_compile(&pair->whole, role, &options), 0);
	pair->shorter = pair->whole.code;
	bytes = pair->whole.code.len * sizeof(struct sock_filter);
	pair->shorter.filter = malloc(bytes);
	assert_non_null(pair->shorter.filter);
	memcpy(pair->shorter.filter, pair->whole.code.filter, bytes);
	return seccomp_shrink(&pair->shorter);
}

static void
release(struct pair *pair)
{
	free(pair->shorter.filter);
	seccomp_free(&pair->whole);
}

static void
every_filter_of_a_function_is_shorter_and_answers_the_same(void **state)
{
	(void)state;
	for (unsigned bits = 0; bits < 16; bits++) {
		struct pair pair;

		assert_true(make(&pair, SECCOMP_FUNCTION, bits));
		assert_true(pair.shorter.len < pair.whole.code.len * 2 / 3);
		compare_all(&pair);
		release(&pair);
	}
}

static void
other_filters_answer_the_same(void **state)
{
	static const enum seccomp_role roles[] = { SECCOMP_GATEWAY,
		SECCOMP_SCANNER, SECCOMP_SPAWNER };

	(void)state;
	for (size_t i = 0; i < sizeof(roles) / sizeof(roles[0]); i++) {
		struct pair pair;

		(void)make(&pair, roles[i], 0);
		assert_true(pair.shorter.len <= pair.whole.code.len);
		compare_all(&pair);
		release(&pair);
	}
}

/* ------------------------------------------------------------- what it leaves alone */

#define LOAD(at) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (at))
#define IS(value, yes, no) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (value), (yes), (no))
#define ANSWER(value) BPF_STMT(BPF_RET | BPF_K, (value))

static void
expect_untouched(const struct sock_filter *code, size_t count)
{
	struct sock_fprog program = { (unsigned short)count,
		calloc(count, sizeof(*code)) };

	assert_non_null(program.filter);
	memcpy(program.filter, code, count * sizeof(*code));
	assert_false(seccomp_shrink(&program));
	assert_int_equal(program.len, count);
	assert_memory_equal(program.filter, code, count * sizeof(*code));
	free(program.filter);
}

static void
a_program_of_another_kind_stays_as_it_is(void **state)
{
	const struct sock_filter no_arch[] = { LOAD(0), IS(1, 0, 1),
		ANSWER(1), ANSWER(2) };
	const struct sock_filter two_archs[] = { LOAD(4), IS(7, 0, 2), LOAD(0),
		IS(1, 2, 3), IS(9, 0, 2), ANSWER(1), ANSWER(2), ANSWER(3) };
	const struct sock_filter arithmetic[] = { LOAD(4), IS(7, 1, 0),
		ANSWER(3), LOAD(0), BPF_STMT(BPF_ALU | BPF_AND | BPF_K, 3),
		IS(1, 0, 1), ANSWER(1), ANSWER(2) };
	const struct sock_filter one_answer[] = { LOAD(4), IS(7, 1, 0),
		ANSWER(3), LOAD(0), IS(1, 0, 0), ANSWER(1) };
	const struct sock_filter short_one[] = { LOAD(4), IS(7, 1, 0),
		ANSWER(3), LOAD(0), IS(1, 0, 1), ANSWER(1), ANSWER(2) };
	const struct sock_filter nothing[] = { ANSWER(1) };

	(void)state;
	expect_untouched(no_arch, 4);
	expect_untouched(two_archs, 8);
	expect_untouched(arithmetic, 8);
	expect_untouched(one_answer, 6);
	expect_untouched(short_one, 7);
	expect_untouched(nothing, 1);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
		    every_filter_of_a_function_is_shorter_and_answers_the_same),
		cmocka_unit_test(other_filters_answer_the_same),
		cmocka_unit_test(a_program_of_another_kind_stays_as_it_is),
	};

	srandom(1);
	return cmocka_run_group_tests_name("seccomp_shrink", tests, NULL, NULL);
}
