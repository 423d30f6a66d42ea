/*
 * Where the programs of a sandbox come from: the host's own tree, or an image,
 * a directory that holds another system's (`rootfs`).  The directory is the
 * administrator's; what is in it may have been packed by a stranger.  So no
 * link of an image is followed beyond it, ever: links in the place of its
 * folders are refused, all others are resolved with the image as the root.
 * Used by the spawner's side of a start, by check and list, and by the tool.
 */
#ifndef SANDBOX_IMAGE_H
#define SANDBOX_IMAGE_H

#include <stdbool.h>
#include <stddef.h>

#define IMAGE_LINKS_MAX 8

/* A link or a folder of its "/": bin, lib, lib64 … */
struct image_link {
	char name[16];
	char target[64]; /* "": a folder, which is bound */
};

/* What stays open, so that a start pays for no path. */
struct image {
	int slash_fd, usr_fd;
	int etc_fd; /* -1: an image without one */
	bool is_host;
	/* the host's, in a user namespace: it may not make device files */
	bool is_users;
	struct image_link link[IMAGE_LINKS_MAX];
	size_t link_count;
};

#define IMAGE_CLOSED { .slash_fd = -1, .usr_fd = -1, .etc_fd = -1 }

/* The host's own.  0, or a negative errno with a static name in *step. */
int image_open_host(struct image *image, const char **step);

/*
 * The image in the directory `path`: of root (or of who asks) and writable by
 * no other, with a folder usr, and in it nothing that a sandbox takes but
 * folders and files.  0, or a negative errno with a sentence that names the
 * place and the mend; then it is closed.
 */
int image_open(struct image *image, const char *path, char *problem,
    size_t size);
void image_close(struct image *image);

/* Whether both are the same directories: another may stand at a path by now. */
bool image_is_same(const struct image *a, const struct image *b);

/* The names in /etc that a sandbox has of its image, up to a NULL. */
const char *const *image_etc_names(void);
/* One of them, O_PATH; -ENOENT: it has none.  The host's are opened without a
 * look at what they are. */
int image_etc(const struct image *image, const char *name);

/* Whether a path below dir_fd is there, without a link on the way.  0, -ENOENT,
 * -ELOOP … */
int image_check_beneath(int dir_fd, const char *path);

/* Whether a sandbox finds a program at an absolute path in the image.  0,
 * -ENOENT, -EACCES (there, but not to be executed) … */
int image_find_program(const struct image *image, const char *path);

#endif
