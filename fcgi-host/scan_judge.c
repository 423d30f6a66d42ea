#include "fcgi-host/scan_judge.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "fcgi-host/scan_hash.h"
#include "fcgi-host/scan_name.h"
#include "fcgi-host/scan_pick.h"
#include "fcgi-host/sock.h"
#include "sandbox/env_file.h"

/* A file whose change is younger than that may change again without that its
 * times show it: it is read anew at the next look. */
#define TICK_NS 20000000LL

/* A judgement under way. */
struct judgement {
	struct scan_look *look;
	const struct scan_subject *subject;
	struct scan_entry *entry;
	char path[CTL_PATH_MAX + 64]; /* of the file in hand, for sentences */
	int main_fd, sidecar_fd;
	struct settings sidecar;
	bool is_env_settled; /* as of main and sidecar, see is_settled */
	bool has_changed; /* a file was replaced while it was being judged */
};

/* Notes what is wrong; false, for the caller to hand on. */
static bool refuse(struct judgement *j, enum ctl_problem problem,
    const char *fmt, ...) __attribute__((format(printf, 3, 4)));

static bool
refuse(struct judgement *j, enum ctl_problem problem, const char *fmt, ...)
{
	struct ctl_function *info = &j->entry->info;
	va_list args;

	info->problem = (uint8_t)problem;
	va_start(args, fmt);
	vsnprintf(info->detail, sizeof(info->detail), fmt, args);
	va_end(args);
	return false;
}

static void
name_file(struct judgement *j, const struct scan_file *file)
{
	if (scan_join(j->path, sizeof(j->path), file->place->prefix,
	    file->item->name, strlen(file->item->name)) != 0)
		strcpy(j->path, "it");
}

static bool
check_owner(struct judgement *j, const struct scan_item *item)
{
	const struct scan_tenant *tenant = j->look->tenant;

	if (!scan_owner_ok(j->look, item->uid))
		return refuse(j, CTL_PROBLEM_OWNER, "its owner is uid %u, and "
		    "must be root%s%s: chown %s %s", item->uid,
		    tenant->has_uid ? " or " : "",
		    tenant->has_uid ? tenant->user : "",
		    tenant->has_uid ? tenant->user : "root", j->path);
	if ((item->mode & 022) != 0)
		return refuse(j, CTL_PROBLEM_MODE, "others may write it "
		    "(mode %04o): chmod go-w %s", item->mode & 07777, j->path);
	return true;
}

/* Watched since before its last change: then the events tell whether it is
 * whole; else its age must. */
static bool
check_written(struct judgement *j, const struct scan_file *file)
{
	const struct scan_watched *watched = &file->place->watched;
	const struct scan_id *id = &file->item->id;
	int64_t age_ns = j->look->now_ns - id->mtime_ns;

	if (id->size == 0)
		return refuse(j, CTL_PROBLEM_WRITING, "%s is empty; it counts "
		    "as soon as it has been written", j->path);
	if (scan_watch_is_writing(j->look->watch, watched->number,
	    file->item->name))
		return refuse(j, CTL_PROBLEM_WRITING, "%s is open and being "
		    "written; it counts as soon as it is closed", j->path);
	if (age_ns < 0 || age_ns >= SCAN_SETTLE_NS ||
	    (watched->number >= 0 && watched->since_ns <= id->mtime_ns))
		return true;
	scan_look_again(j->look, id->mtime_ns + SCAN_SETTLE_NS);
	return refuse(j, CTL_PROBLEM_WRITING, "%s was changed just now; it "
	    "counts as soon as it rests", j->path);
}

static bool
check_file(struct judgement *j, const struct scan_file *file)
{
	const struct scan_item *item = file->item;

	name_file(j, file);
	if (S_ISLNK(item->mode)) {
		j->entry->info.problem = (uint8_t)scan_check_link(j->look,
		    file, j->path, j->entry->info.detail);
		return false;
	}
	if (!S_ISREG(item->mode))
		return refuse(j, CTL_PROBLEM_TYPE, "%s is no regular file: "
		    "remove it", j->path);
	return check_owner(j, item) && check_written(j, file);
}

