/*
 * A terminal of a sandbox's own.  The caller's is never handed in: whoever has it
 * could type into it, read from it and change it.  Instead a pair is made, one
 * end goes into the sandbox, and bytes are carried between the other end and the
 * caller's terminal, which is in raw mode meanwhile.  Of whoever typed a command.
 */
#ifndef SANDBOX_TERMINAL_H
#define SANDBOX_TERMINAL_H

#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <termios.h>

#define TERMINAL_CHUNK 4096
#define TERMINAL_POLLS 3

/* Bytes on their way from one descriptor to another. */
struct terminal_flow {
	char bytes[TERMINAL_CHUNK];
	size_t start, end;
};

struct terminal {
	bool is_there;
	bool is_raw;       /* standard input is a terminal, and was changed */
	int outside_in;    /* standard input, if that is a terminal, or -1 */
	int outside_out;   /* the caller's terminal, ours to close */
	int master;        /* -1: the sandbox has closed its end */
	int slave;         /* the sandbox's end, until terminal_begin */
	struct termios before; /* of outside_in, if there is one */
	struct terminal_flow in, out;
};

/* One that was not opened. */
#define TERMINAL_NONE ((struct terminal){ .outside_in = -1, \
	.outside_out = -1, .master = -1, .slave = -1 })

/*
 * Makes a pair if one of the standard descriptors is a terminal, with its
 * settings and size; else nothing (is_there is false).  0 or negative errno.
 */
int terminal_open(struct terminal *terminal);
/* What the program gets: the pair's end in the place of each standard
 * descriptor that is a terminal, and the others as they are. */
void terminal_fds(const struct terminal *terminal, int fds[3]);
/* The program has its descriptors: ours of its end is closed, and the caller's
 * terminal is set to raw mode.  0 or negative errno. */
int terminal_begin(struct terminal *terminal);
/* After a stop, in which a shell used the terminal: raw again, and its size. */
void terminal_again(struct terminal *terminal);
/* The caller's terminal has another size: so has the sandbox's. */
void terminal_resize(const struct terminal *terminal);

/* What to wait for; and carrying what has come.  0; -EPIPE: the caller's terminal
 * is gone. */
void terminal_polls(const struct terminal *terminal,
    struct pollfd polls[TERMINAL_POLLS]);
int terminal_carry(struct terminal *terminal,
    const struct pollfd polls[TERMINAL_POLLS]);
/* The program has ended: what it wrote last is carried, as long as the caller's
 * terminal takes it. */
void terminal_finish(struct terminal *terminal);

/* Puts the caller's terminal back as it was, and closes ours.  Of one that was
 * not opened, nothing. */
void terminal_close(struct terminal *terminal);

#endif
