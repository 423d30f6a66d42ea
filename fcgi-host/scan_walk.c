#include "fcgi-host/scan_walk.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "fcgi-host/scan_judge.h"
#include "fcgi-host/scan_name.h"
#include "fcgi-host/scan_pick.h"
#include "fcgi-host/sock.h"

/* A folder that somebody is filling is not looked into before it rests, or for
 * so long at most: `cp -r` would show a helper as a function for a moment. */
#define FILL_NS 1000000000LL

/* A folder under way: where, and what is in it. */
struct folder {
	struct scan_place place;
	struct scan_list list;
};

static void walk(struct scan_look *look, const struct folder *folder);

static void
refuse_name(struct scan_look *look, const struct scan_place *place,
    const char *file)
{
	char name[CTL_NAME_MAX + 1];

	scan_name_escape(name, place->prefix, file);
	scan_look_refuse(look, name, "", CTL_PROBLEM_NAME, "rename it: only "
	    "a-z, 0-9, '.', '_' and '-', a letter or a digit first, each part "
	    "at most %d bytes, %d in all, and %d parts", CTL_TENANT_MAX,
	    CTL_NAME_MAX, CTL_SEGMENTS_MAX);
}

/* The function's or folder's name; false when it is none (reported). */
static bool
make_name(struct scan_look *look, const struct scan_place *place,
    const struct scan_item *item, size_t length, char name[CTL_NAME_MAX + 1])
{
	if (ctl_segment_ok(item->name, length) && scan_join(name,
	    CTL_NAME_MAX + 1, place->prefix, item->name, length) == 0 &&
	    ctl_name_ok(name))
		return true;
	refuse_name(look, place, item->name);
	return false;
}

static void
judge_file(struct scan_look *look, const struct folder *folder,
    struct scan_candidate *candidate, size_t name_length)
{
	struct scan_subject subject = {
		.main = { .place = &folder->place, .item = candidate->item },
		.sidecar = { .place = &folder->place },
	};

	candidate->is_done = true;
	if (!make_name(look, &folder->place, candidate->item, name_length,
	    subject.name))
		return;
	if (look->served >= SCAN_SERVED_MAX) {
		scan_look_leave_out(look, subject.name);
		return;
	}
	subject.sidecar.item = scan_pick_sidecar(&folder->list,
	    candidate->item->name, name_length);
	scan_judge(look, &subject);
}

/* A run of candidates of one name. */
static void
judge_run(struct scan_look *look, const struct folder *folder,
    struct scan_candidate *run, size_t count)
{
	struct scan_stem whole = { 0 };
	char name[CTL_NAME_MAX + 1];

	if (run[0].is_done) {
		/* The folder of that name has spoken for both. */
	} else if (count > 1 && run[1].is_runnable) {
		scan_pick_sidecar(&folder->list, run[0].item->name,
		    run[0].length);
		if (make_name(look, &folder->place, run[0].item,
		    run[0].length, name))
			scan_look_refuse(look, name, "", CTL_PROBLEM_TWICE,
			    "%s and %s have one name: remove or rename one",
			    run[0].item->name, run[1].item->name);
	} else {
		judge_file(look, folder, &run[0], run[0].length);
	}
	/* Others of that name are shown under all of theirs. */
	for (size_t i = 1; i < count; i++) {
		whole.length = strlen(run[i].item->name);
		if (!run[i].is_runnable && !run[i].is_done)
			judge_file(look, folder, &run[i], whole.length);
	}
}

static void
judge_files(struct scan_look *look, const struct folder *folder,
    const struct scan_candidates *candidates)
{
	size_t from = 0, to;

	for (; from < candidates->count; from = to) {
		struct scan_candidate *run = &candidates->all[from];

		for (to = from + 1; to < candidates->count &&
		    scan_candidate_is(&candidates->all[to], run->item->name,
		    run->length);)
			to++;
		judge_run(look, folder, run, to - from);
	}
}

/* A sidecar that has no function is a mistake that somebody wonders about. */
static void
report_lone_sidecars(struct scan_look *look, const struct folder *folder)
{
	char name[CTL_NAME_MAX + 1];
	size_t length;

	for (size_t i = 0; i < folder->list.count; i++) {
		const struct scan_item *item = &folder->list.items[i];

		if (S_ISDIR(item->mode) || item->is_used ||
		    !scan_name_is_sidecar(item->name, &length) ||
		    !make_name(look, &folder->place, item, length, name))
			continue;
		scan_look_refuse(look, name, "", CTL_PROBLEM_SIDECAR,
		    "%s is the sidecar of no function: give it the name of "
		    "one, or remove it", item->name);
	}
}