static bool
changed_meanwhile(struct judgement *j)
{
	scan_look_again(j->look, scan_now_ns() + SCAN_SETTLE_NS);
	j->has_changed = true;
	return refuse(j, CTL_PROBLEM_WRITING, "%s changes while it is read; "
	    "it counts as soon as it rests", j->path);
}

/* The open file is still the one that was judged. */
static bool
is_still(int fd, const struct scan_item *item)
{
	struct scan_id id;
	struct stat st;

	if (fstat(fd, &st) != 0)
		return false;
	scan_id_set(&id, &st);
	return scan_id_same(&id, &item->id);
}

static bool
open_file(struct judgement *j, const struct scan_file *file, int *fd)
{
	name_file(j, file);
	*fd = scan_open(file->place->fd, file->item->name, O_NOFOLLOW);
	if (*fd == -EACCES || *fd == -EPERM)
		return refuse(j, CTL_PROBLEM_MODE, "the host may not read it "
		    "(mode %04o): chmod a+r %s", file->item->mode & 07777,
		    j->path);
	if (*fd == -ENOENT || *fd == -ELOOP)
		return changed_meanwhile(j);
	if (*fd < 0)
		return refuse(j, CTL_PROBLEM_READ, "%s: %s", j->path,
		    strerror(-*fd));
	return is_still(*fd, file->item) || changed_meanwhile(j);
}

static bool
is_settled(const struct scan_item *item)
{
	return item == NULL ||
	    scan_now_ns() - item->id.ctime_ns >= TICK_NS;
}

static bool
read_sidecar(struct judgement *j)
{
	const struct scan_file *file = &j->subject->sidecar;
	struct ctl_function *info = &j->entry->info;
	char problem[512] = "";

	if (file->item == NULL)
		return true;
	if (!check_file(j, file) || !open_file(j, file, &j->sidecar_fd))
		return false;
	if (conf_read_sidecar(j->sidecar_fd, j->path, &j->sidecar, problem,
	    sizeof(problem)) != 0)
		return refuse(j, CTL_PROBLEM_SIDECAR, "%s", problem);
	if (j->sidecar.pass_params != NULL &&
	    strlen(j->sidecar.pass_params) > CTL_DETAIL_MAX)
		return refuse(j, CTL_PROBLEM_SIDECAR, "%s: pass_params is "
		    "longer than %d bytes; name fewer", j->path,
		    CTL_DETAIL_MAX);
	if (j->sidecar.pass_params != NULL)
		SCAN_SET(info->pass_params, j->sidecar.pass_params);
	return true;
}

/* The scanner may not read it, and need not: what stands in it is init's to
 * judge.  Who may read it, and which file it is, is looked at here. */
static bool
check_env_file(struct judgement *j)
{
	const struct scan_place *place = j->subject->main.place;
	struct scan_item item;
	struct scan_file file = { .place = place, .item = &item };
	int err;

	if (j->sidecar.env_file == NULL)
		return true;
	SCAN_SET(j->entry->info.env_file, j->sidecar.env_file);
	err = scan_item_read(place->fd, j->entry->info.env_file, &item);
	if (err != 0)
		return refuse(j, CTL_PROBLEM_SIDECAR, "env_file = %s: %s",
		    j->sidecar.env_file, err == -ENOENT ? "there is no such "
		    "file beside the function's; add it, or take the line out" :
		    strerror(-err));
	j->entry->env_file = item.id;
	if (!check_file(j, &file))
		return false;
	if ((item.mode & 07177) != 0)
		return refuse(j, CTL_PROBLEM_MODE, "others may read what is "
		    "secret in it (mode %04o): chmod 600 %s",
		    item.mode & 07777, j->path);
	if (item.id.size > ENV_FILE_BYTES_MAX)
		return refuse(j, CTL_PROBLEM_SIDECAR, "%s is larger than 64 "
		    "KiB: put what is no secret elsewhere", j->path);
	j->is_env_settled = is_settled(&item);
	return true;
}

static bool
has_extension(const struct conf_runtime *runtime, const char *extension)
{
	for (size_t i = 0; extension != NULL && runtime != NULL &&
	    runtime->extensions != NULL && runtime->extensions[i] != NULL; i++)
		if (strcmp(runtime->extensions[i], extension) == 0)
			return true;
	return false;
}

