/*
 * Where in the cgroup v2 hierarchy this process stands, and stepping aside: a
 * cgroup that gives controllers to its children may hold no process itself, so
 * in a delegated unit the host moves into a child of its own.
 */
#ifndef SANDBOX_CGROUP_PLACE_H
#define SANDBOX_CGROUP_PLACE_H

#include <stdbool.h>
#include <stddef.h>

struct cgroup_place {
	int fd; /* the own cgroup's directory */
	char mount[256]; /* of cgroup2 */
	char path[400]; /* below that */
	bool is_hybrid; /* v1 hierarchies hold controllers */
	bool is_root;   /* the root may hold processes and children */
	bool is_shared; /* processes that are not ours stand in it */
};

/* 0; -ENOENT: no cgroup2 is mounted; another negative errno. */
int cgroup_place_find(struct cgroup_place *place);

/*
 * Steps into the child `supervisor`, if this is not the root.  Whether the
 * place may hand controllers down now: false when others stand in it (to enable
 * pids or cpu there would make it threaded, and every child unusable) or when
 * the step was refused.
 */
bool cgroup_place_leave(struct cgroup_place *place);

/* Which of memory, pids and cpu are on cgroup v1, where, and the mend: a sentence
 * for people. */
void cgroup_place_explain_v1(char *out, size_t size);

/* Whether the topmost cgroup below the mount point shares out by the controller. */
bool cgroup_place_root_hands_down(const char *mount, const char *controller);
/* Whether the controller is on cgroup v1 and this process not in the root there. */
bool cgroup_place_is_below_v1(const char *controller);

/* Steps back into the directory, if it was left, and removes the child. */
void cgroup_place_return(int place_fd);

#endif