/* NAME.ini beside the folder, or main.ini or index.ini in it; *count says how
 * many of them there are. */
static struct scan_file
find_folder_sidecar(const struct folder *up, const struct folder *folder,
    const char *name, size_t *count)
{
	const char *const inside[] = { "main", "index" };
	struct scan_file found = { .place = &up->place,
		.item = scan_pick_sidecar(&up->list, name, strlen(name)) };

	*count = found.item != NULL;
	for (size_t i = 0; i < 2; i++) {
		const struct scan_item *item = scan_pick_sidecar(&folder->list,
		    inside[i], strlen(inside[i]));

		if (item == NULL)
			continue;
		found.place = &folder->place;
		found.item = item;
		(*count)++;
	}
	return found;
}

/* Two of one name, with the file beside the folder: both are refused. */
static bool
is_twice(struct scan_look *look, const struct scan_candidates *beside,
    const struct scan_item *item, const char *name)
{
	struct scan_candidate *file = scan_candidates_find(beside, item->name,
	    strlen(item->name));

	if (file == NULL || !file->is_runnable)
		return false;
	for (struct scan_candidate *each = file;
	    each < beside->all + beside->count && each->is_runnable &&
	    scan_candidate_is(each, item->name, strlen(item->name)); each++)
		each->is_done = true;
	scan_look_refuse(look, name, "", CTL_PROBLEM_TWICE, "the file %s and "
	    "the folder %s have one name: remove or rename one",
	    file->item->name, item->name);
	return true;
}

/* A folder that is a function. */
static void
judge_folder(struct scan_look *look, const struct folder *up,
    const struct scan_candidates *beside, const struct scan_item *item,
    const struct folder *folder)
{
	const struct scan_item *other;
	const char *path = folder->place.prefix;
	struct scan_subject subject = { .is_folder = true };
	char detail[CTL_DETAIL_MAX + 1];
	enum ctl_problem problem;
	size_t sidecars;

	strcpy(subject.name, folder->place.prefix);
	subject.main.place = &folder->place;
	subject.main.item = scan_pick_main(look->conf, &folder->list, &other);
	subject.sidecar = find_folder_sidecar(up, folder, item->name,
	    &sidecars);
	if (is_twice(look, beside, item, subject.name))
		return;
	problem = scan_check_folder(look, item, path, true, detail);
	if (problem != CTL_PROBLEM_NONE)
		scan_look_refuse(look, path, path, problem, "%s", detail);
	else if (subject.main.item == NULL)
		scan_look_refuse(look, path, path, CTL_PROBLEM_SIDECAR, "the "
		    "folder has a sidecar and no main file: add main.*");
	else if (other != NULL)
		scan_look_refuse(look, path, path, CTL_PROBLEM_TWICE, "%s and "
		    "%s could both be its main file: remove or rename one",
		    subject.main.item->name, other->name);
	else if (sidecars > 1)
		scan_look_refuse(look, path, path, CTL_PROBLEM_SIDECAR, "it "
		    "has %zu sidecars; keep one of %s.ini beside the folder, "
		    "main.ini and index.ini in it", sidecars, item->name);
	else if (look->served >= SCAN_SERVED_MAX)
		scan_look_leave_out(look, path);
	else
		scan_judge(look, &subject);
}

/* True for a folder that was never looked into and is being filled.  One that
 * was moved into the place of another is not to be missing meanwhile. */
static bool
is_filling(struct scan_look *look, const struct scan_place *place,
    bool is_replaced)
{
	const struct scan_watched *watched = &place->watched;
	int64_t now_ns = scan_now_ns();
	int64_t rest_ns = now_ns - place->id.mtime_ns;

	if (look->is_last || is_replaced || watched->is_known || rest_ns < 0 ||
	    rest_ns >= SCAN_SETTLE_NS)
		return false;
	if (look->watch != NULL && (watched->number < 0 ||
	    now_ns - watched->since_ns >= FILL_NS))
		return false;
	scan_look_again(look, place->id.mtime_ns + SCAN_SETTLE_NS);
	return true;
}