/* `runtime =` of a tenant or of [defaults] chooses among the runtimes of one
 * extension: it cannot mean that every file of the tenant is of one kind. */
static const char *
wide_runtime(const struct conf *conf, const struct settings *settings,
    const char *extension)
{
	if (settings == NULL || settings->runtime == NULL || !has_extension(
	    conf_runtime_by_name(conf, settings->runtime), extension))
		return NULL;
	return settings->runtime;
}

/* The name that some `runtime =` gives, or NULL. */
static const char *
named_runtime(const struct judgement *j, const char *extension)
{
	const struct conf *conf = j->look->conf;
	const struct settings *function =
	    conf_function(conf, j->subject->name);
	const char *name;

	if (function != NULL && function->runtime != NULL)
		return function->runtime;
	if (j->sidecar.runtime != NULL)
		return j->sidecar.runtime;
	name = wide_runtime(conf, conf_tenant(conf, j->look->tenant->name),
	    extension);
	return name != NULL ? name :
	    wide_runtime(conf, &conf->defaults, extension);
}

static bool
use_runtime(struct judgement *j, const struct conf_runtime *runtime)
{
	struct ctl_function *info = &j->entry->info;

	info->is_fastcgi = runtime->is_fastcgi;
	SCAN_SET(info->runtime, runtime->name);
	return true;
}

/* Executed itself: then somebody has to be allowed to. */
static bool
use_directly(struct judgement *j, bool is_fastcgi)
{
	const struct scan_item *item = j->subject->main.item;

	name_file(j, &j->subject->main);
	j->entry->info.is_fastcgi = is_fastcgi;
	if (!scan_tenant_may(j->look, item, 1))
		return refuse(j, CTL_PROBLEM_MODE, "it is not executable "
		    "(mode %04o): chmod a+x %s", item->mode & 07777, j->path);
	return true;
}

static bool
use_named(struct judgement *j, const char *name)
{
	const struct conf_runtime *runtime =
	    conf_runtime_by_name(j->look->conf, name);

	if (runtime != NULL)
		return use_runtime(j, runtime);
	return refuse(j, name == j->sidecar.runtime ? CTL_PROBLEM_SIDECAR :
	    CTL_PROBLEM_TYPE, "runtime = %.40s: the configuration has no "
	    "[runtime] of that name", name);
}

static bool
refuse_type(struct judgement *j)
{
	const struct scan_item *item = j->subject->main.item;
	const char *dot = strrchr(item->name, '.');

	name_file(j, &j->subject->main);
	if (dot == NULL)
		return refuse(j, CTL_PROBLEM_TYPE, "it is not executable: "
		    "chmod a+x %s", j->path);
	return refuse(j, CTL_PROBLEM_TYPE, "no [runtime] has the extension "
	    "%.32s, and it is not executable: chmod a+x %s, or move it into "
	    "a function's folder", dot, j->path);
}

static bool
choose_runtime(struct judgement *j)
{
	const struct conf *conf = j->look->conf;
	const struct scan_item *item = j->subject->main.item;
	const char *extension = scan_stem(conf, item->name).extension;
	const char *name = named_runtime(j, extension);
	const struct conf_runtime *runtime;

	j->entry->info.is_chosen = name != NULL;
	if (name != NULL)
		return use_named(j, name);
	if (extension != NULL) {
		runtime = conf_runtime_by_extension(conf, extension);
		if (runtime != NULL)
			return use_runtime(j, runtime);
		return use_directly(j, strcmp(extension, "fcgi") == 0);
	}
	if ((item->mode & 0111) == 0)
		return refuse_type(j);
	return use_directly(j, false);
}

static bool
read_main(struct judgement *j)
{
	const struct scan_item *item = j->subject->main.item;

	if (!open_file(j, &j->subject->main, &j->main_fd))
		return false;
	if (!scan_tenant_may(j->look, item, 4))
		return refuse(j, CTL_PROBLEM_MODE, "its tenant may not read it "
		    "(mode %04o): chmod a+r %s", item->mode & 07777, j->path);
	return true;
}

/* With new settings the same files have the version that they had, without
 * being read again. */
