#include "sandbox/seccomp_shrink.h"

#include <linux/seccomp.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define LOAD (BPF_LD | BPF_W | BPF_ABS)
#define RETURN (BPF_RET | BPF_K)
#define NUMBER_AT offsetof(struct seccomp_data, nr)
#define ARCH_AT offsetof(struct seccomp_data, arch)
#define FAR_MAX 255 /* of a conditional jump */
#define NONE UINT16_MAX

/* What a call's number leads to: an answer, or the first look at an argument. */
struct outcome {
	bool is_answer;
	uint32_t value; /* the answer, or where in the program that look is */
};

/* From this number up to the next range's. */
struct range {
	uint32_t first;
	struct outcome outcome;
};

struct shrink {
	const struct sock_filter *old;
	size_t old_count;
	uint32_t arch;
	struct range *ranges;
	size_t count;
	uint32_t *answers; /* each once */
	size_t answer_count;
	uint16_t *places; /* of the old program's instructions in the new, or NONE */
	struct sock_filter *new;
	size_t made, answers_at, fragments_at;
};

/* ------------------------------------------------------------------- reading */

static bool
is_jump(const struct sock_filter *one)
{
	return BPF_CLASS(one->code) == BPF_JMP && BPF_OP(one->code) != BPF_JA;
}

/* Where a program goes on behind a jump on a known value. */
static bool
jump(const struct sock_filter *one, uint32_t value, size_t *at)
{
	bool holds;

	switch (one->code) {
	case BPF_JMP | BPF_JA:
		*at += one->k;
		return true;
	case BPF_JMP | BPF_JEQ | BPF_K:
		holds = value == one->k;
		break;
	case BPF_JMP | BPF_JGT | BPF_K:
		holds = value > one->k;
		break;
	case BPF_JMP | BPF_JGE | BPF_K:
		holds = value >= one->k;
		break;
	default:
		return false;
	}
	*at += holds ? one->jt : one->jf;
	return true;
}

/* False: something else than what libseccomp makes. */
static bool
run(const struct sock_filter *code, size_t count, uint32_t arch,
    uint32_t number, struct outcome *outcome)
{
	uint32_t value = 0;
	bool is_known = false;

	for (size_t at = 0; at < count; at++) {
		const struct sock_filter *one = &code[at];

		if (one->code == RETURN) {
			*outcome = (struct outcome){ true, one->k };
			return true;
		}
		if (one->code == LOAD && one->k != NUMBER_AT &&
		    one->k != ARCH_AT) {
			*outcome = (struct outcome){ false, (uint32_t)at };
			return true;
		}
		if (one->code == LOAD) {
			value = one->k == ARCH_AT ? arch : number;
			is_known = true;
		} else if (!is_known || !jump(one, value, &at)) {
			return false;
		}
	}
	return false;
}

static int
compare_numbers(const void *a, const void *b)
{
	const uint32_t left = *(const uint32_t *)a;
	const uint32_t right = *(const uint32_t *)b;

	return (left > right) - (left < right);
}

/* The answer can only change at a number that the program compares with, or
 * behind it: so all four thousand million are known from these. */
static bool
find_ranges(struct shrink *s)
{
	size_t n = 0;
	uint32_t *edges = calloc(2 * s->old_count + 1, sizeof(*edges));
	bool is_known = edges != NULL;

	s->ranges = calloc(2 * s->old_count + 1, sizeof(*s->ranges));
	is_known = is_known && s->ranges != NULL;
	if (is_known)
		edges[n++] = 0;
	for (size_t i = 0; i < s->old_count && is_known; i++) {
		if (!is_jump(&s->old[i]))
			continue;
		edges[n++] = s->old[i].k;
		if (s->old[i].k != UINT32_MAX)
			edges[n++] = s->old[i].k + 1;
	}
	if (is_known)
		qsort(edges, n, sizeof(*edges), compare_numbers);
	for (size_t i = 0; i < n && is_known; i++) {
		struct range *last = &s->ranges[s->count];
		struct outcome outcome;

		is_known = run(s->old, s->old_count, s->arch, edges[i],
		    &outcome);
		if (!is_known || (s->count > 0 &&
		    last[-1].outcome.is_answer == outcome.is_answer &&
		    last[-1].outcome.value == outcome.value))
			continue;
		*last = (struct range){ edges[i], outcome };
		s->count++;
	}
	free(edges);
	return is_known && s->count > 1;
}

