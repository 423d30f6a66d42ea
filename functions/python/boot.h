/*
 * The interpreter: as `python3 FILE` has it, but for what a function could write
 * before it runs.  Boots without looking at the function, so that a spare can do
 * it before anybody asks.
 */
#ifndef FUNCTIONS_PYTHON_BOOT_H
#define FUNCTIONS_PYTHON_BOOT_H

/* What the environment says to the program and not to its function. */
struct boot_orders {
	int is_spare;
	char *preload; /* names of modules, by blanks; NULL: none; the caller frees */
	char *path;    /* PYTHONPATH; NULL: none; the caller frees */
};

/* Takes them out of the environment. */
void boot_orders_take(struct boot_orders *orders);
/* Starts the interpreter; file becomes sys.argv[0].  0, or -1 when it has said on
 * stderr why it cannot. */
int boot_start(const char *file);
/* The same for --check: stdout is the caller's. */
int boot_check(const char *file);
/* Imports modules by their names; one that is missing is told of, no more. */
void boot_preload(const char *names);

#endif