static bool
take_over_version(struct judgement *j)
{
	struct scan_entry *old = scan_table_find(j->look->reported,
	    j->subject->name), *entry = j->entry;

	if (old == NULL || !old->is_settled || !scan_entry_is_served(old) ||
	    old->info.is_folder != entry->info.is_folder ||
	    !scan_id_same(&old->main, &entry->main) ||
	    !scan_id_same(&old->sidecar, &entry->sidecar) ||
	    !scan_id_same(&old->env_file, &entry->env_file))
		return false;
	SCAN_SET(entry->info.version, old->info.version);
	return true;
}

static bool
make_version(struct judgement *j)
{
	const struct scan_file *sidecar = &j->subject->sidecar;
	struct scan_version files = {
		.main_fd = j->main_fd,
		.sidecar_fd = j->sidecar_fd,
		.main = j->subject->main.item->id,
		.has_times = j->subject->is_folder,
		.has_env_file = j->sidecar.env_file != NULL,
		.env_file = j->entry->env_file,
	};
	int err;

	if (sidecar->item != NULL)
		files.sidecar = sidecar->item->id;
	err = take_over_version(j) ? 0 : scan_version(&files,
	    &j->look->hash_left, j->entry->info.version);
	if (err != 0)
		return refuse(j, CTL_PROBLEM_READ, "%s: %s", j->path,
		    strerror(-err));
	if (!is_still(j->main_fd, j->subject->main.item) ||
	    (sidecar->item != NULL && !is_still(j->sidecar_fd, sidecar->item)))
		return changed_meanwhile(j);
	return true;
}

/* All is well: what the numbers are, and what else the spawner hears. */
static bool
make_settings(struct judgement *j)
{
	const struct scan_subject *subject = j->subject;
	struct scan_entry *entry = j->entry;
	struct ctl_function *info = &entry->info;
	char lowered[CTL_DETAIL_MAX + 1] = "";
	size_t length = buf_len(&j->sidecar.env);

	conf_limits(j->look->conf, info->tenant, info->name,
	    subject->sidecar.item == NULL ? NULL : &j->sidecar, &info->limits,
	    lowered, sizeof(lowered));
	if (lowered[0] != '\0') {
		info->note = 1;
		snprintf(info->detail, sizeof(info->detail),
		    "lowered to the tenant's ceiling, or to instances: "
		    "%.200s", lowered);
	}
	if (length > 0 && buf_add(&entry->env, buf_head(&j->sidecar.env),
	    length) != 0) {
		j->look->error = -ENOMEM;
		return refuse(j, CTL_PROBLEM_READ, "no memory");
	}
	info->has_env = length > 0;
	entry->is_settled = is_settled(subject->main.item) &&
	    is_settled(subject->sidecar.item) && j->is_env_settled;
	return true;
}

/* What need not be asked of a file that nobody would run. */
static bool
check_kind(struct judgement *j)
{
	const struct scan_subject *subject = j->subject;
	const struct settings *function =
	    conf_function(j->look->conf, subject->name);

	if (!S_ISREG(subject->main.item->mode) ||
	    subject->sidecar.item != NULL ||
	    scan_is_runnable(j->look->conf, subject->main.item) ||
	    (function != NULL && function->runtime != NULL))
		return true;
	return refuse_type(j);
}

static bool
check_tenant(struct judgement *j)
{
	const struct scan_tenant *tenant = j->look->tenant;

	if (!tenant->is_unusable)
		return true;
	return refuse(j, CTL_PROBLEM_TENANT, "[tenant %s] user = %s: there is "
	    "no such account; make it, or mend the line", tenant->name,
	    tenant->user);
}

static void
judge(struct judgement *j)
{
	struct ctl_function *info = &j->entry->info;

	if (check_kind(j) && check_tenant(j) &&
	    check_file(j, &j->subject->main) && read_sidecar(j) &&
	    check_env_file(j) && choose_runtime(j) && read_main(j) && make_version(j) &&
	    make_settings(j))
		return;
	/* A problem's message carries no half of a good one. */
	memset(info->version, 0, sizeof(info->version));
	memset(info->runtime, 0, sizeof(info->runtime));
	info->is_fastcgi = info->is_chosen = 0;
	memset(info->pass_params, 0, sizeof(info->pass_params));
	memset(info->env_file, 0, sizeof(info->env_file));
}