static void
refuse_folder(struct scan_look *look, const char *path,
    const struct scan_item *item, int err)
{
	if (err == -EACCES || err == -EPERM)
		scan_look_refuse(look, path, path, CTL_PROBLEM_MODE, "the host "
		    "may not read the folder (mode %04o): chmod a+rx %s",
		    item->mode & 07777, path);
	else if (err == -ENOENT || err == -ENOTDIR || err == -ELOOP)
		scan_look_again(look, scan_now_ns() + SCAN_SETTLE_NS);
	else
		scan_look_refuse(look, path, path, CTL_PROBLEM_READ,
		    "the folder cannot be read: %s", strerror(-err));
}

/* Without a watch nobody tells of a change: then it is looked for. */
static struct scan_watched
watch(struct scan_look *look, int fd, uint32_t unit, enum scan_watch_kind kind)
{
	struct scan_watched watched = scan_watch_add(look->watch, fd, unit, kind,
	    look->round);

	look->is_unwatched |= look->watch != NULL && watched.number < 0;
	return watched;
}

/* Opens and watches a folder of `up`.  0 or a negative errno. */
static int
place_open(struct scan_look *look, const struct scan_place *up,
    const struct scan_item *item, uint32_t unit, enum scan_watch_kind kind,
    struct scan_place *place)
{
	struct stat st;

	memset(place, 0, sizeof(*place));
	place->up = up;
	place->depth = up->depth + 1;
	place->fd = scan_open(up->fd, item->name, O_DIRECTORY | O_NOFOLLOW);
	if (place->fd < 0)
		return place->fd;
	place->watched = watch(look, place->fd, unit, kind);
	if (fstat(place->fd, &st) != 0) {
		close_fd(&place->fd);
		return -ESTALE;
	}
	scan_id_set(&place->id, &st);
	return scan_join(place->prefix, sizeof(place->prefix), up->prefix,
	    item->name, strlen(item->name));
}

static int
folder_read(struct scan_look *look, struct folder *folder)
{
	int err = scan_list_read(folder->place.fd, &folder->list);
	size_t count = folder->list.count;

	look->items_left -= count < look->items_left ? count :
	    look->items_left;
	if (folder->list.is_cut || look->items_left == 0)
		scan_look_leave_out(look, folder->place.prefix);
	return err;
}

static void
folder_close(struct folder *folder)
{
	scan_list_free(&folder->list);
	close_fd(&folder->place.fd);
}

/* A folder whose names have been read: a function, or a shelf of them. */
static void
enter_folder(struct scan_look *look, const struct folder *up,
    const struct scan_candidates *beside, const struct scan_item *item,
    struct folder *folder)
{
	bool has_main = false;

	for (size_t i = 0; i < folder->list.count && !has_main; i++)
		has_main = scan_name_is_main(folder->list.items[i].name) &&
		    !S_ISDIR(folder->list.items[i].mode);
	if (!has_main && folder->place.depth == CTL_SEGMENTS_MAX &&
	    folder->list.count > 0) {
		refuse_name(look, &folder->place,
		    folder->list.items[0].name);
		return;
	}
	scan_watch_know(look->watch, folder->place.watched.number);
	if (!has_main) {
		walk(look, folder);
		return;
	}
	folder->place.watched = watch(look, folder->place.fd, look->unit,
	    SCAN_WATCH_FOLDER);
	judge_folder(look, up, beside, item, folder);
}

static void
walk_folder(struct scan_look *look, const struct folder *up,
    const struct scan_candidates *beside, const struct scan_item *item)
{
	char path[CTL_NAME_MAX + 1], detail[CTL_DETAIL_MAX + 1];
	struct folder folder = { .place.fd = -1 };
	enum ctl_problem problem;
	int err;

	if (!make_name(look, &up->place, item, strlen(item->name), path))
		return;
	if (look->folders_left == 0 || look->items_left == 0) {
		scan_look_leave_out(look, path);
		return;
	}
	look->folders_left--;
	problem = scan_check_folder(look, item, path, false, detail);
	if (problem != CTL_PROBLEM_NONE) {
		scan_look_refuse(look, path, path, problem, "%s", detail);
		return;
	}
	err = place_open(look, &up->place, item, look->unit, SCAN_WATCH_PLAIN,
	    &folder.place);
	if (err == 0 && !is_filling(look, &folder.place,
	    scan_table_find(look->reported, path) != NULL)) {
		err = folder_read(look, &folder);
		if (err == 0)
			enter_folder(look, up, beside, item, &folder);
	}
	if (err != 0)
		refuse_folder(look, path, item, err);
	folder_close(&folder);
}