static bool
find_answers(struct shrink *s)
{
	s->answers = calloc(s->count, sizeof(*s->answers));
	if (s->answers == NULL)
		return false;
	for (size_t i = 0; i < s->count; i++) {
		const struct outcome *outcome = &s->ranges[i].outcome;
		size_t at = 0;

		while (at < s->answer_count && s->answers[at] != outcome->value)
			at++;
		if (outcome->is_answer && at == s->answer_count)
			s->answers[s->answer_count++] = outcome->value;
	}
	return true;
}

/* Jumps lead forwards only, so one pass finds all that is reached. */
static bool
find_fragments(struct shrink *s)
{
	s->places = calloc(s->old_count + 1, sizeof(*s->places));
	if (s->places == NULL)
		return false;
	for (size_t i = 0; i < s->count; i++)
		if (!s->ranges[i].outcome.is_answer)
			s->places[s->ranges[i].outcome.value] = 1;
	for (size_t i = 0; i < s->old_count; i++) {
		const struct sock_filter *one = &s->old[i];

		if (s->places[i] == 0 || one->code == RETURN)
			continue;
		if (is_jump(one)) {
			s->places[i + 1 + one->jt] = 1;
			s->places[i + 1 + one->jf] = 1;
		} else {
			s->places[i + 1 + (BPF_CLASS(one->code) == BPF_JMP ?
			    one->k : 0)] = 1;
		}
	}
	return true;
}

/* ------------------------------------------------------------------- writing */

static void
put(struct shrink *s, unsigned code, size_t yes, size_t no, uint32_t k)
{
	s->new[s->made++] = (struct sock_filter){ (uint16_t)code, (uint8_t)yes,
		(uint8_t)no, k };
}

static size_t
place_of_answer(const struct shrink *s, uint32_t answer)
{
	size_t at = 0;

	while (s->answers[at] != answer)
		at++;
	return s->answers_at + at;
}

/* Of the search among ranges [low, high). */
static size_t
search_size(const struct shrink *s, size_t low, size_t high)
{
	size_t middle = low + (high - low) / 2;

	if (high - low == 1)
		return s->ranges[low].outcome.is_answer ? 0 : 1;
	return 1 + search_size(s, low, middle) +
	    search_size(s, middle, high);
}

/* How far from the next instruction: a lone answer stands behind the search. */
static size_t
distance(const struct shrink *s, size_t low, size_t high, size_t skip)
{
	const struct outcome *outcome = &s->ranges[low].outcome;

	if (high - low == 1 && outcome->is_answer)
		return place_of_answer(s, outcome->value) - s->made - 1;
	return skip;
}

static bool
put_search(struct shrink *s, size_t low, size_t high)
{
	size_t middle = low + (high - low) / 2;
	size_t yes, no;

	if (high - low == 1) {
		if (!s->ranges[low].outcome.is_answer)
			put(s, BPF_JMP | BPF_JA, 0, 0, (uint32_t)
			    (s->places[s->ranges[low].outcome.value] -
			    s->made - 1));
		return true;
	}
	no = distance(s, low, middle, 0);
	yes = distance(s, middle, high, search_size(s, low, middle));
	if (yes > FAR_MAX || no > FAR_MAX)
		return false;
	put(s, BPF_JMP | BPF_JGE | BPF_K, yes, no, s->ranges[middle].first);
	return put_search(s, low, middle) && put_search(s, middle, high);
}

/* What lies between two of them is left out, so that no jump grows. */
static void
put_fragments(struct shrink *s)
{
	for (size_t i = 0; i < s->old_count; i++) {
		struct sock_filter one = s->old[i];

		if (s->places[i] == NONE)
			continue;
		if (is_jump(&one)) {
			one.jt = (uint8_t)(s->places[i + 1 + one.jt] -
			    s->places[i] - 1);
			one.jf = (uint8_t)(s->places[i + 1 + one.jf] -
			    s->places[i] - 1);
		} else if (BPF_CLASS(one.code) == BPF_JMP) {
			one.k = (uint32_t)(s->places[i + 1 + one.k] -
			    s->places[i] - 1);
		}
		s->new[s->made++] = one;
	}
}

