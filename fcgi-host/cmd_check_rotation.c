/*
 * Whether logrotate is told to rotate the accounting log by copytruncate: it
 * copies the file and then cuts it to nothing, and what was recorded in
 * between is gone.  Its files are read as far as that takes.
 */
#include <dirent.h>
#include <fnmatch.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fcgi-host/cmd_check.h"

#define BLANKS " \t\r\n"

/* What was read of one file so far. */
struct rules {
	const struct conf *conf;
	struct findings *findings;
	const char *path;
	bool is_default; /* of the files that follow, too */
	bool is_copied;  /* here, or in the block */
	bool is_ours;    /* one of the block's patterns names the log */
	bool is_inside, is_script;
	unsigned line, copied_line;
};

static void
end_block(struct rules *rules)
{
	if (rules->is_ours && rules->is_copied)
		findings_add(rules->findings, FINDING_ERROR, "%s:%u: "
		    "copytruncate would lose the records that are written "
		    "between copy and cut; take it out, and rotate %s by "
		    "rename and \"fcgi-host reopen\" as the rules do that were "
		    "installed", rules->path, rules->copied_line,
		    rules->conf->accounting);
	rules->is_inside = rules->is_ours = false;
	rules->is_copied = rules->is_default;
}

static void
take_directive(struct rules *rules, const char *word)
{
	bool is_copied = strcmp(word, "copytruncate") == 0;

	if (rules->is_script || strcmp(word, "postrotate") == 0 ||
	    strcmp(word, "prerotate") == 0 || strcmp(word, "firstaction") == 0 ||
	    strcmp(word, "lastaction") == 0 || strcmp(word, "preremove") == 0)
		rules->is_script = strcmp(word, "endscript") != 0;
	else if (is_copied || strcmp(word, "nocopytruncate") == 0) {
		rules->is_copied = is_copied;
		rules->copied_line = rules->line;
		if (!rules->is_inside)
			rules->is_default = is_copied;
	}
}

/* Patterns that stand on a line before a block, perhaps in quotes; its brace
 * may be the last of them. */
static void
take_patterns(struct rules *rules, char *text)
{
	char *rest = NULL, *word;

	rules->is_inside = strchr(text, '{') != NULL;
	for (word = strtok_r(text, BLANKS "\"'{", &rest); word != NULL;
	    word = strtok_r(NULL, BLANKS "\"'{", &rest)) {
		if (fnmatch(word, rules->conf->accounting,
		    FNM_PATHNAME) == 0)
			rules->is_ours = true;
	}
}

static void
take_line(struct rules *rules, char *text)
{
	char *rest = NULL, *word;

	text += strspn(text, BLANKS);
	if (!rules->is_inside && strchr("/\"'{", text[0]) != NULL &&
	    text[0] != '\0') {
		take_patterns(rules, text);
		return;
	}
	word = strtok_r(text, BLANKS, &rest);
	if (word == NULL || word[0] == '#')
		return;
	if (rules->is_inside && !rules->is_script && word[0] == '}')
		end_block(rules);
	else
		take_directive(rules, word);
}

static void
read_rules(struct rules *rules, const char *path)
{
	FILE *file = fopen(path, "re");
	char *text = NULL;
	size_t size = 0;

	rules->path = path;
	rules->line = 0;
	rules->is_inside = rules->is_ours = rules->is_script = false;
	rules->is_copied = rules->is_default;
	while (file != NULL && getline(&text, &size, file) >= 0) {
		rules->line++;
		take_line(rules, text);
	}
	free(text);
	if (file != NULL)
		(void)fclose(file);
}

void
check_rotation(const struct conf *conf, const char *root,
    struct findings *findings)
{
	struct rules rules = { .conf = conf, .findings = findings };
	char path[PATH_MAX];
	struct dirent **names;
	int count, i;

	(void)snprintf(path, sizeof(path), "%s/etc/logrotate.conf", root);
	read_rules(&rules, path);
	(void)snprintf(path, sizeof(path), "%s/etc/logrotate.d", root);
	count = scandir(path, &names, NULL, alphasort);
	for (i = 0; i < count; i++) {
		if (names[i]->d_name[0] != '.') {
			(void)snprintf(path, sizeof(path),
			    "%s/etc/logrotate.d/%s", root, names[i]->d_name);
			read_rules(&rules, path);
		}
		free(names[i]);
	}
	if (count >= 0)
		free(names);
}