/* The functions in a folder that is none itself. */
static void
walk(struct scan_look *look, const struct folder *folder)
{
	struct scan_candidates candidates;

	if (scan_candidates_make(&candidates, look->conf,
	    &folder->list) != 0) {
		look->error = -ENOMEM;
		return;
	}
	for (size_t i = 0; i < folder->list.count; i++)
		if (S_ISDIR(folder->list.items[i].mode))
			walk_folder(look, folder, &candidates,
			    &folder->list.items[i]);
	judge_files(look, folder, &candidates);
	report_lone_sidecars(look, folder);
	scan_candidates_free(&candidates);
}

/* A folder of the functions directory: a tenant's, or a function of the tenant
 * `default`. */
static void
walk_top_folder(struct scan_look *look, const struct folder *root,
    const struct scan_candidates *beside, const struct scan_item *item,
    const struct scan_tenants *tenants)
{
	struct scan_place place;
	char name[CTL_NAME_MAX + 1];
	int has_main = 0;
	uint32_t unit;
	bool is_new;

	if (!make_name(look, &root->place, item, strlen(item->name), name))
		return;
	if (strcmp(name, "default") == 0) {
		scan_look_refuse(look, name, "", CTL_PROBLEM_TENANT,
		    "\"default\" is the tenant of what stands outside of "
		    "folders: rename the folder");
		return;
	}
	unit = tenants->meet(tenants->arg, name, &is_new);
	if (place_open(look, &root->place, item, unit, SCAN_WATCH_TENANT,
	    &place) == 0) {
		if (!is_filling(look, &place, !is_new))
			has_main = scan_list_has_main(place.fd);
	}
	if (place.fd >= 0)
		close_fd(&place.fd);
	if (has_main > 0)
		walk_folder(look, root, beside, item);
	else
		tenants->keep(tenants->arg, name);
}

static int
root_open(struct scan_look *look, enum scan_watch_kind kind,
    struct folder *root)
{
	struct stat st;

	root->place.fd = scan_open(look->root_fd, ".", O_DIRECTORY);
	if (root->place.fd < 0)
		return root->place.fd;
	if (kind == SCAN_WATCH_ROOT)
		root->place.watched = watch(look, root->place.fd, look->unit,
		    kind);
	else
		root->place.watched.number = -1;
	if (fstat(root->place.fd, &st) != 0)
		return -errno;
	scan_id_set(&root->place.id, &st);
	return 0;
}

int
scan_walk_top(struct scan_look *look, const struct scan_tenants *tenants)
{
	struct scan_candidates candidates = { .all = NULL };
	struct folder root = { .place.fd = -1 };
	int err = root_open(look, SCAN_WATCH_ROOT, &root);

	if (err == 0)
		err = folder_read(look, &root);
	if (err == 0)
		err = scan_candidates_make(&candidates, look->conf,
		    &root.list);
	if (err != 0)
		goto out;
	for (size_t i = 0; i < root.list.count; i++)
		if (S_ISDIR(root.list.items[i].mode))
			walk_top_folder(look, &root, &candidates,
			    &root.list.items[i], tenants);
	judge_files(look, &root, &candidates);
	report_lone_sidecars(look, &root);
	scan_look_end(look);
out:
	scan_candidates_free(&candidates);
	folder_close(&root);
	return err;
}

void
scan_walk_tenant(struct scan_look *look)
{
	const char *name = look->tenant->name;
	char detail[CTL_DETAIL_MAX + 1], file[CTL_TENANT_MAX + 1];
	struct folder root = { .place.fd = -1 }, folder = { .place.fd = -1 };
	enum ctl_problem problem;
	struct scan_item item;
	int err;

	strcpy(file, name);
	if (root_open(look, SCAN_WATCH_TENANT, &root) != 0 ||
	    scan_item_read(root.place.fd, file, &item) != 0 ||
	    !S_ISDIR(item.mode))
		goto out;
	problem = scan_check_folder(look, &item, name, false, detail);
	if (problem != CTL_PROBLEM_NONE) {
		scan_look_refuse(look, name, name, problem, "%s", detail);
		goto out;
	}
	err = place_open(look, &root.place, &item, look->unit,
	    SCAN_WATCH_TENANT, &folder.place);
	if (err == 0)
		err = folder_read(look, &folder);
	if (err != 0)
		refuse_folder(look, name, &item, err);
	else if (!is_filling(look, &folder.place,
	    look->reported->count > 0) &&
	    scan_list_has_main(folder.place.fd) == 0) {
		scan_watch_know(look->watch, folder.place.watched.number);
		walk(look, &folder);
	}
	scan_look_end(look);
out:
	folder_close(&folder);
	folder_close(&root);
}