/* The files' path as messages have it; false when it cannot be one. */
static bool
set_path(struct scan_entry *entry, const struct scan_subject *subject)
{
	struct ctl_function *info = &entry->info;
	const struct scan_file *file = &subject->main;

	return scan_join(info->path, sizeof(info->path), file->place->prefix,
	    file->item->name, strlen(file->item->name)) == 0 &&
	    ctl_path_ok(info->path, info->name, subject->is_folder);
}

static bool
is_env_file_same(const struct scan_look *look, struct scan_entry *old,
    const struct scan_place *place)
{
	struct scan_item item;

	return old->info.env_file[0] == '\0' || (scan_item_read(place->fd,
	    old->info.env_file, &item) == 0 &&
	    scan_id_same(&old->env_file, &item.id) &&
	    !scan_watch_is_writing(look->watch, place->watched.number,
	    old->info.env_file));
}

static struct scan_entry *
take_over(const struct scan_look *look, const struct scan_entry *fresh,
    const struct scan_subject *subject)
{
	const struct scan_file *files[] = { &subject->main,
		&subject->sidecar };
	struct scan_entry *old = look->old == NULL ? NULL :
	    scan_table_find(look->old, fresh->info.name);

	if (old == NULL || !old->is_settled || !scan_entry_is_served(old) ||
	    old->info.is_folder != fresh->info.is_folder ||
	    strcmp(old->info.path, fresh->info.path) != 0 ||
	    !scan_id_same(&old->main, &fresh->main) ||
	    !scan_id_same(&old->sidecar, &fresh->sidecar) ||
	    !is_env_file_same(look, old, subject->main.place))
		return NULL;
	for (size_t i = 0; i < 2; i++)
		if (files[i]->item != NULL && scan_watch_is_writing(look->watch,
		    files[i]->place->watched.number, files[i]->item->name))
			return NULL;
	return old;
}

static void
say_as_before(struct scan_look *look, struct scan_entry *entry,
    const struct scan_entry *old)
{
	entry->info = old->info;
	if (buf_len(&old->env) > 0 && buf_add(&entry->env,
	    old->env.data + old->env.start, buf_len(&old->env)) != 0)
		look->error = -ENOMEM;
}

/* A rename came between the listing and the reading: what is served stands
 * until the next look, which is asked for. */
static void
keep_served(struct scan_look *look, struct scan_entry *entry)
{
	const struct scan_entry *old =
	    scan_table_find(look->reported, entry->info.name);

	if (old == NULL || !scan_entry_is_served(old) ||
	    old->info.is_folder != entry->info.is_folder ||
	    strcmp(old->info.path, entry->info.path) != 0)
		return;
	buf_free(&entry->env);
	say_as_before(look, entry, old);
}

void
scan_judge(struct scan_look *look, const struct scan_subject *subject)
{
	struct judgement j = { .look = look, .subject = subject,
		.main_fd = -1, .sidecar_fd = -1, .is_env_settled = true };
	struct scan_entry *old;

	j.entry = scan_look_entry(look, subject->name);
	if (j.entry == NULL)
		return;
	j.entry->info.is_folder = subject->is_folder;
	j.entry->main = subject->main.item->id;
	if (subject->sidecar.item != NULL)
		j.entry->sidecar = subject->sidecar.item->id;
	name_file(&j, &subject->main);
	if (!set_path(j.entry, subject)) {
		refuse(&j, CTL_PROBLEM_NAME, "an extension is a few letters "
		    "a-z and digits; rename %.180s", j.path);
	} else if ((old = take_over(look, j.entry, subject)) != NULL) {
		say_as_before(look, j.entry, old);
		j.entry->env_file = old->env_file;
		j.entry->is_settled = true;
	} else {
		judge(&j);
		if (j.has_changed)
			keep_served(look, j.entry);
	}
	settings_free(&j.sidecar);
	if (j.main_fd >= 0)
		close_fd(&j.main_fd);
	if (j.sidecar_fd >= 0)
		close_fd(&j.sidecar_fd);
	scan_look_add(look, j.entry);
}