/* arch, kill or not; number; search; answers; fragments. */
static bool
write_all(struct shrink *s, uint32_t foreign)
{
	const size_t head = 4;
	size_t search = search_size(s, 0, s->count), place;

	s->answers_at = head + search;
	s->fragments_at = s->answers_at + s->answer_count;
	place = s->fragments_at;
	for (size_t i = 0; i < s->old_count; i++)
		s->places[i] = s->places[i] == 0 ? NONE : (uint16_t)place++;
	if (place >= s->old_count)
		return false;
	s->new = calloc(place, sizeof(*s->new));
	if (s->new == NULL)
		return false;
	put(s, LOAD, 0, 0, ARCH_AT);
	put(s, BPF_JMP | BPF_JEQ | BPF_K, 1, 0, s->arch);
	put(s, RETURN, 0, 0, foreign);
	put(s, LOAD, 0, 0, NUMBER_AT);
	if (!put_search(s, 0, s->count))
		return false;
	for (size_t i = 0; i < s->answer_count; i++)
		put(s, RETURN, 0, 0, s->answers[i]);
	put_fragments(s);
	return s->made == place;
}

/* Both, at each range's first number: what stands above the first jump to it is
 * all that was written anew. */
static bool
is_same(const struct shrink *s, uint32_t foreign)
{
	struct outcome outcome;

	for (size_t i = 0; i < s->count; i++) {
		const struct outcome *wanted = &s->ranges[i].outcome;
		uint32_t last = i + 1 < s->count ? s->ranges[i + 1].first - 1 :
		    UINT32_MAX;
		uint32_t value = wanted->is_answer ? wanted->value :
		    s->places[wanted->value];
		const uint32_t numbers[] = { s->ranges[i].first, last };

		for (size_t j = 0; j < 2; j++) {
			if (!run(s->new, s->made, s->arch, numbers[j],
			        &outcome) ||
			    outcome.is_answer != wanted->is_answer ||
			    outcome.value != value)
				return false;
		}
	}
	return run(s->new, s->made, ~s->arch, 0, &outcome) &&
	    outcome.is_answer && outcome.value == foreign;
}

/* Every other architecture has one answer, which is found before the number is
 * looked at. */
static bool
find_arch(struct shrink *s, uint32_t *foreign)
{
	struct outcome outcome;
	const struct sock_filter *code = s->old;

	if (s->old_count < 3 || code[0].code != LOAD || code[0].k != ARCH_AT ||
	    code[1].code != (BPF_JMP | BPF_JEQ | BPF_K))
		return false;
	s->arch = code[1].k;
	if ((size_t)code[1].jf + 2 >= s->old_count ||
	    code[2 + code[1].jf].code != RETURN ||
	    !run(code, s->old_count, ~s->arch, 0, &outcome) ||
	    !outcome.is_answer)
		return false;
	*foreign = outcome.value;
	return true;
}

/* Where a mask is of 32 bits the upper half is looked at under a mask of none.
 * What is jumped to then loads a word of its own, or answers. */
static void
leave_out_empty_looks(struct sock_filter *code, size_t count)
{
	for (size_t i = 0; i + 3 < count; i++) {
		size_t next = i + 3 + code[i + 2].jt;

		if (code[i].code == LOAD &&
		    code[i + 1].code == (BPF_ALU | BPF_AND | BPF_K) &&
		    code[i + 1].k == 0 &&
		    code[i + 2].code == (BPF_JMP | BPF_JEQ | BPF_K) &&
		    code[i + 2].k == 0 && next < count &&
		    (code[next].code == LOAD || code[next].code == RETURN))
			code[i] = (struct sock_filter)BPF_STMT(
			    BPF_JMP | BPF_JA, (uint32_t)(next - i - 1));
	}
}

bool
seccomp_shrink(struct sock_fprog *code)
{
	struct shrink s = { .old = code->filter, .old_count = code->len };
	uint32_t foreign = 0;
	bool is_shorter;

	leave_out_empty_looks(code->filter, code->len);
	is_shorter = find_arch(&s, &foreign) && find_ranges(&s) &&
	    find_answers(&s) && find_fragments(&s) && write_all(&s, foreign) &&
	    is_same(&s, foreign);

	if (is_shorter) {
		free(code->filter);
		code->filter = s.new;
		code->len = (unsigned short)s.made;
		s.new = NULL;
	}
	free(s.ranges);
	free(s.answers);
	free(s.places);
	free(s.new);
	return is_shorter;
}
