/*
 * The allocator of the test that includes it, which fails when it is told to.
 * In a header, since in a library it would be every test's.
 */
#ifndef TESTS_UNIT_FAILING_MALLOC_H
#define TESTS_UNIT_FAILING_MALLOC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>

/* The allocator of a sanitizer cannot be replaced. */
#if defined(__SANITIZE_ADDRESS__)
#define HAS_OWN_ALLOCATOR 0
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define HAS_OWN_ALLOCATOR 0
#endif
#endif
#ifndef HAS_OWN_ALLOCATOR
#define HAS_OWN_ALLOCATOR 1
#endif

#if HAS_OWN_ALLOCATOR

void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *old, size_t size);
void __libc_free(void *memory);

static bool is_counting; /* what is allocated and freed */
static int until_failure; /* the allocation of that number fails; 0: none */
static int alive;

static bool
fails(void)
{
	return until_failure > 0 && --until_failure == 0;
}

void *
malloc(size_t size)
{
	if (fails())
		return NULL;
	alive += is_counting;
	return __libc_malloc(size);
}

void *
calloc(size_t count, size_t size)
{
	if (fails())
		return NULL;
	alive += is_counting;
	return __libc_calloc(count, size);
}

void *
realloc(void *old, size_t size)
{
	if (fails())
		return NULL;
	alive += is_counting && old == NULL;
	return __libc_realloc(old, size);
}

void *
reallocarray(void *old, size_t count, size_t size)
{
	return realloc(old, count * size);
}

void
free(void *memory)
{
	alive -= is_counting && memory != NULL;
	__libc_free(memory);
}

#endif /* HAS_OWN_ALLOCATOR */

#endif
